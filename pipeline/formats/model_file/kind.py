"""Which kind of file a model is in, by its first bytes and its name, before anything is read of it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from pipeline.errors import InputError

Kind = Literal["archive", "hdf5"]

SUFFIXES: dict[str, Kind] = {".keras": "archive", ".h5": "hdf5", ".hdf5": "hdf5"}
EXPECTED = "a .keras or .h5 file that Keras wrote (2, which is tf_keras, or 3)"
SAVE_IT = "save the model with tf_keras: model.save('model.keras')"

_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
_OTHERS = {
    ".onnx": "ONNX", ".tflite": "TensorFlow Lite", ".pb": "a TensorFlow graph", ".pt": "PyTorch", ".pth": "PyTorch",
    ".safetensors": "safetensors: weights alone", ".pkl": "a pickle, which runs code when it is read",
    ".pickle": "a pickle, which runs code when it is read", ".joblib": "a pickle, which runs code when it is read",
    ".npy": "a NumPy array", ".npz": "NumPy arrays",
}  # fmt: skip


def identify(path: Path, copy: Path | None = None) -> Kind:
    """Return whether a file is an archive (.keras) or HDF5 (.h5); by its content, which its name must not contradict.

    Keras itself decides by the name what it does with a file, so a name that says something else is refused.

    Args:
        path: the user's file.
        copy: of it, to be read in its stead.

    Raises:
        InputError: no such file, or another format.
    """
    copy = copy or path
    if not copy.is_file():
        raise _absent(path)
    try:
        with copy.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise InputError(
            f"the model file {path} cannot be read", expected=EXPECTED, found=error.strerror or str(error),
            todo="change its permissions, or copy it to where you may read it",
        ) from error  # fmt: skip
    suffix = path.suffix.lower()
    kind: Kind | None = "archive" if start.startswith(_ZIP) else "hdf5" if start == _HDF5 else None
    if other := _other(start, suffix):
        raise InputError(
            f"the model file {path} is of another format", expected=EXPECTED, found=other,
            todo=f"take the Keras model that it was made from; {SAVE_IT}",
        )  # fmt: skip
    if kind is None:
        what = "an empty file" if not start else f"other bytes ({start[:4]!r}...): a damaged or another file"
        raise InputError(f"{path} is not a model file", expected=EXPECTED, found=what, todo=SAVE_IT)
    if SUFFIXES.get(suffix) != kind:
        is_a, right = ("a zip archive", ".keras") if kind == "archive" else ("HDF5", ".h5")
        raise InputError(
            f"the model file {path} is not named as what it is", expected=f"a name that ends in {right}",
            found=f"{suffix or 'no ending'}, but {is_a} inside",
            todo=f"if it is a Keras model, rename it to {path.stem}{right}",
        )  # fmt: skip
    if kind == "hdf5" and zipfile.is_zipfile(copy):
        raise InputError(
            f"the model file {path} is two files in one", expected="HDF5 alone",
            found="HDF5 with a zip archive behind it: its readers do not agree on what it holds", todo=SAVE_IT,
        )  # fmt: skip
    return kind


def another(path: Path) -> bool:
    """Return whether a name is that of a file of another format, which models or their weights are in."""
    return path.suffix.lower() in _OTHERS


def versions(path: Path) -> list[str]:
    """Return the names of the SavedModels in a folder, the newest version last, as a model server would find them."""
    if not path.is_dir():
        return []
    names = [item.parent.name for item in path.glob("*/saved_model.pb")]
    return sorted(names, key=lambda name: (name.isdigit(), int(name) if name.isdigit() else 0, name))


def _absent(path: Path) -> InputError:
    if (path / "saved_model.pb").is_file():
        found = "a SavedModel"
        todo = f"model.path takes the folder; elsewhere take the Keras model that it was exported from: {SAVE_IT}"
    elif names := versions(path):
        found = f"a folder of a SavedModel's versions: {', '.join(names)}"
        todo = f"name the version: {path / names[-1]}"
    elif path.is_dir():
        found, todo = "a folder", "name the file in it"
    else:
        found, todo = "nothing there", "correct model.path, or --model"
    return InputError(f"there is no model file {path}", expected=EXPECTED, found=found, todo=todo)


def _other(start: bytes, suffix: str) -> str | None:
    if start[4:8] == b"TFL3":
        return _OTHERS[".tflite"]
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _OTHERS[".pkl"]
    return _OTHERS.get(suffix)
