"""Model files as users have them, changed into what nobody should open."""

from __future__ import annotations

import importlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py

from pipeline.formats.model_file import load
from pipeline.formats.model_file.scan import Scanned, scan
from pipeline.legacy_keras import load as load_keras
from pipeline.predictor import Spec
from tests.pipeline.compress import tiny

Change = Callable[[dict[str, Any]], None]


def read(path: Path, spec: Spec = tiny.SPEC, *, allow_custom_code: bool = False) -> tuple[Any, tuple[str, ...]]:
    """Look through a file and load it, in this process: what slips through would run here."""
    serialization = importlib.import_module("tf_keras.src.saving.serialization_lib")
    objects = load_keras().saving.get_custom_objects()
    before = dict(objects)
    try:
        with TemporaryDirectory() as folder:
            return load.logits(scan(path, Path(folder), allow_custom_code=allow_custom_code), spec)
    finally:  # what allowing code says for a whole process
        serialization.SAFE_MODE.safe_mode = None
        objects.clear()
        objects.update(before)


def scanned(path: Path, folder: Path, *, allow_custom_code: bool = False) -> Scanned:
    """Look through a file without loading it; the copy lies in a new folder in `folder`."""
    copy = folder / "copy"
    copy.mkdir()
    return scan(path, copy, allow_custom_code=allow_custom_code)


def members(path: Path) -> dict[str, bytes]:
    """Return the members of an archive."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path: Path, contents: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Write an archive."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def configured(source: Path, target: Path, change: Change) -> Path:
    """Copy a .keras or .h5 file with its configuration changed."""
    if target.suffix == ".keras":
        contents = members(source)
        config = json.loads(contents["config.json"])
        change(config)
        return packed(target, contents | {"config.json": json.dumps(config).encode()})
    shutil.copyfile(source, target)
    with h5py.File(target, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)
    return target


def reweighted(source: Path, target: Path, change: Callable[[h5py.File], None]) -> Path:
    """Copy a .keras or .h5 file with the HDF5 file of its weights changed."""
    if target.suffix != ".keras":
        shutil.copyfile(source, target)
        with h5py.File(target, "r+") as file:
            change(file)
        return target
    contents = members(source)
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.h5"
        weights.write_bytes(contents["model.weights.h5"])
        with h5py.File(weights, "r+") as file:
            change(file)
        return packed(target, contents | {"model.weights.h5": weights.read_bytes()})


def dense(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of the first Dense layer, to be changed in place."""
    found: dict[str, Any] = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")
    return found


def function(name: str) -> dict[str, Any]:
    """Return a function of the module `planted` as Keras serializes it."""
    return {"class_name": "function", "module": "planted", "config": name, "registered_name": name}
