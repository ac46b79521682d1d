"""The shape of the images that a model file takes, by its configuration alone: no layer is made, TensorFlow stays out.

But for a SavedModel, whose signature TensorFlow's protocol buffers describe.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import legacy_keras
from pipeline.errors import InputError
from pipeline.formats.model_file import archive, hdf5, importing
from pipeline.formats.model_file.kind import identify
from pipeline.formats.model_file.scan import CONFIG_ATTRIBUTE
from pipeline.formats.plain.folder import GRAPH, is_saved_model
from pipeline.isolate import CrashError, FailedError

Shape = tuple[int | None, ...]


_UNREADABLE = (InputError, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)


def image_shape(path: Path) -> Shape | None:
    """Return height, width (None: any) and channels of the one image that a model takes; None where it takes no such.

    Of HDF5 and of a SavedModel this process reads nothing: a child does, as when they are imported. What is wrong with
    a file is told by the import, so that a damaged one has no shape here.
    """
    try:
        native = is_saved_model(path) or identify(path) == "hdf5"
        shape = _asked(path) if native else _input(archive.documents(path, path).config)
    except _UNREADABLE:
        return None
    fits = shape is not None and len(shape) == 4 and shape[3] in (1, 3)
    return shape[1:] if shape is not None and fits else None


def _asked(path: Path) -> Shape | None:
    try:
        with importing.reader(path, log=Path(os.devnull)) as child:
            return child.call(_read, path)
    except (CrashError, FailedError):
        return None


def _read(path: Path) -> Shape | None:
    """Return the shape of the one input; runs in the child."""
    try:
        return _signature(path) if is_saved_model(path) else _hdf5(path)
    except _UNREADABLE:
        return None


def _hdf5(path: Path) -> Shape | None:
    import h5py

    with h5py.File(path) as file:
        return _input(json.loads(hdf5.text(file, CONFIG_ATTRIBUTE) or "null"))


def _input(model: Any) -> Shape | None:
    """Return the shape of the one input of a model's configuration, the batch's dimension first; None: unknown."""
    config = model["config"]
    layers = config["layers"] if isinstance(config, Mapping) else config
    if model["class_name"] == "Sequential":
        first = layers[0]
    else:
        named = config["input_layers"]
        (name,) = {named[0] if isinstance(named[0], str) else named[0][0]} if _is_one(named) else (None,)
        first = next((layer for layer in layers if layer["config"].get("name") == name), None)
    if not isinstance(first, Mapping):
        return None
    inner = first["config"]
    if isinstance(inner, Mapping) and "layers" in inner:
        return _input(first)
    found = inner.get("batch_input_shape") or inner.get("batch_shape") or config.get("build_input_shape")
    return _shape(found) if isinstance(found, (list, tuple)) else None


def _is_one(named: Any) -> bool:
    """Return whether a functional model's `input_layers` are one: [name, 0, 0] itself, or a list of one such."""
    return isinstance(named[0], str) or len(named) == 1


def _shape(found: Any) -> Shape:
    return tuple(None if size is None else int(size) for size in found)


def _signature(path: Path) -> Shape | None:
    legacy_keras.load()
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        proto = saved_model_pb2.SavedModel.FromString((path / GRAPH).read_bytes())
    except DecodeError:
        return None
    inputs = list(proto.meta_graphs[0].signature_def["serving_default"].inputs.values())
    if len(inputs) != 1:
        return None
    return tuple(None if one.size < 0 else one.size for one in inputs[0].tensor_shape.dim)
