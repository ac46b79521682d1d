"""Which layers the page shows of a model: all of a usual one, the largest of a very deep one."""

from __future__ import annotations

from collections import Counter

from pipeline.report.document import Report
from pipeline.report.model import Layer, Model

MOST_ROWS = 100  # a page of five models with more of them is too large to be sent by mail
MOST_HISTOGRAMS = 24
MOST_LEFT_OUT = 40


def rows(model: Model) -> list[Layer]:
    """Return the layers with kernels, in the model's order: those with the most parameters where there are many."""
    return _largest(_with_kernels(model), MOST_ROWS)


def others(model: Model) -> str:
    """Return in words which layers have no kernels, by their kinds; empty where there are none."""
    kinds = Counter(layer.kind for layer in model.layers if layer.sparsity is None)
    return ", ".join(f"{kind} x{count}" if count > 1 else kind for kind, count in kinds.items())


def histograms(model: Model) -> list[Layer]:
    """Return the layers whose weights are drawn, in the model's order: the largest where there are many."""
    return _largest([layer for layer in model.layers if layer.histogram], MOST_HISTOGRAMS)


def _largest(layers: list[Layer], count: int) -> list[Layer]:
    kept = sorted(range(len(layers)), key=lambda i: -layers[i].parameters)[:count]
    return [layers[i] for i in sorted(kept)]


def kernels(model: Model) -> int:
    """Return how many layers have kernels."""
    return len(_with_kernels(model))


def _with_kernels(model: Model) -> list[Layer]:
    return [layer for layer in model.layers if layer.sparsity is not None]


def clustered(model: Model) -> list[str]:
    """Return in words how many distinct weights which layers have: "16 of 16: conv_1, conv_2"; empty where unknown."""
    names: dict[str, list[str]] = {}
    for layer in model.layers:
        if layer.clusters is not None:
            names.setdefault(clusters(layer), []).append(layer.name)
    return [f"{count}: {', '.join(some)}" for count, some in names.items()]


def clusters(layer: Layer) -> str:
    """Return how many distinct weights a layer has of how many that it may have: "16 of 16", "4 of 4 a channel"."""
    if layer.clusters is None:
        return "-"
    return f"{layer.distinct} of {layer.clusters}{' a channel' if layer.clustered == 'channel' else ''}"


def left_out(report: Report) -> list[tuple[Model, Layer]]:
    """Return the layers that a technique of the recipe left out, with the model of its stage."""
    return [(model, layer) for model in report.models for layer in model.layers if layer.reason]
