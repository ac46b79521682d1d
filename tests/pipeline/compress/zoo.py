"""A tiny functional model around each kind of layer in the table, and what TF-MOT and the converter make of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.compress import fake_quant, lowering
from pipeline.formats import tflite
from pipeline.formats.operators import Operators
from pipeline.legacy_keras import load as load_keras
from pipeline.predictor import Spec, classifier

NAME = "subject"
CLASSES = ("a", "b", "c")
IMAGE, SEQUENCE, VOLUME, FLAT, WORDS = (8, 8, 4), (8, 4), (4, 4, 4, 2), (6,), (5,)

# what a layer needs besides its name, and the shape that comes to it
OPTIONS: Mapping[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "Activation": (IMAGE, {"activation": "relu"}),
    "AdditiveAttention": (SEQUENCE, {"use_scale": False}),
    "Attention": (SEQUENCE, {}),
    "AveragePooling1D": (SEQUENCE, {}),
    "AveragePooling3D": (VOLUME, {}),
    "AlphaDropout": (IMAGE, {"rate": 0.2}),
    "Bidirectional": (SEQUENCE, {}),
    "Conv1D": (SEQUENCE, {"filters": 4, "kernel_size": 3}),
    "Conv2D": (IMAGE, {"filters": 4, "kernel_size": 3}),
    "Conv2DTranspose": (IMAGE, {"filters": 4, "kernel_size": 3}),
    "Conv3D": (VOLUME, {"filters": 4, "kernel_size": 2}),
    "Conv3DTranspose": (VOLUME, {"filters": 4, "kernel_size": 2}),
    "ConvLSTM2D": (VOLUME, {"filters": 2, "kernel_size": 2}),
    "Cropping1D": (SEQUENCE, {}),
    "Cropping3D": (VOLUME, {}),
    "Conv1DTranspose": (SEQUENCE, {"filters": 4, "kernel_size": 3}),
    "Dense": (FLAT, {"units": 4}),
    "DepthwiseConv1D": (SEQUENCE, {"kernel_size": 3}),
    "DepthwiseConv2D": (IMAGE, {"kernel_size": 3}),
    "Dot": (FLAT, {"axes": 1}),
    "Dropout": (IMAGE, {"rate": 0.2}),
    "Embedding": (WORDS, {"input_dim": 10, "output_dim": 4}),
    "GRU": (SEQUENCE, {"units": 4, "unroll": True}),
    "GaussianDropout": (IMAGE, {"rate": 0.2}),
    "GaussianNoise": (IMAGE, {"stddev": 0.2}),
    "GlobalAveragePooling1D": (SEQUENCE, {}),
    "GlobalAveragePooling3D": (VOLUME, {}),
    "GlobalMaxPooling1D": (SEQUENCE, {}),
    "GlobalMaxPooling3D": (VOLUME, {}),
    "GroupNormalization": (IMAGE, {"groups": 2}),
    "LSTM": (SEQUENCE, {"units": 4, "unroll": True}),
    "LocallyConnected1D": (SEQUENCE, {"filters": 4, "kernel_size": 3}),
    "LocallyConnected2D": (IMAGE, {"filters": 4, "kernel_size": 3}),
    "Masking": (SEQUENCE, {}),
    "MaxPooling1D": (SEQUENCE, {}),
    "MaxPooling3D": (VOLUME, {}),
    "MultiHeadAttention": (SEQUENCE, {"num_heads": 2, "key_dim": 2}),
    "Permute": (IMAGE, {"dims": (2, 1, 3)}),
    "RNN": (SEQUENCE, {"unroll": True}),
    "RepeatVector": (FLAT, {"n": 2}),
    "Rescaling": (IMAGE, {"scale": 0.5}),
    "Reshape": (IMAGE, {"target_shape": (64, 4)}),
    "SeparableConv1D": (SEQUENCE, {"filters": 4, "kernel_size": 3}),
    "SeparableConv2D": (IMAGE, {"filters": 8, "kernel_size": 3}),
    "SimpleRNN": (SEQUENCE, {"units": 4, "unroll": True}),
    "SpatialDropout1D": (SEQUENCE, {"rate": 0.2}),
    "SpatialDropout2D": (IMAGE, {"rate": 0.2}),
    "SpatialDropout3D": (VOLUME, {"rate": 0.2}),
    "TimeDistributed": (SEQUENCE, {}),
    "UpSampling1D": (SEQUENCE, {}),
    "UpSampling3D": (VOLUME, {}),
    "ZeroPadding1D": (SEQUENCE, {}),
    "ZeroPadding3D": (VOLUME, {}),
}
MERGING = (
    "Add", "AdditiveAttention", "Attention", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply",
    "MultiHeadAttention", "Subtract",
)  # fmt: skip


def around(kind: str) -> Any:
    """Return a model with the layer `subject` of that kind between two dense layers, with unlike weights."""
    keras = load_keras()
    keras.utils.set_random_seed(1)
    shape, options = OPTIONS.get(kind, (IMAGE, {}))
    inputs = keras.Input(shape if kind == "Embedding" else FLAT, name="samples")
    before: list[Any] = []
    for side in ("left", "right") if kind in MERGING else ("left",):
        values = inputs
        if kind != "Embedding":
            values = keras.layers.Dense(int(np.prod(shape)), name=side)(values)
            if len(shape) > 1:
                values = keras.layers.Reshape(shape, name=f"{side}_shape")(values)
        before.append(values)
    after = placed(kind, options, before)
    if len(after.shape) > 2:
        after = keras.layers.Flatten(name="flat")(after)
    model = keras.Model(inputs, keras.layers.Dense(len(CLASSES), name="logits")(after))
    unlike_at_first(model)
    return model


def placed(kind: str, options: dict[str, Any], before: list[Any]) -> Any:
    """Put the layer `subject` of a kind behind one tensor, or two where it takes several; return what it gives."""
    layers = load_keras().layers
    if kind == "TFOpLambda":
        return before[0] + 1.0
    if kind == "SlicingOpLambda":
        return before[0][:, 1:]
    if kind == "BatchNormalization":
        before = [layers.Conv2D(4, 3, name="conv")(before[0])]
    if kind == "Lambda":
        return layers.Lambda(lambda x: 2 * x, name=NAME)(before[0])
    if kind == "Bidirectional":
        return layers.Bidirectional(layers.LSTM(3, unroll=True), name=NAME)(before[0])
    if kind == "TimeDistributed":
        return layers.TimeDistributed(layers.Dense(3), name=NAME)(before[0])
    if kind == "RNN":
        return layers.RNN(layers.LSTMCell(3), name=NAME, **options)(before[0])
    layer = getattr(layers, kind)(name=NAME, **options)
    if kind == "MultiHeadAttention":
        return layer(*before)
    return layer(before if kind in MERGING else before[0])


def unlike_at_first(model: Any) -> None:
    """Give biases and batch normalizations values unlike those they start with, which would hide mistakes."""
    random = np.random.default_rng(7)
    for layer in model.layers:
        weights = layer.get_weights()
        for place, array in enumerate(weights):
            if array.ndim == 1:
                weights[place] = random.uniform(0.5, 1.5, array.shape).astype(array.dtype)
        layer.set_weights(weights)


def subject(model: Any) -> Any:
    """Return the layer of the kind in question."""
    found = [layer for layer in model.layers if layer.name == NAME or "OpLambda" in type(layer).__name__]
    return found[0]


def samples(model: Any, count: int = 16) -> np.ndarray:
    """Return samples, float32 [count, *input_shape], that an embedding understands too."""
    shape = model.input_shape[1:]
    random = np.random.default_rng(3)
    return (
        random.integers(0, 10, (count, *shape)).astype(np.float32)
        if shape == WORDS
        else (random.uniform(-1, 1, (count, *shape)).astype(np.float32))
    )


def spec(model: Any) -> Spec:
    """Return what goes into a model and comes out."""
    classes = tuple(f"class {place}" for place in range(model.output_shape[-1]))
    return classifier("samples", tuple(model.input_shape[1:]), (-1.0, 1.0), classes)


def int8(model: Any, folder: Path) -> tuple[Any, Operators, float]:
    """Take a float model the way to an int8 file.

    Returns:
        The quantization-aware model with calibrated ranges, the operators of its file, and the largest difference
        between what the two answer, in units of the largest logit.
    """
    model, _ = lowering.lower(model)
    built = fake_quant.build(model)
    fake_quant.calibrate(built, model, samples(model))
    path = folder / "int8.tflite"
    tflite.write(built, path, spec(model), "int8", fake_quant=True)
    predictor = tflite.load(path, spec(model), 1)
    wanted = built.predict(samples(model), verbose=0)
    found = predictor.predict(samples(model))["logits"]
    predictor.close()
    return built, tflite.operators(path), float(np.abs(found - wanted).max() / np.abs(wanted).max())


Make = Callable[[], Any]
