"""Small models as .onnx in every precision, written and answered for in the child of the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from pipeline import legacy_keras
from pipeline.formats import onnx
from pipeline.formats.onnx import external
from pipeline.predictor import LOGITS, Spec, classifier
from tests.pipeline.formats import tiny, tiny_recurrent

PRECISIONS: tuple[onnx.Precision, ...] = ("float32", "float16", "int8")
# raw values beyond what float16 can be
WIDE = classifier("features", (3,), (0.0, 200_000.0), ("a", "b"))


def wide_samples(count: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 200_000, (count, 3)).astype(np.float32)


def wide() -> Any:
    keras = legacy_keras.load()
    keras.utils.set_random_seed(3)
    raw = keras.Input((3,), name="features")
    x = keras.layers.Rescaling(1 / 200_000, name="rescaling")(raw)
    x = keras.layers.Dense(16, activation="relu", name="dense")(x)
    return keras.Model(raw, keras.layers.Dense(2, name="logits")(x))


def write_wide(folder: Path, scale: float = 1.0) -> np.ndarray:
    """Write float16.onnx and int8.onnx straight from Keras; return Keras' logits of `wide_samples(8)`."""
    model = wide()
    kernel, bias = model.get_layer("dense").get_weights()
    model.get_layer("dense").set_weights([kernel * scale, bias])
    for precision in ("float16", "int8"):
        onnx.write(model, folder / f"{precision}.onnx", WIDE, precision, wide_samples(40))  # type: ignore[arg-type]
    logits: np.ndarray = model(wide_samples(8), training=False).numpy()
    return logits


def errors(folder: Path, kind: str) -> dict[str, float]:
    """Return precision -> largest error of a recurrent model's .onnx, of one sample and of several."""
    model, spec, batch = tiny_recurrent.build(kind), tiny_recurrent.SPEC, tiny_recurrent.samples(3, seed=2)
    logits = model(batch, training=False).numpy()
    found = {}
    for precision in PRECISIONS:
        source = model if precision == "float32" else folder / "float32.onnx"
        path = folder / f"{precision}.onnx"
        assert onnx.write(source, path, spec, precision, tiny_recurrent.samples(32, seed=1)) == ""
        found[precision] = tiny_recurrent.error(onnx.load(path, spec, 1), logits, batch)
    return found


def write_opset(folder: Path, opset: int) -> None:
    """Write every .onnx of a version of the operators under `folder`."""
    onnx.write(tiny.build(), folder / "float32.onnx", tiny.SPEC, opset=opset)
    onnx.write(folder / "float32.onnx", folder / "float16.onnx", tiny.SPEC, "float16")
    onnx.write(folder / "float32.onnx", folder / "int8.ort.onnx", tiny.SPEC, "int8", tiny.samples(40, seed=2))


def write_with(folder: Path, fault: str) -> str:
    """Write tiny.onnx while the simplifier has a fault; return why it is not simplified."""
    import onnx as library
    import onnxslim

    def refuses(_: Any) -> Any:
        raise ValueError("cannot fold this\nsecond line")

    def breaks(model: Any) -> Any:
        made = library.ModelProto.FromString(model.SerializeToString())
        (kernel,) = (item for item in made.graph.initializer if list(item.dims) == [16, 4])
        kernel.raw_data = (library.numpy_helper.to_array(kernel) * np.float32(1.01)).tobytes()
        return made

    with mock.patch.object(onnxslim, "slim", {"refuses": refuses, "breaks": breaks}[fault]):
        return onnx.write(tiny.build(), folder / "tiny.onnx", tiny.SPEC)


def write_unsimplified(path: Path) -> str:
    return onnx.write(tiny.build(), path, tiny.SPEC, simplify=False)


def write_beyond(folder: Path, limit: int) -> str:
    """Write every .onnx as if no message could be as long as `limit` bytes; return why it is not simplified."""
    with mock.patch.object(external, "LIMIT", limit):
        why = onnx.write(tiny.build(), folder / "float32.onnx", tiny.SPEC)
        onnx.write(folder / "float32.onnx", folder / "float16.onnx", tiny.SPEC, "float16")
        onnx.write(folder / "float32.onnx", folder / "int8.ort.onnx", tiny.SPEC, "int8", tiny.samples(40, seed=2))
    return why


def write_resized(folder: Path) -> None:
    """Write a model with a layer of Keras whose operator (ScaleAndTranslate) tf2onnx does not know."""
    keras = legacy_keras.load()
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Resizing(4, 4, interpolation="lanczos3", name="smaller")(image)
    x = keras.layers.Flatten()(keras.layers.Resizing(6, 6, interpolation="mitchellcubic", name="larger")(x))
    model = keras.Model(image, keras.layers.Dense(4, name="logits")(x), name="resized")
    onnx.write(model, folder / "model.onnx", tiny.SPEC)


def logits_of(path: Path, spec: Spec, batch: np.ndarray) -> np.ndarray:
    found: np.ndarray = onnx.load(path, spec, 1).predict(batch)[LOGITS]
    return found


def write_signed(tflite_path: Path, path: Path) -> None:
    """Write the .onnx of an int8 .tflite with its activations as the .tflite has them."""
    with mock.patch("pipeline.formats.onnx.unsigned.activations"):
        onnx.write_from_tflite(tflite_path, path, tiny.SPEC)
