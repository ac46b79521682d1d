"""A tiny quantization-aware model in every format, and the counts of a SavedModel; they run in a child process."""

from __future__ import annotations

from pathlib import Path

from pipeline import legacy_keras
from pipeline.formats import onnx, saved_model, tflite
from pipeline.formats.operators import Operators
from pipeline.measuring import footprint
from tests.pipeline.formats import tiny


def write_all(folder: Path) -> None:
    """Write saved_model/, float32.tflite (what nobody should serve), int8.tflite and int8.onnx."""
    keras = legacy_keras.load()
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot

    keras.utils.set_random_seed(3)
    layers = keras.layers
    plain = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(8, 3, padding="same", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.Flatten(name="flat"),
            layers.Dense(4, name="logits"),
        ]
    )
    # a filter, and a channel of the depthwise kernel, without weights
    for name, axis in (("conv", 3), ("depthwise", 2)):
        kernel, bias = plain.get_layer(name).get_weights()
        (kernel[..., 0] if axis == 3 else kernel[:, :, 0])[:] = 0
        plain.get_layer(name).set_weights([kernel, bias])
    model = tfmot.quantization.keras.quantize_model(plain)
    model(tiny.samples(40, seed=2), training=True)
    saved_model.write(model, folder / "saved_model", tiny.SPEC)
    tflite.write(folder / "saved_model", folder / "float32.tflite", tiny.SPEC, "float32")
    path = str(folder / "saved_model" / saved_model.VERSION)
    converter = tf.lite.TFLiteConverter.from_saved_model(path, signature_keys=[saved_model.SIGNATURE])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    (folder / "int8.tflite").write_bytes(converter.convert())
    onnx.write_from_tflite(folder / "int8.tflite", folder / "int8.onnx", tiny.SPEC)


def saved_model_operators(folder: Path) -> tuple[Operators, tuple[int, int]]:
    """Return the counts, and (channels all zero, channels)."""
    found = saved_model.operators(folder)
    return found, footprint.zero_channels(saved_model.kernels(folder), found.channel_axes)
