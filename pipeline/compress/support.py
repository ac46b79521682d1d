"""The one table of what each technique can do with each layer, by the layer's class.

The tests hold it against TF-MOT itself. What a technique cannot do with a layer it leaves alone, and says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.compress import operators

_OWN = ("tf_keras.", "keras.")


@dataclass(frozen=True)
class Support:
    """What the techniques can do with a kind of layer.

    Attributes:
        prunable: names of the weights that pruning sets to zero; empty where it has none or `dense` says why.
        dense: why its weights stay dense; empty where they can be pruned or where it has none.
        quantized: how it computes after quantization-aware training: "int8 per-channel" (weights), "int8" (no weights,
            or one range for all), or empty where `floating` says why not.
        floating: why it stays float; empty where it can be quantized.
        whole: why all channels that it reads stay; empty where they can be followed through it and removed.
        clusterable: names of the weights that clustering can share, where they are not those that pruning takes.
        spread: why its weights are not clustered, where that is not why they stay dense.
    """

    prunable: tuple[str, ...] = ()
    dense: str = ""
    quantized: str = ""
    floating: str = ""
    whole: str = ""
    clusterable: tuple[str, ...] = ()
    spread: str = ""


_NO_FAKE_QUANT = "TF-MOT has no fake quantization for this kind of layer"
_NOT_FOLLOWED = "channels are not followed through this kind of layer"
_UNKNOWN = Support(
    dense="its code is not Keras': nobody knows which of its weights may be zero",
    floating="its code is not Keras': nobody knows what it computes",
    whole="its code is not Keras': nobody knows what it makes of them",
)
_RECURRENT = Support(prunable=("kernel", "recurrent_kernel"), floating=_NO_FAKE_QUANT)
_NOT_WRAPPED = Support(dense="TF-MOT cannot wrap this kind of recurrent layer", floating=_NO_FAKE_QUANT)
_DEPTHWISE = "TF-MOT does not prune depthwise kernels: each has a few weights for all that its channel does"
_FEW = "a depthwise kernel has a few weights for all that its channel does, and is a small part of the file"
_BOTH_WAYS = ("kernel", "recurrent_kernel", "kernel_2", "recurrent_kernel_2")


def _plain(*kinds: str) -> dict[str, Support]:
    """Return rows of layers without weights that quantization-aware training knows."""
    return dict.fromkeys(kinds, Support(quantized="int8"))


def _left(*kinds: str) -> dict[str, Support]:
    """Return rows of layers without weights that stay float."""
    return dict.fromkeys(kinds, Support(floating=_NO_FAKE_QUANT))


def _mixing(whole: str, *kinds: str) -> dict[str, Support]:
    """Return rows of layers without weights to prune that stay float and keep all channels that they read."""
    return dict.fromkeys(kinds, Support(floating=_NO_FAKE_QUANT, whole=whole))


TABLE: dict[str, Support] = {
    "Conv2D": Support(prunable=("kernel",), quantized="int8 per-channel"),
    "Dense": Support(prunable=("kernel",), quantized="int8"),  # see folding.py; per channel where lifting.py lifts it
    "DepthwiseConv2D": Support(
        dense=_DEPTHWISE,
        quantized="int8",
        spread=_FEW,
    ),
    "SeparableConv2D": Support(prunable=("pointwise_kernel",), quantized="int8 per-channel"),
    "Conv2DTranspose": Support(prunable=("kernel",), quantized="int8"),
    # see lifting.py
    "Conv1D": Support(prunable=("kernel",), quantized="int8 per-channel"),
    "DepthwiseConv1D": Support(dense=_DEPTHWISE, quantized="int8"),
    "SeparableConv1D": Support(prunable=("pointwise_kernel",), quantized="int8 per-channel"),
    "Conv1DTranspose": Support(dense="TF-MOT does not prune this kind of layer", quantized="int8"),
    **dict.fromkeys(
        ("Conv3D", "Conv3DTranspose"),
        Support(prunable=("kernel",), floating="LiteRT computes 3D convolutions in float"),
    ),
    **dict.fromkeys(
        ("LocallyConnected1D", "LocallyConnected2D"),
        Support(prunable=("kernel",), floating=_NO_FAKE_QUANT, whole=_NOT_FOLLOWED),
    ),
    "Embedding": Support(prunable=("embeddings",), floating="TF-MOT takes no integer inputs"),
    "MultiHeadAttention": Support(
        dense="its projections are layers inside a layer, which TF-MOT cannot wrap", floating=_NO_FAKE_QUANT,
        clusterable=("kernel", "kernel_2", "kernel_3", "kernel_4"),
    ),
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN"), _RECURRENT),
    "Bidirectional": replace(_NOT_WRAPPED, clusterable=_BOTH_WAYS),
    "ConvLSTM2D": replace(_NOT_WRAPPED, whole=_NOT_FOLLOWED, clusterable=_RECURRENT.prunable),
    "TimeDistributed": Support(
        dense="TF-MOT cannot wrap the layer inside", floating=_NO_FAKE_QUANT, spread="the layer inside may be any"
    ),
    "RNN": Support(
        dense="its cell may be of any kind, or several in a stack", floating=_NO_FAKE_QUANT, whole=_NOT_FOLLOWED
    ),
    # part of the layer before it, or a layer of its own: see lowering.py
    "BatchNormalization": Support(quantized="int8"),
    # by a quantize config of our own: see quantize_scheme.py
    **_plain(
        "AlphaDropout", "GaussianDropout", "GaussianNoise", "Identity", "Maximum", "Minimum", "Multiply",
        "RepeatVector", "Rescaling", "Subtract", "UnitNormalization", "UpSampling3D", "ZeroPadding3D",
    ),
    # as other layers: see lowering.py
    **_plain("Average", "MaxPooling1D", "UpSampling1D", "TFOpLambda"),
    **_plain(
        "Activation", "ActivityRegularization", "Add", "AveragePooling1D", "AveragePooling2D", "Concatenate",
        "Cropping1D", "Cropping2D", "Cropping3D", "Dropout", "Flatten", "GlobalAveragePooling1D",
        "GlobalAveragePooling2D", "GlobalAveragePooling3D", "GlobalMaxPooling1D", "GlobalMaxPooling2D",
        "GlobalMaxPooling3D", "LeakyReLU", "MaxPooling2D", "Permute", "ReLU", "Reshape", "Softmax", "SpatialDropout1D",
        "SpatialDropout2D", "SpatialDropout3D", "UpSampling2D", "ZeroPadding1D", "ZeroPadding2D",
    ),
    **_left(
        "AveragePooling3D", "ELU", "MaxPooling3D", "ThresholdedReLU", "PReLU", "LayerNormalization",
        "GroupNormalization",
    ),
    **_mixing(
        "it computes over all of them at once", "AdditiveAttention", "Attention", "Dot", "Masking", "Normalization",
    ),
    **_mixing("nobody knows what its function makes of them", "Lambda"),
    **_mixing("it picks some of them by their place", "SlicingOpLambda"),
}  # fmt: skip

# what may stand before a BatchNormalization that becomes part of it
_FOLDS_INTO = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D")
# functions that TF-MOT's fake quantization knows inside a layer with weights; the others become layers of their own
INSIDE = ("linear", "relu", "softmax", "sigmoid", "tanh", "gelu")
_ALONE = (*INSIDE, "relu6", "swish")


def row(layer: Any) -> Support:
    """Return the table's row for a layer; one whose code is not Keras' is unknown, whatever its class is called."""
    if hasattr(layer, "layers") and hasattr(layer, "call"):
        inside = "it is a model inside the model"
        return Support(dense=inside, floating=inside, whole=inside)
    if not type(layer).__module__.startswith(_OWN):
        return _UNKNOWN
    fallback = Support(dense="" if not layer.weights else _NOT_LISTED, floating=_NOT_LISTED, whole=_NOT_LISTED)
    return TABLE.get(type(layer).__name__, fallback)


_NOT_LISTED = "it is not in the table of layers that were tried"


def prunable(layer: Any) -> tuple[str, ...]:
    """Return the names of the weights that pruning can set to zero."""
    return row(layer).prunable


def dense(layer: Any) -> str:
    """Return why the kernels of a layer stay dense; empty where they can be pruned, or where it has none."""
    if not any(len(weight.shape) >= 2 for weight in layer.weights):
        return ""
    return row(layer).dense


def clusterable(layer: Any) -> tuple[str, ...]:
    """Return the names of the weights that clustering can share."""
    found = row(layer)
    return found.clusterable or found.prunable


def spread(layer: Any) -> str:
    """Return why the kernels of a layer are not clustered; empty where they can be, or where it has none."""
    return "" if clusterable(layer) else dense(layer) and (row(layer).spread or dense(layer))


def whole(layer: Any) -> str:
    """Return why the channels that a layer reads stay; empty where they can be followed through it."""
    return row(layer).whole


def floating(layer: Any) -> str:
    """Return why a layer of a functional model stays float in quantization-aware training; empty where it need not."""
    found = row(layer)
    if found.floating:
        return found.floating
    if len(layer._inbound_nodes) > 1 and layer.weights:
        return "it is called at several places, and TF-MOT gives each layer one range"
    name = function(layer)
    if name not in _ALONE:
        return f"TF-MOT has no fake quantization for the function {name} inside a layer"
    if any(getattr(end, "_keras_mask", None) is not None for end in _inputs(layer)):
        return "it is given a mask, which TF-MOT's wrapper does not take"
    match type(layer).__name__:
        case "Dense" if len(layer.input_shape) > 4:
            return "a dense layer over so many dimensions becomes operators of which TF-MOT knows nothing"
        case "BatchNormalization":
            return _not_scaled(layer)
        case kind if "Conv" in kind and np.max(layer.dilation_rate) > 1:
            return "TensorFlow's converter writes a dilated convolution as several operators, and in float"
        case "TFOpLambda" if not operators.known(layer):
            return f"there is no layer that computes tf.{operators.symbol(layer)} of what it is called with"
    if getattr(layer, "data_format", None) == "channels_first" and type(layer).__name__.endswith("1D"):
        return "its channels come before its steps, and what it becomes takes them last"
    if scales_columns(layer):
        return "it gives the columns of its input one range, which int8 has to come after: small ones would drown"
    return ""


def scales_columns(layer: Any) -> bool:
    """Return whether a layer scales each column of a model's input by a number of its own."""
    if type(layer).__name__ != "Rescaling" or not isinstance(layer.scale, (list, tuple)) or len(layer.scale) < 2:
        return False
    before = layer._inbound_nodes[0].inbound_layers
    return type(before).__name__ == "InputLayer"


def _inputs(layer: Any) -> Iterator[Any]:
    for node in layer._inbound_nodes:
        yield from node.keras_inputs


def function(layer: Any) -> str:
    """Return the name of the activation function inside a layer; "linear" where it has none."""
    return named(getattr(layer, "activation", None))


def named(found: Any) -> str:
    """Return the name of an activation function."""
    return "linear" if found is None else str(getattr(found, "__name__", type(found).__name__))


def folds(norm: Any) -> bool:
    """Return whether a batch normalization becomes part of the layer before it in quantization-aware training."""
    before = norm._inbound_nodes[0].inbound_layers
    return (
        type(before).__name__ in _FOLDS_INTO
        and len(before._outbound_nodes) == 1
        and function(before) == "linear"
        and not floating(before)
    )


def _not_scaled(norm: Any) -> str:
    if tuple(norm.axis) != (len(norm.input_shape) - 1,):
        return "it does not scale along the last axis, where int8 has its channels"
    if len(norm.input_shape) > 4:
        return "LiteRT has no int8 layer over so many dimensions that could scale channel by channel"
    return ""
