"""Where layers of Keras 3 differ from those of tf_keras. What is not said here is the same in both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# of an option that decides nothing a model answers: another way to compute the same, or seeds of first values
ANY = ("any",)


@dataclass(frozen=True)
class Layer:
    """How a layer is translated.

    Attributes:
        only: options that are left out, and at which values they may be: what tf_keras does without them.
        renamed: options by their names in Keras 3 and in tf_keras.
        needs: options that must have a value: without one it is in a place of the file that is not read.
        ends: whether its activation is the last that it does, so that it can be a layer of its own.
    """

    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    ends: bool = False


# options that any layer may have
EVERYWHERE: Mapping[str, tuple[Any, ...]] = {
    "autocast": (True,), "gptq_unpacked_column_size": (None,), "lora_alpha": (None,), "lora_rank": (None,),
    "quantization_config": (None,),
}  # fmt: skip
_SAME = Layer()
_LAST = ("channels_last",)
_IMAGE = Layer({"data_format": _LAST})
_CONVOLUTION = Layer(ends=True)
# a state that a model keeps from one call to the next is nothing that can be exported
_ROW: Mapping[str, tuple[Any, ...]] = {"stateful": (False,), "use_cudnn": ANY}
_SPATIAL = (1, 2, 3)

LAYERS: Mapping[str, Layer] = {
    **dict.fromkeys(
        (
            "ActivityRegularization", "Add", "AdditiveAttention", "AlphaDropout", "Attention", "Average",
            "Bidirectional", "CategoryEncoding", "Concatenate", "Dot", "Dropout", "ELU", "Embedding", "Flatten",
            "GRUCell", "GaussianDropout", "GaussianNoise", "GroupNormalization", "HashedCrossing", "Hashing",
            "Identity", "InputLayer", "LSTMCell", "Masking", "Maximum", "Minimum", "Multiply", "Normalization",
            "PReLU", "Permute", "ReLU", "RepeatVector", "Rescaling", "Reshape", "SimpleRNNCell", "Softmax",
            "StackedRNNCells", "Subtract", "TimeDistributed", "UnitNormalization",
            *(kind + f"{n}D" for n in _SPATIAL for kind in (
                "AveragePooling", "Cropping", "GlobalAveragePooling", "GlobalMaxPooling", "MaxPooling",
                "SpatialDropout", "UpSampling")),
            "ZeroPadding2D", "ZeroPadding3D",
        ),
        _SAME,
    ),
    **{f"Conv{n}D": _CONVOLUTION for n in _SPATIAL},
    **{f"Conv{n}DTranspose": _CONVOLUTION for n in _SPATIAL},
    **{f"{kind}Conv{n}D": _CONVOLUTION for n in (1, 2) for kind in ("Depthwise", "Separable")},
    **{f"ConvLSTM{n}D": Layer({**_ROW, "seed": ANY, "zero_output_for_mask": (False,)}) for n in _SPATIAL},
    "Activation": _CONVOLUTION,
    "Dense": _CONVOLUTION,
    "EinsumDense": _CONVOLUTION,
    "BatchNormalization": Layer({"renorm": (False,), "renorm_clipping": (None,), "renorm_momentum": ANY}),
    "CenterCrop": _IMAGE,
    "Discretization": Layer(needs=("bin_boundaries",)),
    "GRU": Layer(_ROW),
    "IntegerLookup": Layer(
        {"vocabulary_size": ANY, "oov_method": ("floormod",), "salt": (None,), "dtype": ANY}, needs=("vocabulary",)
    ),
    "LSTM": Layer(_ROW),
    "LayerNormalization": Layer({"rms_scaling": (False,)}),
    "LeakyReLU": Layer(renamed={"negative_slope": "alpha"}),
    "MultiHeadAttention": Layer(
        {"flash_attention": ANY, "seed": ANY, "sliding_window": (None,), "use_gate": (False,)}
    ),
    "RNN": Layer(_ROW),
    "RandomBrightness": _IMAGE,
    "RandomContrast": Layer({"data_format": _LAST, "value_range": ([0, 255],)}),
    "RandomFlip": _IMAGE,
    "RandomRotation": _IMAGE,
    "RandomTranslation": _IMAGE,
    "RandomZoom": _IMAGE,
    "Resizing": Layer(
        {"data_format": _LAST, "pad_to_aspect_ratio": (False,), "fill_mode": ANY, "fill_value": ANY,
         "antialias": (False,)}
    ),
    "SimpleRNN": Layer({**_ROW, "seed": ANY}),
    "ZeroPadding1D": _IMAGE,
}  # fmt: skip
MODELS = ("Functional", "Sequential", "Model")

# classes of both Keras that are refused
REFUSED: Mapping[str, str] = {
    "InputSpec": "no layer",
    "Lambda": "code of the file's author",
    "Layer": "what layers are made of",
    "Wrapper": "what layers are made of",
    "RandomCrop": "outside of training tf_keras crops the middle, and Keras 3 nothing",
    "SpectralNormalization": "tf_keras cannot read it from a file again",
    "StringLookup": "its input is text",
    "TextVectorization": "its input is text",
}

ACTIVATIONS = frozenset({
    "elu", "exponential", "gelu", "linear", "mish", "relu", "selu", "sigmoid", "softmax", "softplus", "softsign",
    "swish", "tanh",
})  # fmt: skip
# in Keras 3 by another name
SAME_ACTIVATIONS: Mapping[str, str] = {"silu": "swish"}
# tf_keras has none, or another one, by that name; what it is made of is in `operations`
COMPOSED_ACTIVATIONS: Mapping[str, str] = {
    "hard_sigmoid": "HardSigmoid", "hard_silu": "HardSilu", "hard_swish": "HardSilu", "hard_tanh": "HardTanh",
    "leaky_relu": "LeakyRelu", "log_sigmoid": "LogSigmoid", "log_softmax": "LogSoftmax", "relu6": "Relu6",
}  # fmt: skip
OTHER_ACTIVATIONS = frozenset({
    "celu", "glu", "hard_shrink", "soft_shrink", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus",
    "tanh_shrink", "threshold",
})  # fmt: skip
# of initializers, regularizers and constraints
PARTS_ONLY: Mapping[str, tuple[Any, ...]] = {"input_axes": ANY, "output_axes": ANY}


def composed(entry: Mapping[str, Any]) -> str:
    """Return the activation of one of a model's layers that is made of other layers behind it; "" for none such."""
    activation = activation_name(entry["config"].get("activation"))
    return activation if activation in COMPOSED_ACTIVATIONS else ""


def activation_name(activation: Any) -> str:
    """Return the name of an activation that is a function; "" for none and for a layer."""
    if isinstance(activation, Mapping):
        return str(activation["config"]) if activation["class_name"] == "function" else ""
    return str(activation or "")


def outputs(model: Mapping[str, Any]) -> set[str]:
    """Return the names of the layers that the outputs of a model come from; a Sequential's have no names."""
    return set(_names(model.get("output_layers", [])))


def _names(ends: Any) -> Iterator[str]:
    if isinstance(ends, str):
        yield ends
    elif isinstance(ends, list | Mapping):
        for inner in ends.values() if isinstance(ends, Mapping) else ends:
            yield from _names(inner)


def layer_name(entry: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """Return what a layer is called in tf_keras, where an output has the name of the last layer that makes it.

    Args:
        entry: one of a model's layers, as the file has it.
        model: that model's config.
    """
    name: str = entry["config"]["name"]
    return f"{name}.linear" if composed(entry) and name in outputs(model) else name


def droppable(value: Any, allowed: tuple[Any, ...]) -> bool:
    """Return whether an option may be left out at this value."""
    return allowed == ANY or value in allowed
