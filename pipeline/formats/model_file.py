"""A user's model file: checked before it is loaded, loaded without running code of its author's, cut to logits."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError
from pipeline.formats import meaningful_line
from pipeline.legacy_keras import load as load_keras
from pipeline.measuring.macs import FREE_OPERATIONS
from pipeline.predictor import Spec

if TYPE_CHECKING:
    import numpy as np

# what tf_keras names in the files that it writes
_MODULES = (
    "keras", "keras.layers", "keras.initializers", "keras.regularizers", "keras.constraints", "keras.activations",
    "keras.models", "tf_keras.src.engine.functional", "tf_keras.src.engine.sequential",
)  # fmt: skip
# what calls something that the file names
_CODE = ("Lambda", "__lambda__", "function", "ClassMethod", "InstanceMethod", "InstanceProperty")
_ZIP = b"PK\x03\x04"
_LARGEST = 2**26
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, KeyError, TypeError, ValueError, OSError, RuntimeError, NotImplementedError,
    RecursionError,
)  # fmt: skip
_TODO = "save it with tf_keras: model.save('model.keras')"


def read(path: Path, spec: Spec) -> tuple[Any, tuple[str, ...]]:
    """Return the tf_keras model in a file, raw values in and logits out, and notes on what was changed.

    Args:
        path: a `.keras` file that tf_keras (Keras 2) wrote.
        spec: what the data wants of a model.

    Raises:
        InputError: no such file, not a model of Keras 2, code inside of it, or a model for other data.
    """
    _require_keras_2(path)
    _require_known_layers(path)
    keras = load_keras()
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(
            f"the model file {path} cannot be loaded", expected="layers of Keras alone, without code of their own",
            found=meaningful_line(error), todo=_TODO,
        ) from error  # fmt: skip
    _require_ends(path, model, spec)
    return _to_logits(model)


def _require_keras_2(path: Path) -> None:
    if not path.is_file():
        raise InputError(
            f"there is no model file {path}", expected="a .keras file",
            found="a folder" if path.is_dir() else "nothing there",
            todo="export a SavedModel's Keras model first" if path.is_dir() else "correct the path",
        )  # fmt: skip
    if path.suffix != ".keras":
        # by the name alone Keras decides whether it reads HDF5, whose code runs when it is loaded
        raise InputError(
            f"the model file {path} is not named as one", expected="a .keras file",
            found=f"{path.suffix or 'no ending'}; HDF5, for one, can run code when it is loaded", todo=_TODO,
        )  # fmt: skip
    metadata = _document(path, "metadata.json")
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    if version is None:
        raise _damaged(path, "metadata.json")
    if not str(version).startswith("2."):
        raise InputError(
            f"the model file {path} is of another Keras", expected="Keras 2 (tf_keras)", found=f"Keras {version}",
            todo="build the model with tf_keras and save its weights there",
        )  # fmt: skip


def _document(path: Path, name: str) -> Any:
    """Return a JSON document inside of the file."""
    try:
        with path.open("rb") as file:
            if file.read(4) != _ZIP:  # an archive may have anything before it, HDF5 for one
                raise zipfile.BadZipFile("it does not begin as an archive")
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(name).file_size > _LARGEST:
                raise ValueError(f"{name} is larger than {_LARGEST} bytes")
            return json.loads(archive.read(name))
    except _DAMAGED as error:
        raise _damaged(path, name) from error


def _damaged(path: Path, name: str) -> InputError:
    return InputError(
        f"{path} is not a model file", expected=f"a .keras file: a zip archive with {name}",
        found="a damaged or another file", todo=_TODO,
    )  # fmt: skip


def require_logits(path: Path, answers: np.ndarray) -> None:
    """Refuse a model whose answers are no logits, though it ends in no softmax that could be taken off.

    Args:
        answers: [n, classes], to samples of the data.

    Raises:
        InputError: all answers lie in [0, 1].
    """
    if answers.min() >= 0 and answers.max() <= 1:
        raise InputError(
            f"the model in {path} answers probabilities", expected="logits, or a softmax as its last layer",
            found=f"values from {answers.min():.3g} to {answers.max():.3g}",
            todo="save the model without its last function: probabilities are added when it is exported",
        )  # fmt: skip


def _require_known_layers(path: Path) -> None:
    """Refuse code of the author's before anything is loaded: layers that are not Keras' own, and Lambda."""
    config = _document(path, "config.json")
    if not isinstance(config, dict):
        config = {"class_name": type(config).__name__, "module": None}
    config.pop("compile_config", None)  # it is not loaded, and may well name a loss of the user's own
    foreign = sorted(set(_foreign(config)))
    if foreign:
        raise InputError(
            f"the model file {path} holds code of its author's", expected="layers of Keras alone",
            found=", ".join(foreign), todo="rebuild the model from Keras' own layers",
        )  # fmt: skip


def _foreign(node: Any) -> Iterator[str]:
    """Yield what in a model's config is not a layer (or initializer, ...) of Keras' own.

    Keras imports whatever module a config names and calls functions with what it says, in safe mode too; so nothing is
    left to it to decide.
    """
    if isinstance(node, list):
        if node[:1] == ["_CONSTANT_VALUE"] and any(isinstance(value, str) for value in node):
            constants = [value for value in node[1:] if isinstance(value, str)]
            if constants:
                yield f"a text as a layer's argument ({constants[0]!r})"
        for inner in node:
            yield from _foreign(inner)
    elif isinstance(node, dict):
        name, module, options = node.get("class_name"), node.get("module"), node.get("config")
        if name in ("TFOpLambda", "SlicingOpLambda"):
            operation = options.get("function") if isinstance(options, dict) else None
            if operation not in FREE_OPERATIONS:
                yield f"the operation {operation}"
        elif name in _CODE:
            yield f"a {name.strip('_')}"
        elif isinstance(options, dict) and isinstance(options.get("vocabulary"), str):
            yield f"a file of this machine ({options['vocabulary']})"
        elif isinstance(name, str) and "module" in node and module not in _MODULES:
            yield f"{node.get('registered_name') or name} (module {module})"
        for inner in node.values():
            yield from _foreign(inner)


def _require_ends(path: Path, model: Any, spec: Spec) -> None:
    inputs, outputs = [tuple(end.shape) for end in model.inputs], [tuple(end.shape) for end in model.outputs]
    wanted = [(None, *spec.input_shape)], [(None, len(spec.classes))]
    free = [[(None, *shape[1:]) for shape in ends] for ends in (inputs, outputs)]
    if free != [list(ends) for ends in wanted]:
        raise InputError(
            f"the model in {path} is not a model for this data",
            expected=f"an input of shape {spec.input_shape} and an output of {len(spec.classes)} classes",
            found=f"inputs {[shape[1:] for shape in inputs]}, outputs {[shape[1:] for shape in outputs]}",
            todo="name the data that it was trained on (data, or --data)",
        )  # fmt: skip


def _to_logits(model: Any) -> tuple[Any, tuple[str, ...]]:
    """Return the model up to its logits: distillation, parity and quantization want them, exports add probabilities."""
    keras = load_keras()
    last = model.layers[-1]
    function = getattr(getattr(last, "activation", None), "__name__", "")
    kind = type(last).__name__
    if kind == "Softmax" or (kind == "Activation" and function == "softmax"):
        cut = keras.Model(model.inputs, last.input, name=model.name)
        return _fresh(cut), (f"the model ends in {last.name}: it is cut off, and its input is taken as the logits",)
    if function == "softmax":
        return _fresh(model, last.name), (f"the softmax inside {last.name} is taken off: its inputs are the logits",)
    return _fresh(model), ()


def _fresh(model: Any, linear: str = "") -> Any:
    """Return a functional copy whose layers belong to nothing else, the layer named `linear` without its function."""
    keras = load_keras()
    functional = keras.Model(model.inputs, model.outputs, name=model.name)

    def copy(layer: Any) -> Any:
        config = layer.get_config()
        return type(layer).from_config(dict(config, activation="linear") if layer.name == linear else config)

    fresh = keras.models.clone_model(functional, clone_function=copy)
    fresh.set_weights(functional.get_weights())
    return fresh
