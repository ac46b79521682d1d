"""What the kernels of each layer become in a .tflite that ai-edge-quantizer makes.

Of a mixed one the recipe says it (export.mixed). What a precision has no operator for stays float32.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Any

from pipeline.formats import ConversionError, recurrent
from pipeline.legacy_keras import load as load_keras

KEY = "export.mixed"
# operators whose kernel ai-edge-quantizer makes integers while the rest stays float -> which of their inputs that is
KERNELS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1, "BATCH_MATMUL": 1}
# those that have kernels, too, which it leaves as they are
LEFT = (
    "GATHER", "EMBEDDING_LOOKUP", "CONV_3D", "CONV_3D_TRANSPOSE", "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
)  # fmt: skip
# precision -> operators whose kernel it can be; the tests hold it against ai-edge-quantizer's policy
OPERATORS: Mapping[str, frozenset[str]] = {
    "weight-int8": frozenset(KERNELS),
    "dynamic-int8": frozenset(KERNELS),
    "weight-int4": frozenset({"CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL"}),
    "dynamic-int4": frozenset({"CONV_2D", "FULLY_CONNECTED"}),
}


def precisions(model: Any, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return layer name -> precision, for every layer of a Keras model that has a kernel; float32 where none is said.

    Args:
        model: tf_keras; layers of models within it count as its own.
        wanted: layer name, or a pattern of names (`conv_*`), -> precision. The last pattern that fits decides.

    Raises:
        ConversionError: a pattern fits no such layer.
    """
    names = with_kernels(model)
    unknown = [pattern for pattern in wanted if not fnmatch.filter(names, pattern)]
    if unknown:
        raise ConversionError(
            f"{KEY} names what is no layer with a kernel",
            expected=f"names or patterns of {', '.join(names)}" if names else "a model that has layers",
            found=", ".join(unknown), todo="correct the name",
        )  # fmt: skip
    found = dict.fromkeys(names, "float32")
    for pattern, precision in wanted.items():
        found |= {name: precision for name in names if fnmatch.fnmatchcase(name, pattern)}
    return found


def left_float(model: Any, wanted: Mapping[str, str], *, unrolled: bool) -> dict[str, str]:
    """Return layer name -> precision, of the layers of which a kernel cannot be what is asked for.

    Args:
        model: tf_keras.
        wanted: layer name -> precision, as `precisions` gives it.
        unrolled: whether its loops over time are written out step by step; else nothing in the file has their name.
    """
    loops = [] if unrolled else [loop.layer for loop in recurrent.loops(model)]
    nameless = {inner.name for layer in loops for inner in layer._flatten_layers()}
    asked = {layer.name: layer for layer in _layers(model) if wanted.get(layer.name, "float32") != "float32"}
    return {
        name: wanted[name]
        for name, layer in asked.items()
        if name in nameless or any(_unfit(inner, wanted[name]) for inner in layer._flatten_layers())
    }


def floating(model: Any, precision: str, *, unrolled: bool) -> list[Any]:
    """Return the kernels that stay float32 where all shall be of a precision: weights of a Keras model.

    Args:
        model: tf_keras.
        precision: a key of OPERATORS.
        unrolled: whether its loops over time are written out step by step.
    """
    fused = set() if unrolled else {id(loop.layer) for loop in recurrent.loops(model) if loop.fused}
    lost = [weight for layer in _layers(model) if id(layer) in fused for weight in layer.weights]
    return [*lost, *(weight for layer in _layers(model) for weight in _unfit(layer, precision))]


def _unfit(layer: Any, precision: str) -> list[Any]:
    """Return the kernels of a layer itself whose operator a precision does not have."""
    kernels = (weight for weight in own_weights(layer) if len(weight.shape) > 1)
    return [weight for weight in kernels if _operator(layer, weight) not in OPERATORS[precision]]


def own_weights(layer: Any) -> list[Any]:
    """Return the weights of a Keras layer itself, without those of layers within it."""
    return [*layer._trainable_weights, *layer._non_trainable_weights]


def _operator(layer: Any, kernel: Any) -> str:
    """Return the operator of TFLite that has a layer's kernel; empty: one that is not among KERNELS."""
    layers = load_keras().layers
    separable = isinstance(layer, (layers.SeparableConv1D, layers.SeparableConv2D))
    if isinstance(layer, (layers.Embedding, layers.Conv3D, layers.Conv3DTranspose, layers.PReLU)):
        return ""
    if isinstance(layer, (layers.DepthwiseConv1D, layers.DepthwiseConv2D)):
        return "DEPTHWISE_CONV_2D"
    if separable and kernel is layer.depthwise_kernel:
        return "DEPTHWISE_CONV_2D"
    if isinstance(layer, (layers.Conv1DTranspose, layers.Conv2DTranspose)):
        return "TRANSPOSE_CONV"
    if isinstance(layer, (layers.LocallyConnected1D, layers.LocallyConnected2D)):
        return "BATCH_MATMUL"
    return "CONV_2D" if len(kernel.shape) > 2 else "FULLY_CONNECTED"


def refusal(wrong: Mapping[str, str]) -> ConversionError:
    """Return the error for layers whose kernels cannot be what is asked for.

    Args:
        wrong: layer name -> precision.
    """
    expected = (
        f"{precision} of layers that become {', '.join(kind for kind in KERNELS if kind in OPERATORS[precision])}"
        for precision in dict.fromkeys(wrong.values())
    )
    return ConversionError(
        f"{KEY} asks for kernels that cannot be quantized",
        expected="; ".join(expected), found=", ".join(f"{layer} as {precision}" for layer, precision in wrong.items()),
        todo=f"set {' and '.join(f'{KEY}.{layer}=float32' for layer in wrong)}, behind what fits all",
    )  # fmt: skip


def with_kernels(model: Any) -> list[str]:
    """Return the names of a Keras model's layers that have kernels, those around them before those within."""
    own = (one for one in _layers(model) if not hasattr(one, "_nodes_by_depth"))
    return list(dict.fromkeys(one.name for one in own if any(len(weight.shape) > 1 for weight in one.weights)))


def _layers(model: Any) -> list[Any]:
    return list(model._flatten_layers(include_self=False)) if hasattr(model, "layers") else []
