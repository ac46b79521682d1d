"""About how many bytes a file will have, before and after gzip.

Weights are counted; what a graph costs is in proportion to its layers and channels, as measured on every architecture
of `models/`. The test holds it to a factor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.compress.clustering import Clusters
from pipeline.formats import by_layer, known, precisions, recurrent
from pipeline.formats.export_config import QUANTIZE
from pipeline.measuring.footprint import Size
from pipeline.plan import Planned

# what gzip leaves of weights that learned, which are nearly random numbers
_FLOAT_BITS, _INT8_BITS, _INT4_BITS = 29.6, 7.2, 3.4


@dataclass(frozen=True)
class _Graph:
    """What a format adds to the weights.

    Attributes:
        fixed, layer, channel, loop: bytes in all, for each layer, for each output channel of a kernel, and for each
            loop over time.
        packed: the share of it that gzip leaves.
    """

    fixed: int
    layer: int
    channel: int
    loop: int
    packed: float


_GRAPHS = {
    ("saved_model", "float32"): _Graph(2000, 4700, 0, 55_000, 0.16),
    ("saved_model", "fake-quant"): _Graph(5000, 10_500, 0, 55_000, 0.16),
    ("tflite", "float32"): _Graph(2200, 130, 0, 5000, 0.65),
    ("tflite", "sparse-float32"): _Graph(2200, 130, 0, 5000, 0.65),
    ("tflite", "float16"): _Graph(2200, 170, 0, 5000, 0.65),
    ("tflite", "dynamic-int8"): _Graph(2200, 150, 4, 5000, 0.6),
    ("tflite", "dynamic-int4"): _Graph(2200, 150, 4, 5000, 0.6),
    ("tflite", "weight-int8"): _Graph(2200, 190, 4, 5000, 0.6),
    ("tflite", "weight-int4"): _Graph(2200, 190, 4, 5000, 0.6),
    ("tflite", "mixed"): _Graph(2200, 190, 4, 5000, 0.6),
    ("tflite", "int16x8"): _Graph(2500, 200, 28, 8000, 0.5),
    ("tflite", "int8"): _Graph(2500, 200, 24, 8000, 0.5),
    ("onnx", "float32"): _Graph(600, 120, 0, 1500, 0.8),
    ("onnx", "float16"): _Graph(800, 120, 0, 1500, 0.8),
    ("onnx", "int8"): _Graph(1500, 350, 10, 1500, 0.45),
}
# of a loop without gates, where it takes less than others
_PLAIN_LOOP = {"saved_model": 30_000}
# the bodies of loops are alike
_LOOP_PACKED = {"tflite": 0.25}
# of a .tflite and what is made from it, for each step of a recurrent layer that is written out, with gates or without
_STEP, _PLAIN_STEP, _STEP_PACKED = 2700, 1000, 0.2
# so many times that in an .onnx from a .tflite that was quantized after training: each operator between two conversions
_CONVERTED = 3
# an attention becomes dozens of operators
_ATTENTION = {"saved_model": 10_000, "tflite": 22_000, "onnx": 10_000}
# of an .onnx that is quantized after training: each of them between two conversions
_ATTENTION_INT8 = 35_000
_ATTENTION_PACKED = 0.3
# kernels with fewer weights stay float in a dynamic-int8 .tflite
_DYNAMIC = 1024
# what export.strip_tflite leaves of what the graph of a .tflite adds
_STRIPPED = 0.55
# bits of a weight that is stored sparsely, its place among them
_PLACED = 45


def expected(
    item: Planned, model: Any, zeros: Mapping[str, float], clusters: Mapping[str, Clusters], steps: int,
    wide: Mapping[str, int], *, stripped: bool = False,
) -> Size:  # fmt: skip
    """Return about what a file of a model will take.

    Args:
        zeros: layer name -> share of zeros in its kernels, in [0, 1).
        clusters: layer name -> how few distinct weights its kernels have.
        wide: layer name -> bits of a weight, for the layers that are not of the file's precision.
        steps: time steps of recurrent layers that are written out in it; 0: their loops are loops in the graph.
        stripped: whether a .tflite is to be without what only people and tools read.
    """
    whole = packed = 0.0
    layers = channels = 0
    # ONNX Runtime quantizes no recurrent layer
    left = {loop.name for loop in recurrent.loops(model)} if item.variant == precisions.ORT else set()
    floating = set()
    if item.format == "tflite" and item.precision in by_layer.OPERATORS:
        floating = {id(one) for one in by_layer.floating(model, item.precision, unrolled=steps > 0)}
    for layer in getattr(model, "layers", ()):
        layers += type(layer).__name__ != "InputLayer"
        for inner in layer._flatten_layers():
            for weight in by_layer.own_weights(inner):
                if len(weight.shape) < 2:
                    continue
                count = math.prod(weight.shape)
                channels += weight.shape[-1]
                told = wide.get(inner.name) or wide.get(layer.name) or _bits(item, count)
                bits = 32 if layer.name in left or id(weight) in floating else told
                whole += count * _stored(item, bits, zeros.get(layer.name, 0)) / 8
                packed += count * _packed_bits(bits, zeros.get(layer.name, 0), clusters.get(layer.name)) / 8
    biases = 4 * channels
    graph = _GRAPHS[item.format, item.precision]
    loops = recurrent.loops(model)
    kept = [] if steps else [loop for loop in loops if not (loop.fused and _afterwards(item, "tflite"))]
    around = graph.fixed + graph.layer * layers + graph.channel * channels
    looped = sum(_PLAIN_LOOP.get(item.format, graph.loop) if _plain(loop) else graph.loop for loop in kept)
    written = sum(_step(item, loop) * (loop.steps or 0) for loop in loops) if steps else 0
    attention = _attention(item) * sum(
        type(layer).__name__ == "MultiHeadAttention" for layer in getattr(model, "layers", ())
    )
    added = graph.packed * around + _LOOP_PACKED.get(item.format, graph.packed) * looped
    added += _STEP_PACKED * written + _ATTENTION_PACKED * attention
    share = _STRIPPED if stripped and item.format == "tflite" else 1.0
    return Size(
        round(whole + biases + share * (around + looped + written + attention)),
        round(packed + 0.9 * biases + share * added),
    )


def _attention(item: Planned) -> int:
    """Return what an attention adds to the graph; one that learned to be int8 has it in float."""
    return _ATTENTION_INT8 if _afterwards(item, "onnx") else _ATTENTION[item.format]


def _step(item: Planned, loop: recurrent.Loop) -> int:
    """Return what a step that is written out adds to the graph."""
    step = _PLAIN_STEP if _plain(loop) else _STEP
    return _CONVERTED * step if _afterwards(item, "onnx") and item.variant != precisions.ORT else step


def _plain(loop: recurrent.Loop) -> bool:
    return type(loop.layer).__name__ == "SimpleRNN"


def _afterwards(item: Planned, form: str) -> bool:
    """Return whether a file of a format is quantized to int8 after training."""
    return (item.format, item.precision) == (form, "int8") and item.stage != QUANTIZE


def weight_bits(precision: str) -> int:
    """Return the bits of a weight in a file of a precision, or in a layer of a mixed one."""
    match precision:
        case "float16":
            return 16
        case "int8" | "int16x8" | "weight-int8" | "dynamic-int8":
            return 8
        case "weight-int4" | "dynamic-int4":
            return 4
    return 32


def _bits(item: Planned, weights: int) -> int:
    small = item.precision == "dynamic-int8" and weights < _DYNAMIC
    return 32 if small else weight_bits(item.precision)


def _stored(item: Planned, bits: int, zeros: float) -> float:
    """Return the bits of a weight in the file; one that is stored sparsely has its place beside it."""
    if item.precision == "sparse-float32" and zeros >= known.SPARSE:
        return (1 - zeros) * _PLACED
    return bits


def _packed_bits(bits: int, zeros: float, clusters: Clusters | None) -> float:
    """Return the bits that gzip leaves of a weight: its entropy, which nothing can go below, and a little."""
    one = {32: _FLOAT_BITS, 16: 14.5, 8: _INT8_BITS, 4: _INT4_BITS}[bits]
    if clusters is not None:
        one = min(one, math.log2(clusters.most) * (1.0 if bits <= 8 else 1.3))
    return _entropy(zeros) * 1.2 + (1 - zeros) * one


def _entropy(share: float) -> float:
    """Return the bits of knowing whether a weight is zero."""
    return -sum(p * math.log2(p) for p in (share, 1 - share) if p > 0)
