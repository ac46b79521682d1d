"""The one table of what each technique can do with each layer, by the layer's class.

The tests hold it against TF-MOT itself. What a technique cannot do with a layer it leaves alone, and says why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

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
    "Dense": Support(prunable=("kernel",), quantized="int8"),  # see folding.py
    "DepthwiseConv2D": Support(
        dense=_DEPTHWISE,
        quantized="int8",
        spread=_FEW,
    ),
    "SeparableConv2D": Support(prunable=("pointwise_kernel",), quantized="int8 per-channel"),
    "Conv2DTranspose": Support(prunable=("kernel",), quantized="int8"),
    **dict.fromkeys(
        ("Conv1D", "Conv3D", "Conv3DTranspose"),
        Support(prunable=("kernel",), floating=_NO_FAKE_QUANT),
    ),
    **dict.fromkeys(
        ("LocallyConnected1D", "LocallyConnected2D"),
        Support(prunable=("kernel",), floating=_NO_FAKE_QUANT, whole=_NOT_FOLLOWED),
    ),
    "DepthwiseConv1D": Support(dense=_DEPTHWISE, floating=_NO_FAKE_QUANT, spread=_FEW),
    "Conv1DTranspose": Support(
        dense="TF-MOT does not prune this kind of layer", floating=_NO_FAKE_QUANT, clusterable=("kernel",)
    ),
    "SeparableConv1D": Support(prunable=("pointwise_kernel",), floating=_NO_FAKE_QUANT),
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
    # only behind the layer whose scale it becomes: see `floating`
    "BatchNormalization": Support(quantized="int8"),
    # by a quantize config of our own, so that the first operator of an int8 file is int8
    "Rescaling": Support(quantized="int8"),
    **_plain(
        "Activation", "ActivityRegularization", "Add", "AveragePooling1D", "AveragePooling2D", "Concatenate",
        "Cropping1D", "Cropping2D", "Cropping3D", "Dropout", "Flatten", "GlobalAveragePooling1D",
        "GlobalAveragePooling2D", "GlobalAveragePooling3D", "GlobalMaxPooling1D", "GlobalMaxPooling2D",
        "GlobalMaxPooling3D", "LeakyReLU", "MaxPooling2D", "Permute", "ReLU", "Reshape", "Softmax", "SpatialDropout1D",
        "SpatialDropout2D", "SpatialDropout3D", "UpSampling2D", "ZeroPadding1D", "ZeroPadding2D",
    ),
    **_left(
        "AlphaDropout", "Average", "AveragePooling3D", "ELU", "GaussianDropout", "GaussianNoise", "Identity",
        "MaxPooling1D", "MaxPooling3D", "Maximum", "Minimum", "Multiply", "RepeatVector", "Subtract",
        "ThresholdedReLU", "UpSampling1D", "UpSampling3D", "ZeroPadding3D", "PReLU", "LayerNormalization",
        "GroupNormalization", "UnitNormalization", "TFOpLambda",
    ),
    **_mixing(
        "it computes over all of them at once", "AdditiveAttention", "Attention", "Dot", "Masking", "Normalization",
    ),
    **_mixing("nobody knows what its function makes of them", "Lambda"),
    **_mixing("it picks some of them by their place", "SlicingOpLambda"),
}  # fmt: skip

# what may stand before a BatchNormalization that becomes part of it
_FOLDS_INTO = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D")
# functions that TF-MOT's fake quantization knows, inside a layer with weights and as a layer of their own
_INSIDE = ("linear", "relu", "softmax", "sigmoid", "tanh", "gelu")
_ALONE = (*_INSIDE, "relu6", "swish")


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
    if len(layer._inbound_nodes) > 1:
        return "it is called at several places, and TF-MOT gives each layer one range"
    name = function(layer)
    if name not in (_ALONE if type(layer).__name__ == "Activation" else _INSIDE):
        return f"TF-MOT has no fake quantization for the function {name} inside a layer"
    if any(getattr(end, "_keras_mask", None) is not None for end in _inputs(layer)):
        return "it is given a mask, which TF-MOT's wrapper does not take"
    if type(layer).__name__ == "Dense" and len(layer.input_shape) > 2:
        return "a dense layer over more than one dimension becomes operators of which TF-MOT knows nothing"
    if type(layer).__name__ == "BatchNormalization":
        return _not_folded(layer)
    if scales_columns(layer):
        return "it gives the columns of its input one range, which int8 has to come after: small ones would drown"
    return ""


def scales_columns(layer: Any) -> bool:
    """Return whether a layer scales each column of a model's input by a number of its own."""
    if type(layer).__name__ != "Rescaling" or not isinstance(layer.scale, (list, tuple)) or len(layer.scale) < 2:
        return False
    before = layer._inbound_nodes[0].inbound_layers
    return type(before).__name__ == "InputLayer"


def _inputs(layer: Any) -> list[Any]:
    return layer.input if isinstance(layer.input, list) else [layer.input]


def function(layer: Any) -> str:
    """Return the name of the activation function inside a layer; "linear" where it has none."""
    return named(getattr(layer, "activation", None))


def named(found: Any) -> str:
    """Return the name of an activation function."""
    return "linear" if found is None else str(getattr(found, "__name__", type(found).__name__))


def _not_folded(layer: Any) -> str:
    before = layer._inbound_nodes[0].inbound_layers
    alone = not isinstance(before, list) and len(before._outbound_nodes) == 1
    if not alone or type(before).__name__ not in _FOLDS_INTO:
        return "it does not directly follow a convolution or dense layer of its own, whose scale it could become"
    if function(before) != "linear":
        return f"the function {function(before)} stands between it and the layer whose scale it could become"
    return floating(before) and f"{before.name} before it stays float"
