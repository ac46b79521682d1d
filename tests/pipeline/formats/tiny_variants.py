"""The tiny model as a .tflite in the precisions that are made after training, and in variants; in a child process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline import legacy_keras
from pipeline.compress import fake_quant
from pipeline.formats import by_layer, tflite
from pipeline.formats.precisions import Variant, split
from pipeline.formats.tflite import quantizer
from pipeline.formats.tflite.read import tree
from tests import texts
from tests.pipeline.formats import text, tiny

MIXED = {"conv*": "weight-int8", "conv2": "dynamic-int4"}
ENTRIES = (
    "float32", "weight-int8", "weight-int4", "dynamic-int4", "mixed", "int16x8", "int8", "int8.int8-ends",
    "int8.uint8-ends", "float32.batch4",
)  # fmt: skip


def write(folder: Path, model: Any = None, entry: str = "float32", **options: Any) -> Path:
    """Write the tiny model as an entry of export.tflite; return the file."""
    precision, variant = split(entry)
    path = folder / f"{entry}.tflite"
    made: Any = precision
    tflite.write(
        model or tiny.build(), path, tiny.SPEC, made, tiny.samples(40, seed=2), variant=Variant.of(variant), **options
    )
    return path


def write_all(folder: Path) -> np.ndarray:
    """Write every entry; return Keras' logits for samples(32, seed=1)."""
    model = tiny.build()
    for entry in ENTRIES:
        write(folder, model, entry, mixed=MIXED)
    logits: np.ndarray = model(tiny.samples(32, seed=1), training=False).numpy()
    return logits


def dequantized(path: Path) -> dict[tuple[int, ...], np.ndarray]:
    """Return the kernels in a file as the numbers that they stand for, by shape."""
    scales = {tensor.name.decode(): tensor.quantization for tensor in tree(path).subgraphs[0].tensors}
    found = {}
    for name, values in tflite.kernels(path).items():
        about, sides = scales[name], [1] * values.ndim
        if values.dtype == np.int8:
            sides[about.quantizedDimension] = -1
            values = values * about.scale.reshape(sides)
        found[values.shape] = values
    return found


def logits_of_own(folder: Path) -> dict[str, np.ndarray]:
    """Return entry -> Keras' logits for samples(32, seed=1) with the kernels that are in its file."""
    return {entry: logits_of(dequantized(folder / f"{entry}.tflite")) for entry in ENTRIES}


def logits_of(kernels: dict[tuple[int, ...], np.ndarray]) -> np.ndarray:
    """Return Keras' logits for samples(32, seed=1) with other kernels.

    Args:
        kernels: shape in a .tflite -> numbers; the first one with the factors before and behind it.
    """
    model = tiny.build()
    gamma, _, _, variance = model.get_layer("norm").get_weights()
    first = 16 * np.moveaxis(kernels[8, 3, 3, 1], 0, -1) * np.sqrt(variance + model.get_layer("norm").epsilon) / gamma
    model.get_layer("conv").set_weights([first])
    for name, kernel in (("conv2", np.moveaxis(kernels[16, 3, 3, 8], 0, -1)), ("logits", kernels[4, 16].T)):
        model.get_layer(name).set_weights([kernel, model.get_layer(name).get_weights()[1]])
    logits: np.ndarray = model(tiny.samples(32, seed=1), training=False).numpy()
    return logits


def write_again(folder: Path) -> None:
    """Write what ai-edge-quantizer makes once more."""
    model = tiny.build()
    for entry in ("mixed", "weight-int4"):
        write(folder, model, entry, mixed=MIXED)


def write_mixed(folder: Path, mixed: dict[str, str]) -> None:
    write(folder, entry="mixed", mixed=mixed)


def write_trained(folder: Path) -> None:
    """Write a model that brings its ranges along, with float32 and with integer ends."""
    model = tiny.build()
    trained = fake_quant.build(model)
    fake_quant.calibrate(trained, model, tiny.samples(40, seed=2))
    for entry in ("int8", "int8.int8-ends", "int8.uint8-ends"):
        write(folder, trained, entry, fake_quant=True)


def write_text(folder: Path) -> None:
    """Write a model of texts with integer ends."""
    path = folder / "text.tflite"
    tflite.write(
        text.build(), path, text.SPEC, "int8", text.SPEC.tokens(text.SAMPLES), variant=Variant.of("int8-ends")
    )  # fmt: skip


LEFT = ("weight-int8", "weight-int4", "dynamic-int4")


def build_left() -> dict[str, Any]:
    """Return name -> a model with kernels that ai-edge-quantizer leaves as they are in some precision."""
    keras = legacy_keras.load()
    keras.utils.set_random_seed(3)
    layers = keras.layers
    image, ids = keras.Input((8, 8, 1), name="image"), keras.Input(text.SPEC.input.shape, dtype="int32", name="text")
    x = layers.Conv2D(64, 3, name="conv")(image)
    for name in ("first", "second"):
        x = layers.ReLU()(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", name=name)(x)))
        x = layers.Conv2D(64, 1, name=f"after_{name}")(x)
    x = layers.Conv2DTranspose(32, 2, name="up")(layers.SeparableConv2D(16, 3, name="both")(x))
    depthwise = layers.Dense(4, name="logits")(layers.GlobalAveragePooling2D()(x))
    x = layers.Embedding(texts.VOCABULARY, 128, name="embedding")(ids)
    words = layers.Dense(3, name="logits")(layers.Dense(64, name="hidden")(layers.GlobalAveragePooling1D()(x)))
    return {"depthwise": keras.Model(image, depthwise), "text": keras.Model(ids, words)}


def write_left(folder: Path) -> dict[str, list[str]]:
    """Write these models as MODEL.PRECISION.tflite; return file -> what `float_kernels` finds in it."""
    found = {}
    for name, model in build_left().items():
        path = folder / f"{name}.float32.tflite"
        tflite.write(model, path, tiny.SPEC if name == "depthwise" else text.SPEC, "float32")
        content = path.read_bytes()
        for entry in LEFT:
            path = folder / f"{name}.{entry}.tflite"
            path.write_bytes(quantizer.quantize(content, entry))
            found[path.stem] = tflite.float_kernels(path, by_layer.with_kernels(model))
    return found


def mixed_left(folder: Path, mixed: dict[str, str]) -> list[str]:
    """Mix the first of them; return what `float_kernels` finds."""
    model, path = build_left()["depthwise"], folder / "depthwise.mixed.tflite"
    content = (folder / "depthwise.float32.tflite").read_bytes()
    path.write_bytes(quantizer.mix(content, by_layer.precisions(model, mixed)))
    return tflite.float_kernels(path, by_layer.with_kernels(model))


def _with(layer: Any) -> Any:
    keras = legacy_keras.load()
    image = keras.Input((8, 8, 1), name="image")
    return keras.Model(image, keras.layers.Dense(4, name="logits")(keras.layers.Flatten()(layer(image))))


def write_select(folder: Path, entry: str) -> None:
    """Write a model with a SELECT_V2, which has no kernel for int16 activations."""
    keras = legacy_keras.load()
    import tensorflow as tf

    write(folder, _with(keras.layers.Lambda(lambda x: tf.where(x > 8.0, x, tf.zeros_like(x)))), entry)


def write_pooled(folder: Path, select_tf_ops: bool) -> None:
    """Write a model with an operator that only TensorFlow has."""
    layers = legacy_keras.load().layers
    pooled = [layers.Reshape((8, 8, 1, 1)), layers.MaxPool3D((2, 2, 1))]
    write(folder, _with(lambda x: pooled[1](pooled[0](x))), select_tf_ops=select_tf_ops)
