"""Code of a model's author, where the user allows it: Lambda layers, and classes and functions in modules."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from functools import reduce
from typing import Any

from pipeline.formats.keras_config import Finding
from pipeline.legacy_keras import load as load_keras

# Keras finds its own by itself, under these names
_KERAS = ("keras", "tf_keras", "builtins")


def allow(code: Iterable[Finding]) -> None:
    """Let Keras load, from now on and in this process, what a configuration names; the modules are imported here.

    Keras imports only the module of the outermost object by itself, and forgets within clones of a model that its safe
    mode was switched off: so both is said for the whole process, which has been started for a run that may.

    Raises:
        LookupError: a module cannot be imported, or has not what it is to have; the text names what.
    """
    keras = load_keras()
    missing = []
    for one in code:
        if not one.module or one.module.partition(".")[0] in _KERAS:
            continue
        try:
            found: Any = reduce(getattr, one.name.split("."), importlib.import_module(one.module))
        except Exception as error:  # noqa: BLE001 - importing somebody's module may raise anything
            missing.append(f"{one.what}: {error}")
            continue
        keras.saving.get_custom_objects().update({one.registered: found, one.name: found})
    keras.__internal__.enable_unsafe_deserialization()
    if missing:
        raise LookupError("; ".join(missing))
