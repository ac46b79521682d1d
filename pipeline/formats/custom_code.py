"""Code of a model's author: loaded where the user allows it, and out of Keras' reach where not."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import reduce
from typing import Any
from unittest.mock import patch

from pipeline.formats.keras_config import ACTIVATIONS, OPERATIONS, Finding, is_own, shown
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


class ForeignCodeError(Exception):
    """Keras was about to look up something that is not its own."""


@contextmanager
def refused() -> Iterator[None]:
    """Let Keras find only what is on the lists of `keras_config`, and import and call nothing else, inside the block.

    The configuration is looked through before; this is for what that overlooked. Replaced are the places where Keras
    turns a name of a configuration into something to call: its lookup of today and that of its older formats, the
    lookup of TensorFlow's operations, and what makes functions of bytecode.
    """
    load_keras()
    today = importlib.import_module("tf_keras.src.saving.serialization_lib")
    older = importlib.import_module("tf_keras.src.saving.legacy.serialization")
    operations = importlib.import_module("tf_keras.src.layers.core.tf_op_layer")
    bytecode = importlib.import_module("tf_keras.src.utils.generic_utils")
    find: Callable[..., Any] = today._retrieve_class_or_fn
    find_older: Callable[..., Any] = older.class_and_config_for_serialized_keras_object
    find_operation: Callable[..., Any] = operations.get_symbol_from_name

    def found(name: Any, registered: Any, module: Any, obj_type: str, *arguments: Any, **options: Any) -> Any:
        function = obj_type == "function" and name in ACTIVATIONS and module in ("builtins", "keras.activations")
        if not function and (obj_type == "function" or not is_own(name, registered, module)):
            raise _foreign(name, module)
        return find(name, registered, module, obj_type, *arguments, **options)

    def found_older(config: Any, *arguments: Any, **options: Any) -> Any:
        if not is_own(config["class_name"], None, None):
            raise _foreign(config["class_name"], None)
        return find_older(config, *arguments, **options)

    def operation(symbol: Any) -> Any:
        if symbol not in OPERATIONS:
            raise _foreign(symbol, "tensorflow")
        return find_operation(symbol)

    def no_function(*_: Any, **__: Any) -> Any:
        raise ForeignCodeError("the file holds bytecode, which is not run")

    with ExitStack() as stack:
        for module, name, replacement in (
            (today, "_retrieve_class_or_fn", found),
            (older, "class_and_config_for_serialized_keras_object", found_older),
            (operations, "get_symbol_from_name", operation),
            (bytecode, "func_load", no_function),
        ):
            stack.enter_context(patch.object(module, name, replacement))
        yield


def _foreign(name: Any, module: Any) -> ForeignCodeError:
    of = f" of {shown(module)}" if module else ""
    return ForeignCodeError(f"Keras was to look up {shown(name)}{of}, which is not its own: nothing of it ran")
