"""What a model's answers to the test split are worth, by the task of each of its heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.measuring import accuracy, regression
from pipeline.measuring.interval import Interval
from pipeline.predictor import heads

if TYPE_CHECKING:
    import numpy as np

    from pipeline.predictor import Head, Samples, Spec


def metrics(spec: Spec, wanted: Samples, answers: Mapping[str, np.ndarray], resamples: int) -> dict[str, Interval]:
    """Return each head's metrics with intervals; their names begin with the head's where there are several.

    Args:
        wanted: of the test split (`data.Split.y`).
        answers: of the spec's `ends`.
    """
    found: dict[str, Interval] = {}
    for head, y in heads(spec, wanted):
        if head.task == "classification":
            one = accuracy.classification(y, answers[head.end], resamples=resamples)
        else:
            one = regression.metrics(
                y, _in_its_units(head, spec, answers), together=_together(head), resamples=resamples
            )
        found |= {f"{head.name}_{name}" if head.name else name: interval for name, interval in one.items()}
    return found


def drops(
    spec: Spec, wanted: Samples, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray], resamples: int
) -> dict[str, Interval]:
    """Return what each head lost between two models, by its metric: positive where it was lost; see `metrics`."""
    found = {}
    for head, y in heads(spec, wanted):
        if head.task == "classification":
            found[head.metric] = accuracy.drop(y, before[head.end], after[head.end], resamples=resamples)
        else:
            old, new = _in_its_units(head, spec, before), _in_its_units(head, spec, after)
            found[head.metric] = regression.drop(y, old, new, together=_together(head), resamples=resamples)
    return found


def _together(head: Head) -> bool:
    return head.task == "reconstruction"


def _in_its_units(head: Head, spec: Spec, answers: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a head's answers in the units of what is wanted: a reconstruction's in [0, 1], as the model learned it."""
    found = answers[head.end]
    if head.task != "reconstruction":
        return found
    low, high = spec.input.bounds
    scaled: np.ndarray = (found - low) / (high - low)
    return scaled
