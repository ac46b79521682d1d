"""How closely an exported model answers like the Keras model it came from: on logits, or on values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.errors import RunError
from pipeline.measuring import checks
from pipeline.measuring.interval import Interval, clopper_pearson
from pipeline.predictor import LOGITS


@dataclass(frozen=True)
class Parity:
    """The agreement of two models over the same samples; of several heads the worst.

    Attributes:
        against: the name of the model that is the measure.
        samples: how many samples were compared.
        top1_agreement: share of samples with the same highest logit, with its Clopper-Pearson interval; None where no
            head answers logits of classes.
        label_agreement: share of samples of which every label is answered alike, there (a logit above 0) or not, with
            its Clopper-Pearson interval: samples are independent, labels of one sample are not; None where no head
            answers several labels.
        r2: share of the variance of the measure's values that the other's reproduce (R2, of all values together); None
            where every head answers logits.
        max_abs_error, mean_abs_error: over all samples and answers, in logit units or those of the values.
    """

    against: str
    samples: int
    top1_agreement: Interval | None
    label_agreement: Interval | None
    r2: float | None
    max_abs_error: float
    mean_abs_error: float

    def to_dict(self) -> dict[str, str | int | float | None]:
        """Return the keys of report.json; the limits of an interval are `NAME_low` and `NAME_high`."""
        same, alike = self.top1_agreement, self.label_agreement
        return {
            "against": self.against,
            "samples": self.samples,
            "top1_agreement": same.value if same else None,
            "top1_agreement_low": same.low if same else None,
            "top1_agreement_high": same.high if same else None,
            "label_agreement": alike.value if alike else None,
            "label_agreement_low": alike.low if alike else None,
            "label_agreement_high": alike.high if alike else None,
            "r2": self.r2,
            "max_abs_error": self.max_abs_error,
            "mean_abs_error": self.mean_abs_error,
        }


def compare(
    expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], *, against: str, labels: Collection[str] = ()
) -> Parity:
    """Compare the outputs of two models for the same samples in the same order.

    Args:
        expected: outputs of the model named `against` that are compared: float [n, classes] where the name says logits,
            else float [n, ...]; n >= 1.
        found: outputs of the exported model, the same shapes.
        against: the name shown in the report and in messages.
        labels: the outputs whose logits are of a label each, and not of classes of which there is one.

    Raises:
        RunError: a missing output, no samples, another shape, or NaN or infinity on either side.
    """
    return _worst([_one(name, expected, found, against, labels) for name in expected or (LOGITS,)])


def _one(
    name: str, expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], against: str,
    labels: Collection[str],
) -> Parity:  # fmt: skip
    left = checks.end(expected, name, who=against)
    right = checks.end(found, name, who="the exported model")
    if left.shape != right.shape:
        raise RunError(
            f"the exported model cannot be compared with {against}",
            expected=f"{name} of shape {list(left.shape)}",
            found=f"shape {list(right.shape)}",
            todo="run both models over the same samples",
        )
    error = np.abs(left - right)
    samples = left.shape[0]
    same, alike, r2 = None, None, None
    if name in labels:
        alike = clopper_pearson(int(((left > 0) == (right > 0)).all(axis=1).sum()), samples)
    elif checks.is_logits(name):
        same = clopper_pearson(int((left.argmax(axis=1) == right.argmax(axis=1)).sum()), samples)
    else:
        spread = np.square(left - left.mean(axis=0)).sum()
        r2 = float(1 - np.square(error).sum() / spread) if spread > 0 else float(not error.any())
    return Parity(against, samples, same, alike, r2, float(error.max()), float(error.mean()))


def _worst(heads: list[Parity]) -> Parity:
    same = [one.top1_agreement for one in heads if one.top1_agreement is not None]
    alike = [one.label_agreement for one in heads if one.label_agreement is not None]
    shares = [one.r2 for one in heads if one.r2 is not None]
    return Parity(
        heads[0].against, heads[0].samples, min(same, key=lambda one: one.value) if same else None,
        min(alike, key=lambda one: one.value) if alike else None,
        min(shares) if shares else None, max(one.max_abs_error for one in heads),
        max(one.mean_abs_error for one in heads),
    )  # fmt: skip
