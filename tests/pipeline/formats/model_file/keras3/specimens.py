"""One small model, or a few, for each layer class that Keras 3 and tf_keras both have. Nothing is imported here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Make = Callable[[Any], Any]
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Specimen:
    """A layer and what it is called with.

    Attributes:
        make: from the module `keras.layers` to the layer.
        shapes: of its inputs, without the batch.
        integers: how many different ones the inputs have; 0: they are float32; -1: they are texts.
        call: from the layer and its inputs to the outputs.
    """

    make: Make
    shapes: tuple[Shape, ...]
    integers: int = 0
    call: Callable[..., Any] = lambda layer, *inputs: layer(inputs[0] if len(inputs) == 1 else list(inputs))


FLAT, ROW, IMAGE, VOLUME = (6,), (7, 4), (8, 9, 3), (6, 5, 7, 2)
BY_DIMENSIONS = {1: ROW, 2: IMAGE, 3: VOLUME}


def one(make: Make, *shapes: Shape, integers: int = 0) -> Specimen:
    return Specimen(make, shapes or (FLAT,), integers)


def _spatial() -> dict[str, list[Specimen]]:
    """Return the classes that have a number of dimensions in their name."""
    found: dict[str, list[Specimen]] = {}

    def add(name: str, n: int, *options: dict[str, Any], shape: Shape | None = None) -> None:
        found[name] = [
            one(lambda k, option=option: getattr(k, name)(**option), shape or BY_DIMENSIONS[n]) for option in options
        ]

    for n in (1, 2, 3):
        for kind in ("AveragePooling", "MaxPooling"):
            add(f"{kind}{n}D", n, {"pool_size": 2}, {"pool_size": 3, "strides": 2, "padding": "same"})
        for kind in ("GlobalAveragePooling", "GlobalMaxPooling"):
            add(f"{kind}{n}D", n, {}, {"keepdims": True})
        more = {"strides": 2, "padding": "same", "activation": "relu", "use_bias": False}
        add(f"Conv{n}D", n, {"filters": 4, "kernel_size": 3}, {"filters": 4, "kernel_size": 2, **more})
        add(f"Conv{n}DTranspose", n, {"filters": 4, "kernel_size": 3}, {"filters": 4, "kernel_size": 2, **more})
        add(f"Cropping{n}D", n, {"cropping": 1})
        add(f"SpatialDropout{n}D", n, {"rate": 0.4})
        add(f"UpSampling{n}D", n, {"size": 2})
        add(f"ZeroPadding{n}D", n, {"padding": 2})
        add(
            f"ConvLSTM{n}D", n, {"filters": 3, "kernel_size": 2},
            {"filters": 3, "kernel_size": 2, "return_sequences": True, "padding": "same", "use_bias": False},
            shape=(3, *BY_DIMENSIONS[n]),
        )  # fmt: skip
    for n in (1, 2):
        add(f"DepthwiseConv{n}D", n, {"kernel_size": 3}, {"kernel_size": 2, "depth_multiplier": 2, **more})
        add(f"SeparableConv{n}D", n, {"filters": 5, "kernel_size": 3}, {"filters": 4, "kernel_size": 2, **more})
    found["Conv1D"] += [one(lambda k: k.Conv1D(4, 3, padding="causal", dilation_rate=2), ROW)]
    found["Conv2D"] += [one(lambda k: k.Conv2D(6, (3, 1), groups=3, kernel_regularizer="l2"), IMAGE)]
    found["UpSampling2D"] += [one(lambda k: k.UpSampling2D((2, 3), interpolation="bilinear"), IMAGE)]
    found["ZeroPadding2D"] += [one(lambda k: k.ZeroPadding2D(((1, 0), (2, 3))), IMAGE)]
    return found


def _rows() -> dict[str, list[Specimen]]:
    """Return the classes for sequences, and those that hold another layer."""

    def row(make: Make) -> Specimen:
        return one(make, ROW)

    return {
        "LSTM": [
            row(lambda k: k.LSTM(5)),
            row(lambda k: k.LSTM(5, return_sequences=True, go_backwards=True, use_bias=False, unroll=True)),
            row(lambda k: k.LSTM(5, return_state=True, unit_forget_bias=False)),
        ],
        "GRU": [
            row(lambda k: k.GRU(5)),
            row(lambda k: k.GRU(5, reset_after=False, return_sequences=True, recurrent_activation="tanh")),
            row(lambda k: k.GRU(5, return_state=True)),
        ],
        "SimpleRNN": [row(lambda k: k.SimpleRNN(5)), row(lambda k: k.SimpleRNN(5, activation="relu", unroll=True))],
        "RNN": [
            one(lambda k: k.RNN(k.LSTMCell(5)), ROW),
            one(lambda k: k.RNN(k.GRUCell(4), return_sequences=True), ROW),
        ],
        "LSTMCell": [one(lambda k: k.RNN(k.LSTMCell(5, use_bias=False)), ROW)],
        "GRUCell": [one(lambda k: k.RNN(k.GRUCell(5, reset_after=False)), ROW)],
        "SimpleRNNCell": [one(lambda k: k.RNN(k.SimpleRNNCell(5)), ROW)],
        "StackedRNNCells": [one(lambda k: k.RNN(k.StackedRNNCells([k.LSTMCell(5), k.GRUCell(3), k.GRUCell(4)])), ROW)],
        "Bidirectional": [
            one(lambda k: k.Bidirectional(k.LSTM(4)), ROW),
            one(lambda k: k.Bidirectional(k.GRU(4, return_sequences=True), merge_mode="sum"), ROW),
            one(lambda k: k.Bidirectional(k.LSTM(4), backward_layer=k.GRU(3, go_backwards=True)), ROW),
        ],
        "TimeDistributed": [
            one(lambda k: k.TimeDistributed(k.Dense(3)), ROW),
            one(lambda k: k.TimeDistributed(k.Conv2D(3, 2)), (4, *IMAGE)),
            one(lambda k: k.TimeDistributed(k.BatchNormalization()), ROW),
        ],
        "Embedding": [
            one(lambda k: k.Embedding(11, 4), FLAT, integers=11),
            one(lambda k: k.Embedding(11, 4, mask_zero=True), FLAT, integers=11),
        ],
        "Masking": [one(lambda k: k.Masking(0.5), ROW)],
        "Attention": [
            one(lambda k: k.Attention(), ROW, (5, 4)),
            one(lambda k: k.Attention(use_scale=True, score_mode="concat"), ROW, (5, 4)),
        ],
        "AdditiveAttention": [one(lambda k: k.AdditiveAttention(), ROW, (5, 4))],
        "MultiHeadAttention": [
            Specimen(lambda k: k.MultiHeadAttention(2, 3), (ROW,), call=lambda layer, x: layer(x, x)),
            Specimen(
                lambda k: k.MultiHeadAttention(2, 3, value_dim=2, output_shape=5, use_bias=False),
                (ROW, (5, 4)),
                call=lambda layer, x, y: layer(x, y),
            ),
            Specimen(
                lambda k: k.MultiHeadAttention(2, 3, dropout=0.1),
                (ROW,),
                call=lambda layer, x: layer(x, value=x, use_causal_mask=True),
            ),
        ],
    }


def _integers() -> dict[str, list[Specimen]]:
    """Return the preprocessing of integers and texts, and of images."""
    return {
        "CategoryEncoding": [
            one(lambda k: k.CategoryEncoding(5), FLAT, integers=5),
            one(lambda k: k.CategoryEncoding(5, output_mode="one_hot"), (1,), integers=5),
            one(lambda k: k.CategoryEncoding(5, output_mode="count"), FLAT, integers=5),
        ],
        "Discretization": [
            one(lambda k: k.Discretization([-1.0, 0.0, 0.5])),
            one(lambda k: k.Discretization([-1.0, 0.0, 0.5], output_mode="one_hot"), (1,)),
        ],
        "Hashing": [one(lambda k: k.Hashing(7), FLAT, integers=50)],
        "HashedCrossing": [one(lambda k: k.HashedCrossing(7), (1,), (1,), integers=50)],
        "IntegerLookup": [one(lambda k: k.IntegerLookup(vocabulary=[3, 5, 8, 1]), FLAT, integers=9)],
        "StringLookup": [one(lambda k: k.StringLookup(vocabulary=["a", "b"]), FLAT, integers=-1)],
        "TextVectorization": [
            one(lambda k: k.TextVectorization(vocabulary=["a", "b"], output_sequence_length=4), (1,), integers=-1)
        ],
        "CenterCrop": [one(lambda k: k.CenterCrop(4, 5), IMAGE)],
        "Resizing": [
            one(lambda k: k.Resizing(5, 12), IMAGE),
            one(lambda k: k.Resizing(16, 16, interpolation="nearest"), IMAGE),
            one(lambda k: k.Resizing(6, 4, crop_to_aspect_ratio=True), IMAGE),
        ],
        "Rescaling": [
            one(lambda k: k.Rescaling(1 / 127.5, offset=-1), IMAGE),
            one(lambda k: k.Rescaling([0.5, 2.0, 3.0], offset=[0.0, 1.0, 2.0]), IMAGE),
        ],
        "Normalization": [
            one(lambda k: k.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0]), IMAGE),
            one(lambda k: k.Normalization()),
            one(lambda k: k.Normalization(axis=None), ROW),
            one(lambda k: k.Normalization(mean=2.0, variance=4.0, axis=None, invert=True)),
        ],
        "RandomBrightness": [one(lambda k: k.RandomBrightness(0.2), IMAGE)],
        "RandomContrast": [one(lambda k: k.RandomContrast(0.2), IMAGE)],
        "RandomCrop": [one(lambda k: k.RandomCrop(5, 5), IMAGE)],
        "RandomFlip": [one(lambda k: k.RandomFlip("horizontal"), IMAGE)],
        "RandomRotation": [one(lambda k: k.RandomRotation(0.1), IMAGE)],
        "RandomTranslation": [one(lambda k: k.RandomTranslation(0.1, 0.1), IMAGE)],
        "RandomZoom": [one(lambda k: k.RandomZoom(0.1), IMAGE)],
    }


SPECIMENS: dict[str, list[Specimen]] = {
    **_spatial(),
    **_rows(),
    **_integers(),
    "InputLayer": [one(lambda k: k.Identity())],
    "Identity": [one(lambda k: k.Identity())],
    "Activation": [one(lambda k: k.Activation("gelu"))],
    "ActivityRegularization": [one(lambda k: k.ActivityRegularization(0.1, 0.2))],
    "AlphaDropout": [one(lambda k: k.AlphaDropout(0.2))],
    "Dropout": [one(lambda k: k.Dropout(0.2)), one(lambda k: k.Dropout(0.2, noise_shape=(None, 1), seed=3))],
    "GaussianDropout": [one(lambda k: k.GaussianDropout(0.2))],
    "GaussianNoise": [one(lambda k: k.GaussianNoise(0.2))],
    "ELU": [one(lambda k: k.ELU(0.7))],
    "LeakyReLU": [one(lambda k: k.LeakyReLU()), one(lambda k: k.LeakyReLU(negative_slope=0.05))],
    "PReLU": [one(lambda k: k.PReLU()), one(lambda k: k.PReLU(shared_axes=[1, 2]), IMAGE)],
    "ReLU": [one(lambda k: k.ReLU()), one(lambda k: k.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.2))],
    "Softmax": [one(lambda k: k.Softmax()), one(lambda k: k.Softmax(axis=1), ROW)],
    "Add": [one(lambda k: k.Add(), FLAT, FLAT, FLAT), one(lambda k: k.Add(), ROW, (7, 1))],
    "Average": [one(lambda k: k.Average(), FLAT, FLAT)],
    "Concatenate": [one(lambda k: k.Concatenate(axis=1), ROW, (2, 4))],
    "Dot": [one(lambda k: k.Dot(axes=1), FLAT, FLAT), one(lambda k: k.Dot(axes=(2, 2), normalize=True), ROW, (3, 4))],
    "Maximum": [one(lambda k: k.Maximum(), FLAT, FLAT)],
    "Minimum": [one(lambda k: k.Minimum(), FLAT, FLAT)],
    "Multiply": [one(lambda k: k.Multiply(), FLAT, FLAT)],
    "Subtract": [one(lambda k: k.Subtract(), FLAT, FLAT)],
    "Dense": [
        one(lambda k: k.Dense(5)),
        one(lambda k: k.Dense(5, "swish", use_bias=False, kernel_constraint="max_norm"), ROW),
    ],
    "EinsumDense": [
        one(lambda k: k.EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d"), ROW),
        one(lambda k: k.EinsumDense("ab,bc->ac", output_shape=5, activation="relu")),
    ],
    "Flatten": [one(lambda k: k.Flatten(), IMAGE)],
    "Permute": [one(lambda k: k.Permute((2, 1)), ROW)],
    "RepeatVector": [one(lambda k: k.RepeatVector(3))],
    "Reshape": [one(lambda k: k.Reshape((3, -1)))],
    "BatchNormalization": [
        one(lambda k: k.BatchNormalization(), IMAGE),
        one(lambda k: k.BatchNormalization(axis=1, scale=False, epsilon=0.1), ROW),
        one(lambda k: k.BatchNormalization(center=False)),
    ],
    "GroupNormalization": [
        one(lambda k: k.GroupNormalization(3), IMAGE),
        one(lambda k: k.GroupNormalization(-1), IMAGE),
    ],
    "LayerNormalization": [
        one(lambda k: k.LayerNormalization(), ROW),
        one(lambda k: k.LayerNormalization(axis=[1, 2], epsilon=0.01, scale=False), ROW),
    ],
    "UnitNormalization": [
        one(lambda k: k.UnitNormalization(), ROW),
        one(lambda k: k.UnitNormalization(axis=[1, 2]), ROW),
    ],
    "SpectralNormalization": [
        one(lambda k: k.SpectralNormalization(k.Dense(4))),
        one(lambda k: k.SpectralNormalization(k.Conv2D(4, 3)), IMAGE),
    ],
}  # fmt: skip
