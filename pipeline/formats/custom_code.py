"""Code of a model's author: loaded where the user allows it, and out of Keras' reach where not."""

from __future__ import annotations

import importlib
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import reduce
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pipeline.files import sha256
from pipeline.formats.keras_config import ACTIVATIONS, OPERATIONS, Finding, is_own, shown
from pipeline.legacy_keras import load as load_keras
from pipeline.own_code.source import PRIVATE

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


def sources(code: Iterable[Finding]) -> dict[str, str]:
    """Return module -> sha256 of its source, of the modules that code is in and of those imported from beside them.

    Nothing is imported. A module of an installed package stands for itself alone.

    Raises:
        LookupError: the source of a module cannot be found.
    """
    named = {one.module for one in code if one.module and one.module.partition(".")[0] not in _KERAS}
    # what a builder's file defines lies in the artifact as a copy: `own_code/package.py`
    named = {name for name in named if not name.startswith(PRIVATE)}
    found = {name: _source(name) for name in named}
    ours = Path(__file__).parents[1]
    installed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    roots = {path.parents[name.count(".") + (path.stem == "__init__")] for name, path in found.items()}
    for name, module in list(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or "")
        beside = path.suffix == ".py" and roots.intersection(path.parents) and name != "__main__"
        if beside and not any(path.is_relative_to(one) for one in (ours, *installed)):
            found[name] = path
    return {name: sha256(found[name]) for name in sorted(found)}


def require_unchanged(recorded: Mapping[str, str]) -> None:
    """Compare the modules, before they are imported, with what `sources` found of them.

    Raises:
        LookupError: one changed, or is not there; the text names it.
    """
    changed = [name for name, digest in recorded.items() if sha256(_source(name)) != digest]
    if changed:
        raise LookupError(f"the source of {', '.join(changed)} changed since the model was imported")


def _source(name: str) -> Path:
    """Return the file that a module would be imported from, without importing it or a package that it is in."""
    within: Any = None
    parts = name.split(".")
    for number in range(len(parts)):
        spec = PathFinder.find_spec(".".join(parts[: number + 1]), within)
        if spec is None:
            raise LookupError(f"there is no module {shown(name)}")
        within = spec.submodule_search_locations
    if not spec or not spec.origin or not Path(spec.origin).is_file():
        raise LookupError(f"the module {shown(name)} has no source")
    return Path(spec.origin)


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
