"""The weights in a Keras 3 file, read by h5py alone, each with that of the translated model that it belongs to."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError
from pipeline.formats.model_file import archive, hdf5
from pipeline.formats.model_file.keras3 import tables
from pipeline.formats.model_file.keras3.check import is_operation
from pipeline.formats.model_file.scan import CONFIG_ATTRIBUTE, WEIGHTS_GROUP, Scanned

if TYPE_CHECKING:
    import h5py
    import numpy as np

Pair = tuple[str, "np.ndarray", Any]

# states of random numbers, which tf_keras keeps elsewhere: they decide nothing that a model answers
_RANDOM = frozenset({"seed_generator", "seed_generator_state"})


def configuration(scanned: Scanned) -> Any:
    """Return the configuration in a file that was looked through."""
    import h5py

    if scanned.kind == "archive":
        with zipfile.ZipFile(scanned.model) as members:
            return json.loads(members.read(archive.CONFIG))
    with h5py.File(scanned.model, "r") as file:
        return json.loads(file.attrs[CONFIG_ATTRIBUTE])


def assign(scanned: Scanned, model: Any) -> int:
    """Give a translated model the weights of its file; returns their number.

    Raises:
        InputError: a weight is in the file alone, in the model alone, or has another shape.
    """
    import h5py

    problems: list[str] = []
    assigned: set[int] = set()
    with h5py.File(scanned.weights, "r") as file:
        for path, values, weight in pairs(scanned, file, model):
            if weight is None:
                problems.append(f"{path} is of no layer")
            elif tuple(weight.shape) != values.shape:
                problems.append(f"{path} has the shape {values.shape}, and its layer wants {tuple(weight.shape)}")
            else:
                weight.assign(values)
                assigned.add(id(weight))
    problems += [f"{weight.name} is not in the file" for weight in model.weights if id(weight) not in assigned]
    if problems:
        raise InputError(
            f"the weights in {scanned.path} are not those of its layers", expected="one array for each weight",
            found="; ".join(problems[:3]) + (f" and {len(problems) - 3} more" if len(problems) > 3 else ""),
            todo="load the file with Keras 3 and save it again; if that does not help, report this model",
        )  # fmt: skip
    for layer in model._flatten_layers(include_self=False):
        if hasattr(layer, "finalize_state"):  # Normalization computes with what it makes of its weights
            layer.finalize_state()
    return len(assigned)


def pairs(scanned: Scanned, file: h5py.File, model: Any) -> Iterator[Pair]:
    """Yield (path, array, weight of the tf_keras model or None) for each array in the file.

    Args:
        file: the file with the weights, open for reading.
    """
    if scanned.kind == "hdf5":
        yield from _from_hdf5(file[WEIGHTS_GROUP], configuration(scanned), model)
        return
    config = configuration(scanned)
    for path, values in hdf5.weights(file, hdf5.ARCHIVE_TRAINING):
        parts = path.split("/")
        if not _RANDOM.intersection(parts):
            yield path, values, _at(parts, config, model)


def _from_hdf5(group: h5py.Group, config: Any, model: Any) -> Iterator[Pair]:
    """Yield what is in LAYER/..., where the weights have the order of `weight_names`, those inside of it included."""
    layers = {layer.name: layer for layer in model.layers}
    called = {one["config"]["name"]: tables.layer_name(one, config["config"]) for one in config["config"]["layers"]}
    for name in hdf5.texts(group, "layer_names") or []:
        layer = layers.get(called.get(name, name))
        own = [*layer.trainable_weights, *layer.non_trainable_weights] if layer is not None else []
        for place, path in enumerate(hdf5.texts(group[name], "weight_names") or []):
            weight = own[place] if place < len(own) else None
            # Keras 3 calls the kernel of a depthwise convolution just so
            same = weight is not None and _last(weight.name) in (_last(path), f"depthwise_{_last(path)}")
            yield f"{name}/{path}", group[name][path][()], weight if same else None


def _last(name: str) -> str:
    return name.rpartition("/")[2].partition(":")[0]


def _at(path: list[str], entry: Any, item: Any) -> Any:
    """Return the weight that a path inside model.weights.h5 leads to; None where it leads nowhere.

    layers/KIND_N is the N-th layer of its class in the configuration's order, vars/I is weight I of that, and anything
    else is an attribute.
    """
    if path[0] == "vars" and len(path) == 2:
        own = [*item._trainable_weights, *item._non_trainable_weights]
        return own[int(path[1])] if path[1].isdigit() and int(path[1]) < len(own) else None
    if len(path) < 2:
        return None
    options = entry.get("config", {}) if isinstance(entry, Mapping) else {}
    if path[0] == "layers" and isinstance(options.get("layers"), list):
        within = next((layer for key, layer in archive.keyed(_layers(entry)) if key == path[1]), None)
        name = None if within is None else tables.layer_name(within, options)
        layer = next((layer for layer in item.layers if layer.name == name), None)
        return None if layer is None else _at(path[2:], within, layer)
    part = getattr(item, path[0], None)
    part = getattr(item, f"_{path[0]}", None) if part is None else part
    if isinstance(part, list | tuple):
        chosen = next((one for key, one in archive.keyed(part) if key == path[1]), None)
        return None if chosen is None else _at(path[2:], None, chosen)
    return None if part is None else _at(path[1:], options.get(path[0].replace("forward_", "")), part)


def _layers(entry: Mapping[str, Any]) -> list[Any]:
    """Return the layers that Keras 3 counts: no operations, and no input of a Sequential."""
    chain = entry["class_name"] == "Sequential"
    return [
        layer for layer in entry["config"]["layers"]
        if not is_operation(layer) and not (chain and layer["class_name"] == "InputLayer")
    ]  # fmt: skip
