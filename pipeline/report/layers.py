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


def left_out(report: Report) -> list[tuple[Model, Layer]]:
    """Return the layers that a technique of the recipe left out, with the model of its stage."""
    return [(model, layer) for model in report.models for layer in model.layers if layer.reason]
