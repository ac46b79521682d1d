"""Multiply-accumulate operations of a Keras 2 model for one sample, layer by layer.

Counted are the multiplications with weights (convolutions, dense and recurrent layers) and attention's two matrix
products, as the literature on small networks counts them (MobileNet, Howard et al., 2017; MLPerf Tiny). What is
elementwise (activations, normalization, pooling, adding) counts 0. A layer that is not known here, and any subclass
of the user's own, is listed as unknown and never counted as 0. Read from shapes alone: no TensorFlow is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tf_keras


@dataclass(frozen=True)
class LayerMacs:
    """One layer's MACs, over all the places where the model calls it; None where they are unknown."""

    name: str
    kind: str
    macs: int | None


@dataclass(frozen=True)
class Macs:
    """MACs of a model for one sample.

    Attributes:
        total: of the known layers.
        layers: each layer in the order of the model; the layers of a model within it are named "inner/layer".
        unknown: the names of the layers that `total` lacks; empty where it is complete.
    """

    total: int
    layers: tuple[LayerMacs, ...]
    unknown: tuple[str, ...]


def macs(model: tf_keras.Model) -> Macs:
    """Count a built functional or sequential model; a subclassed model, which has no graph, is one unknown layer."""
    counts: dict[tuple[str, str], int | None] = {}
    for name, kind, count in _walk(model, ""):
        before = counts.get((name, kind), 0)
        counts[(name, kind)] = None if before is None or count is None else before + count
    layers = tuple(LayerMacs(name, kind, count) for (name, kind), count in counts.items())
    return Macs(
        total=sum(layer.macs or 0 for layer in layers),
        layers=layers,
        unknown=tuple(layer.name for layer in layers if layer.macs is None),
    )


def _walk(model: Any, prefix: str) -> Iterator[tuple[str, str, int | None]]:
    by_depth = getattr(model, "_nodes_by_depth", None)
    if not by_depth:  # subclassed, or not built
        yield prefix.rstrip("/") or model.name, type(model).__name__, None
        return
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            layer = node.layer
            if hasattr(layer, "layers") and hasattr(layer, "call") and type(layer).__name__ != "Bidirectional":
                yield from _walk(layer, f"{prefix}{layer.name}/")
            elif type(layer).__name__ != "InputLayer":
                yield prefix + layer.name, type(layer).__name__, _count(layer, node)


def _count(layer: Any, node: Any) -> int | None:
    kind = type(layer).__name__
    if kind in ("TFOpLambda", "SlicingOpLambda"):
        return 0 if layer.symbol in FREE_OPERATIONS else None  # its name may be any
    if not type(layer).__module__.startswith(("tf_keras.", "keras.")):
        return None
    if kind in _FREE:
        return 0
    rule = _RULES.get(kind)
    if rule is None:
        return None
    try:
        return rule(layer, node)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):  # a shape or a variant not thought of
        return None


def _dims(shape: Sequence[int | None]) -> tuple[int, ...]:
    """Return a shape without its batch dimension.

    Raises:
        TypeError: a dimension is not known, so the cost is not either.
    """
    return tuple(int(d) for d in tuple(shape)[1:])  # type: ignore[arg-type]  # int(None) raises TypeError, as said


def _numbers(weight: Any) -> int:
    return math.prod(int(d) for d in weight.shape)


def _places(layer: Any, shape: Sequence[int | None]) -> int:
    """Return the number of places in a picture or sequence that a kernel is laid on."""
    dims = _dims(shape)
    return math.prod(dims[:-1] if layer.data_format == "channels_last" else dims[1:])


def _convolution(layer: Any, node: Any) -> int:
    # a grouped kernel holds input channels / groups already
    return _places(layer, node.output_shapes) * _numbers(layer.kernel)


def _transposed(layer: Any, node: Any) -> int:
    return _places(layer, node.input_shapes) * _numbers(layer.kernel)


