"""A configuration of Keras 3 held to lists of names, before Keras 3 or tf_keras sees it.

Keras 3 imports the module that a configuration names and calls what it finds there, in safe mode too; it looks up
functions by name and opens files. So only names from the lists pass, of the modules here, under the keys where Keras 3
writes such objects. What passes that has no counterpart in tf_keras is found here as well: all of it, at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pipeline.formats.keras_config import CONSTRAINTS, DTYPES, FILES, INITIALIZERS, REGULARIZERS, Finding, shown
from pipeline.formats.model_file.keras3 import operations, tables

_PARTS = {"initializer": INITIALIZERS, "regularizer": REGULARIZERS, "constraint": CONSTRAINTS}
# where Keras 3 says that its own are; a file of HDF5 says nothing
_LAYER_MODULES = frozenset({
    "keras", "keras.layers", "keras.models", "keras.src.models.functional", "keras.src.models.sequential",
    "keras.src.models.model",
})  # fmt: skip
_PART_MODULES = {kind: frozenset({f"keras.{kind}s"}) for kind in _PARTS}
_LAYER_KEYS = frozenset({"", "layers", "layer", "cell", "cells"})
_ALL_ACTIVATIONS = (
    tables.ACTIVATIONS | set(tables.SAME_ACTIVATIONS) | set(tables.COMPOSED_ACTIVATIONS) | tables.OTHER_ACTIVATIONS
)
# what calls what the file names, or reads other files
_CODE = frozenset({
    "Lambda", "function", "__lambda__", "__typespec__", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper",
})  # fmt: skip
# plain values as Keras 3 writes them, with the keys of their config
_VALUES = {
    "__keras_tensor__": {"shape", "dtype", "keras_history"}, "__tensor__": {"value", "dtype"},
    "__numpy__": {"value", "dtype"}, "__slice__": {"start", "stop", "step"}, "__ellipsis__": set(),
}  # fmt: skip


def findings(config: Any) -> list[Finding]:
    """Return what a model's configuration must not have, each once, in the order of the file.

    Kinds: "code" and "path" may not be loaded; "precision" is not float32; "counterpart" is Keras 3's alone.
    """
    return list(dict.fromkeys([*_walk(config, "", ""), *_twice(config)]))


def is_operation(entry: Mapping[str, Any]) -> bool:
    """Return whether one of a model's layers is an operation: it has a name and arguments, but no type of numbers."""
    if "module" in entry:
        return str(entry["module"]).startswith("keras.src.ops.")
    return "dtype" not in entry["config"] and entry["class_name"] not in tables.MODELS


def _among(value: Any, names: Collection[str]) -> bool:
    """Return whether a value of any type from a file is one of the names."""
    return isinstance(value, str) and value in names


def _walk(node: Any, key: str, layer: str) -> Iterator[Finding]:
    """Yield what is wrong with a value and inside of it.

    Args:
        key: under which it stands; a list's is its elements' too; "" is the outermost.
        layer: that it belongs to.
    """
    if isinstance(node, list):
        for inner in node:
            yield from _walk(inner, key, layer)
    elif isinstance(node, str):
        yield from _word(key, node, layer)
    elif isinstance(node, dict):
        if "class_name" in node:
            if _among(node["class_name"], _VALUES):
                yield from _value(node)
                return
            options = node.get("config")
            if isinstance(options, dict) and isinstance(options.get("name"), str):
                layer = options["name"]
            found = list(_object(node, key, layer))
            yield from found
            if found:  # one finding says it
                return
        elif "spec_name" in node or "registered_name" in node:
            yield Finding("code", f"an object without a class ({shown(key)})")
        for within, inner in node.items():
            if within not in ("class_name", "module", "registered_name", "compile_config"):
                yield from _walk(inner, within or "no name", layer)


def _twice(config: Any) -> Iterator[Finding]:
    """Yield the layers that are written in two places, as parts of two models: Keras 3 confuses their calls."""
    seen: set[int] = set()
    for entry in _layers(config):
        number = entry.get("shared_object_id")
        if isinstance(number, int) and number in seen:
            yield Finding("counterpart", f"{shown(entry['config'].get('name'))}: a layer of two models at once")
        elif isinstance(number, int):
            seen.add(number)


def _layers(node: Any) -> Iterator[dict[str, Any]]:
    """Yield the layers in a configuration, those inside of models included."""
    options = node.get("config") if isinstance(node, dict) else None
    layers = options.get("layers") if isinstance(options, dict) else None
    for entry in layers if isinstance(layers, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("config"), dict):
            yield entry
            yield from _layers(entry)


