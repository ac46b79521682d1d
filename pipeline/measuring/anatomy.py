"""What a Keras model consists of, as figures for the report: its layers, weights and zeros."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.compress import kernels
from pipeline.measuring import footprint
from pipeline.report.model import Histogram, Layer, Model

BINS = 40


def describe(
    model: Any, stage: str, *, targets: Mapping[str, float] | None = None, patterns: Mapping[str, str] | None = None,
    clusters: Mapping[str, Mapping[str, Any]] | None = None, precisions: Mapping[str, str] | None = None,
    reasons: Mapping[str, str] | None = None, training: Mapping[str, Sequence[float]] | None = None,
    taught: Sequence[str] = (),
) -> Model:  # fmt: skip
    """Return a model's entry of the report, without what is measured on samples.

    Args:
        model: a plain Keras model.
        stage: that made it.
        targets: layer name -> sparsity that pruning aimed at.
        patterns: layer name -> label of the pattern of its zeros.
        clusters: layer name -> what its entry says of its clusters (`cluster_promise.entries`).
        precisions: layer name -> how it computes, where that is not float32.
        reasons: layer name -> why a technique left it out.
        training: metric -> one value per epoch.
        taught: in words what was learned of a teacher.
    """
    counted = footprint.macs(model)
    by_layer = {layer.name: layer.macs for layer in counted.layers}
    weights = b"".join(_stored(layer, (precisions or {}).get(layer.name, "")) for layer in model.layers)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = len(packer.compress(weights)) + len(packer.flush())
    layers = []
    for layer in model.layers:
        if type(layer).__name__ == "InputLayer":
            continue
        found = list(kernels.of(layer).values())
        layers.append(
            Layer(
                name=layer.name,
                kind=type(layer).__name__,
                parameters=int(layer.count_params()),
                macs=by_layer.get(layer.name),
                sparsity=kernels.sparsity(found) if found else None,
                target=(targets or {}).get(layer.name),
                pattern=(patterns or {}).get(layer.name),
                precision=(precisions or {}).get(layer.name, "float32"),
                reason=(reasons or {}).get(layer.name, ""),
                histogram=histogram(found) if found else None,
                **(clusters or {}).get(layer.name, {}),
            )
        )
    return Model.model_validate(
        {
            "stage": stage, "parameters": footprint.parameters(model), "macs": counted.total,
            "unknown_macs": list(counted.unknown),
            "sparsity": kernels.sparsity([values for _, _, values in kernels.named(model)]),
            "bytes": len(weights), "gzip_bytes": packed, "layers": layers,
            "training": {name: list(values) for name, values in (training or {}).items()},
            "taught": list(taught),
        }
    )  # fmt: skip


def _stored(layer: Any, precision: str) -> bytes:
    """Return a layer's weights as a file holds them: float32, but kernels as int8 or float16 where it has them."""
    held = []
    for values in (weight.numpy() for weight in layer.weights):
        if precision.startswith("int8") and values.ndim >= 2:
            axes = tuple(range(values.ndim - 1)) if precision == "int8 per-channel" else None
            largest = np.abs(values).max(axis=axes, keepdims=True)
            values = np.rint(values / np.where(largest > 0, largest, 1) * 127).astype(np.int8)
        elif precision == "float16" and values.ndim >= 2:
            values = values.astype(np.float16)
        held.append(np.ascontiguousarray(values).tobytes())
    return b"".join(held)


def histogram(arrays: Sequence[np.ndarray]) -> Histogram:
    """Return the histogram of all values that are not zero; exact zeros are counted apart."""
    values = np.concatenate([array.ravel() for array in arrays])
    other = values[values != 0]
    counts, edges = np.histogram(other, bins=BINS) if other.size else (np.zeros(BINS, int), np.array([-1.0, 1.0]))
    return Histogram(
        low=float(edges[0]), high=float(edges[-1]), counts=counts.tolist(), zeros=int(values.size - other.size)
    )