def _depthwise(layer: Any, node: Any) -> int:
    return _places(layer, node.output_shapes) * _numbers(layer.depthwise_kernel)


def _separable(layer: Any, node: Any) -> int:
    weights = _numbers(layer.depthwise_kernel) + _numbers(layer.pointwise_kernel)
    return _places(layer, node.output_shapes) * weights


def _dense(layer: Any, node: Any) -> int:
    return math.prod(_dims(node.input_shapes)[:-1]) * _numbers(layer.kernel)


def _recurrent(layer: Any, node: Any) -> int:
    shape = node.input_shapes[0] if isinstance(node.input_shapes, list) else node.input_shapes
    steps = _dims(shape)[0]
    if not type(layer.cell).__module__.startswith(("tf_keras.", "keras.")):
        raise TypeError("a cell of the user's own")
    return steps * (_numbers(layer.cell.kernel) + _numbers(layer.cell.recurrent_kernel))


def _bidirectional(layer: Any, node: Any) -> int:
    if type(layer.forward_layer).__name__ not in _RECURRENT or type(layer.backward_layer).__name__ not in _RECURRENT:
        raise TypeError("a layer of the user's own")
    return _recurrent(layer.forward_layer, node) + _recurrent(layer.backward_layer, node)


def _attention(layer: Any, node: Any) -> int:
    given = dict(zip(("query", "value", "key"), node.call_args, strict=False)) | node.call_kwargs
    query, value = given["query"], given["value"]
    key = value if given.get("key") is None else given["key"]
    (asked, _), (values, _), (keys, _) = _dims(query.shape), _dims(value.shape), _dims(key.shape)
    _, heads, key_size = layer._query_dense.kernel.shape
    value_size = layer._value_dense.kernel.shape[-1]
    projections = (
        asked * (_numbers(layer._query_dense.kernel) + _numbers(layer._output_dense.kernel))
        + keys * _numbers(layer._key_dense.kernel)
        + values * _numbers(layer._value_dense.kernel)
    )
    return int(projections + asked * keys * heads * (key_size + value_size))


_RECURRENT = ("LSTM", "GRU", "SimpleRNN")
_RULES: dict[str, Callable[[Any, Any], int]] = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), _convolution),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _transposed),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _depthwise),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _separable),
    "Dense": _dense,
    **dict.fromkeys(_RECURRENT, _recurrent),
    "Bidirectional": _bidirectional,
    "MultiHeadAttention": _attention,
}
# fmt: off
_FREE = frozenset({
    "Activation", "ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax", "ThresholdedReLU",
    "Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract",
    *(f"{kind}{n}D" for kind in ("AveragePooling", "MaxPooling", "GlobalAveragePooling", "GlobalMaxPooling",
                                 "SpatialDropout", "Cropping", "UpSampling", "ZeroPadding") for n in (1, 2, 3)),
    "BatchNormalization", "GroupNormalization", "LayerNormalization", "Normalization", "Rescaling", "UnitNormalization",
    "ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise",
    "CategoryEncoding", "Embedding", "Flatten", "Masking", "Permute", "RepeatVector", "Reshape",
    *(f"Random{kind}" for kind in ("Brightness", "Contrast", "Crop", "Flip", "Height", "Rotation", "Translation",
                                   "Width", "Zoom")),
})
FREE_OPERATIONS = frozenset({  # what TFOpLambda layers call, without "tf."
    *(f"math.{name}" for name in ("add", "subtract", "multiply", "truediv", "divide", "maximum", "minimum",
                                  "reduce_mean", "reduce_sum", "reduce_max", "sigmoid", "tanh", "sqrt", "square",
                                  "rsqrt")),
    *(f"nn.{name}" for name in ("relu", "sigmoid", "softmax", "tanh", "gelu", "silu", "swish")),
    "__operators__.add", "__operators__.getitem", "cast", "clip_by_value", "concat", "expand_dims", "identity", "pad",
    "reshape", "squeeze", "split", "stack", "transpose", "unstack",
})
# fmt: on
