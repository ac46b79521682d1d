"""What models' answers to the test split are worth, by the task of each of their heads, with intervals."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from pipeline import metric
from pipeline.measuring import accuracy, checks, regression, resampling
from pipeline.measuring.interval import Interval
from pipeline.predictor import heads
from pipeline.scoring import head as scoring

if TYPE_CHECKING:
    from pipeline.predictor import Head, Samples, Spec

Answers = Mapping[str, np.ndarray]


class Qualities:
    """Metrics and drops of models for the same samples; equal answers are computed once, as a model's over both
    protocols often are."""

    def __init__(self, spec: Spec, wanted: Samples, resamples: int) -> None:
        """Judge by samples of a split.

        Args:
            wanted: `data.Split.y`.
            resamples: of each interval, >= 100.
        """
        self.spec, self.wanted, self.resamples = spec, wanted, resamples
        self._known: dict[tuple[str, ...], dict[str, Interval]] = {}

    def metrics(self, answers: Answers) -> dict[str, Interval]:
        """Return each head's metrics; their names begin with the head's where there are several.

        What the samples leave undefined is left out: `undefined` says why.

        Args:
            answers: of each head's `answer`.

        Raises:
            RunError: NaN or infinity among the answers, or they do not fit what is wanted.
        """
        return self._once((answers,), self._metrics)

    def drops(self, before: Answers, after: Answers) -> dict[str, Interval]:
        """Return what each head lost between two models, in what it is judged by: positive where it got worse.

        Raises: as `metrics`.
        """
        return self._once((before, after), self._drops)

    def undefined(self) -> dict[str, str]:
        """Return why the samples leave metrics undefined, by name; whatever is answered."""
        found = {}
        for head, wanted in heads(self.spec, self.wanted):
            nothing = np.zeros((len(wanted), *(head.shape if head.task != "anomaly" else ())))
            for part in scoring.parts(head):
                values = part.prepare(wanted, nothing)(np.ones((len(wanted), 1)))[:, 0]
                for name, value in zip(part.names, values, strict=True):
                    if math.isnan(value):
                        found[_named(head, name)] = scoring.undefined(head, name, wanted)
        return found

    @property
    def judged(self) -> list[str]:
        """The keys of what the heads are judged by."""
        return [head.metric for head in self.spec.heads]

    def _once(self, answers: tuple[Answers, ...], compute: Callable[..., dict[str, Interval]]) -> dict[str, Interval]:
        names = [head.answer for head in self.spec.heads]
        key = tuple(_digest(checks.output(one, name, who="the model")) for one in answers for name in names)
        if key not in self._known:
            self._known[key] = compute(*answers)
        return dict(self._known[key])

    def _metrics(self, answers: Answers) -> dict[str, Interval]:
        found: dict[str, Interval] = {}
        for head, wanted in heads(self.spec, self.wanted):
            one = _of_head(head, wanted, self._answered(head, answers), self.resamples)
            found |= {_named(head, name): interval for name, interval in one.items()}
        return found

    def _drops(self, before: Answers, after: Answers) -> dict[str, Interval]:
        found = {}
        for head, wanted in heads(self.spec, self.wanted):
            old, new = self._answered(head, before), self._answered(head, after)
            if (lost := _drop(head, wanted, old, new, self.resamples)) is not None:
                found[head.metric] = lost
        return found

    def _answered(self, head: Head, answers: Answers) -> np.ndarray:
        """Return a head's answers in the units of what is wanted: a reconstruction's in [0, 1]."""
        found = answers[head.answer]
        if head.task != "reconstruction":
            return found
        low, high = self.spec.input.bounds
        scaled: np.ndarray = (found - low) / (high - low)
        return scaled


def _of_head(head: Head, wanted: np.ndarray, answered: np.ndarray, resamples: int) -> dict[str, Interval]:
    found: dict[str, Interval] = {}
    if head.task == "classification":
        found |= accuracy.classification(wanted, answered, resamples=resamples)
    elif head.task in ("regression", "reconstruction"):
        found |= regression.metrics(wanted, answered, together=_together(head), resamples=resamples)
    else:
        checks.values(answered, who="the model")
    parts = [part for part in scoring.parts(head) if not set(part.names) <= set(found)]
    weighed = [part.prepare(wanted, answered) for part in parts]
    once = [one(np.ones((len(wanted), 1)))[:, 0] for one in weighed]
    drawn = resampling.draws(weighed, len(wanted), resamples)
    for part, values, resampled in zip(parts, once, drawn, strict=True):
        for name, value, row in zip(part.names, values, resampled, strict=True):
            if name not in found and not math.isnan(value):
                found[name] = resampling.interval(float(value), row, _trials(head, name, wanted))
    return found


def _drop(head: Head, wanted: np.ndarray, before: np.ndarray, after: np.ndarray, resamples: int) -> Interval | None:
    judged = head.criterion
    if judged.name == "accuracy" and head.task == "classification":
        return accuracy.drop(wanted, before, after, resamples=resamples)
    if judged.name == "r2":
        return regression.drop(wanted, before, after, together=_together(head), resamples=resamples)
    for answered in (before, after):
        checks.values(answered, who="the model")
    checks.same_shape(before, after)
    part = next(part for part in scoring.parts(head) if judged.name in part.names)
    # a ranking is of scores: where all of them are equal, the models are
    ranked = judged.name.startswith(("roc_auc", "average_precision"))
    trials = None if ranked and np.array_equal(before, after) else _trials(head, judged.name, wanted)
    return resampling.difference(
        part, judged.name, (before, after), wanted, lower=judged.lower, trials=trials, resamples=resamples
    )


def _trials(head: Head, name: str, wanted: np.ndarray) -> int | None:
    found = metric.find(name)
    assert found is not None, name
    bounded = found.most == 1 and found.least == 0
    return scoring.trials(head, name, wanted) if bounded else None


def _together(head: Head) -> bool:
    return head.task == "reconstruction"


def _named(head: Head, name: str) -> str:
    return f"{head.name}_{name}" if head.name else name


def _digest(array: np.ndarray) -> str:
    content = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
    content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()