def _object(node: dict[str, Any], key: str, layer: str) -> Iterator[Finding]:
    """Yield what is wrong with one serialized object, not with what is inside of it."""
    name, module, registered = node["class_name"], node.get("module"), node.get("registered_name")
    options, kind = node.get("config"), key.rpartition("_")[2]
    where = f" (layer {shown(layer)})" if layer else ""
    if not isinstance(name, str) or not isinstance(module, str | None):
        yield Finding("code", f"a class_name or module that is no name ({shown(repr(name), 60)})")
    elif name == "function" and kind == "activation" and module in ("builtins", "keras.activations"):
        if not _among(options, _ALL_ACTIVATIONS) or registered not in (None, "function", options):
            yield Finding("code", f"the activation {shown(options)}{where}")
        else:
            yield from _activation(str(options), layer)
    elif name in _CODE:
        yield Finding("code", f"a {name.strip('_')}{where}")
    elif not isinstance(options, dict):
        yield Finding("code", f"a {shown(name)} without options{where}")
    elif registered not in (None, name) or not _of_keras(module):
        yield Finding("code", f"{shown(registered or name)} (module {shown(module)}){where}")
    elif kind == "dtype":
        if name not in ("DTypePolicy", "FloatDTypePolicy") or module not in (None, "keras", "keras.dtype_policies"):
            yield Finding("precision", f"the policy {shown(name)}{where}")
        elif not _among(options.get("name"), DTYPES):
            yield Finding("precision", f"the policy {shown(options.get('name'))}{where}")
    elif kind in _PARTS:
        if name not in _PARTS[kind] or module not in (None, "keras", *_PART_MODULES[kind]):
            yield Finding("counterpart", f"the {kind} {shown(name)}{where}")
    elif kind not in _LAYER_KEYS and kind != "activation":
        yield Finding("code", f"a {shown(name)} where Keras writes none ({shown(key)}){where}")
    elif is_operation(node):
        yield from _operation(name, module, layer)
    elif name in tables.MODELS and module in (None, *_LAYER_MODULES):
        pass
    elif name not in tables.LAYERS or module not in (None, *_LAYER_MODULES):
        why = tables.REFUSED.get(name, "tf_keras has none")
        yield Finding("counterpart", f"{shown(layer)}: a {shown(name)} ({why})")
    else:
        yield from _options(tables.LAYERS[name], name, options, layer)


def _of_keras(module: str | None) -> bool:
    return module is None or module == "keras" or module.startswith("keras.")


def _operation(name: str, module: str | None, layer: str) -> Iterator[Finding]:
    if module is None:
        yield Finding("counterpart", f"{shown(layer)}: an operation in an .h5, which Keras 3 itself cannot read again")
    elif name not in operations.OPERATIONS or module not in operations.MODULES:
        yield Finding("counterpart", f"{shown(layer)}: the operation {shown(name)} (no counterpart is known)")


def _options(rule: tables.Layer, kind: str, options: dict[str, Any], layer: str) -> Iterator[Finding]:
    """Yield the options that only Keras 3 has, and that are set to what tf_keras does not do."""
    for option, allowed in {**tables.EVERYWHERE, **rule.only}.items():
        if option in options and not tables.droppable(options[option], allowed):
            yield Finding("counterpart", f"{shown(layer)}: {kind} with {option}={shown(repr(options[option]), 40)}")
    for option in rule.needs:
        if options.get(option) is None:
            yield Finding("counterpart", f"{shown(layer)}: {kind} without its {option}, which adapt() found")
    for option, value in options.items():
        composed = isinstance(value, str) and value in tables.COMPOSED_ACTIVATIONS
        if composed and option.rpartition("_")[2] == "activation" and not (rule.ends and option == "activation"):
            yield Finding("counterpart", f"{shown(layer)}: the activation {value} inside a {kind}")
    if kind == "InputLayer":
        for option in ("sparse", "ragged", "optional"):
            if options.get(option):
                yield Finding("counterpart", f"{shown(layer)}: an input that is {option}")


def _activation(name: str, layer: str) -> Iterator[Finding]:
    if name in tables.OTHER_ACTIVATIONS:
        yield Finding("counterpart", f"{shown(layer)}: the activation {name}")


def _word(key: str, text: str, layer: str) -> Iterator[Finding]:
    """Yield what is wrong with a text: Keras looks up functions and opens files by such names."""
    kind = key.rpartition("_")[2]
    where = f" (layer {shown(layer)})" if layer else ""
    if kind == "activation":
        if text not in _ALL_ACTIVATIONS:
            yield Finding("code", f"the activation {shown(repr(text))}{where}")
        else:
            yield from _activation(text, layer)
    elif kind in _PARTS and text not in _PARTS[kind]:
        yield Finding("code", f"the {kind} {shown(repr(text))}{where}")
    elif key in FILES:
        yield Finding("path", f"a file of this machine ({shown(repr(text))})")
    elif key == "dtype" and text not in DTYPES:
        yield Finding("precision", shown(text))


def _value(node: dict[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with a plain value: only numbers, and in a tensor's history the names of layers."""
    name, options = node["class_name"], node.get("config")
    known = isinstance(options, dict) and set(options) == _VALUES[name] and _plain(options)
    if not known and not (name == "__ellipsis__" and not options):
        yield Finding("code", f"a {name.strip('_')} that is none")


def _plain(options: dict[str, Any]) -> bool:
    history = options.get("keras_history")
    if "dtype" in options and not _among(options["dtype"], DTYPES):
        return False
    if history is not None and not (
        isinstance(history, list)
        and [type(one) for one in history] == [str, int, int]
        and history[1] >= 0 <= history[2]
    ):
        return False
    return all(_numbers(value) for key, value in options.items() if key not in ("dtype", "keras_history"))


def _numbers(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_numbers, value))
    return isinstance(value, bool | int | float | None)
