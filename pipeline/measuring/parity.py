"""How closely an exported model answers like the Keras model it came from, on logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.errors import RunError
from pipeline.measuring import checks
from pipeline.measuring.interval import Interval, clopper_pearson


@dataclass(frozen=True)
class Parity:
    """The agreement of two models over the same samples.

    Attributes:
        against: the name of the model that is the measure.
        samples: how many samples were compared.
        top1_agreement: share of samples with the same highest logit, with its Clopper-Pearson interval.
        max_abs_error, mean_abs_error: of the logits, over all samples and classes, in logit units.
    """

    against: str
    samples: int
    top1_agreement: Interval
    max_abs_error: float
    mean_abs_error: float

    def to_dict(self) -> dict[str, str | int | float]:
        """Return the keys of report.json; the interval's limits are `top1_agreement_low` and `_high`."""
        return {
            "against": self.against,
            "samples": self.samples,
            "top1_agreement": self.top1_agreement.value,
            "top1_agreement_low": self.top1_agreement.low,
            "top1_agreement_high": self.top1_agreement.high,
            "max_abs_error": self.max_abs_error,
            "mean_abs_error": self.mean_abs_error,
        }


def compare(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], *, against: str) -> Parity:
    """Compare the outputs of two models for the same samples in the same order.

    Args:
        expected: outputs of the model named `against`, with "logits": float [n, classes], n >= 1.
        found: outputs of the exported model, the same shapes.
        against: the name shown in the report and in messages.

    Raises:
        RunError: a missing output, no samples, another shape, or NaN or infinity on either side.
    """
    left = checks.logits(checks.output(expected, who=against), who=against)
    right = checks.logits(checks.output(found, who="the exported model"), who="the exported model")
    if left.shape != right.shape:
        raise RunError(
            f"the exported model cannot be compared with {against}",
            expected=f"logits of shape {list(left.shape)}",
            found=f"shape {list(right.shape)}",
            todo="run both models over the same samples",
        )
    error = np.abs(left - right)
    agree = int((left.argmax(axis=1) == right.argmax(axis=1)).sum())
    samples = left.shape[0]
    return Parity(against, samples, clopper_pearson(agree, samples), float(error.max()), float(error.mean()))
