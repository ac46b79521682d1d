"""What each layer loses by itself under each technique, as the stage sensitivity stores it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from pydantic import Field

from pipeline.config import Frozen
from pipeline.files import write_json
from pipeline.report.model import Interval

FILE = "sensitivity.json"
Technique = Literal["shrink", "prune", "cluster", "quantize"]
TECHNIQUES: tuple[Technique, ...] = ("shrink", "prune", "cluster", "quantize")
# techniques that do more to a layer the larger their amount is
_MORE = ("prune",)


class Trial(Frozen):
    """What one layer, or those that lose the same channels, loses while all others stay as they are.

    `amount` is the share of channels that stay (shrink), the share of zeros (prune), the number of distinct weights
    (cluster) or of bits (quantize). `lost` is of the metric on the validation split, paired, and positive where it got
    worse. `parameters` and `macs` are those that are gone (shrink), or that are zero and multiplied by zero, which only
    a runtime with sparse kernels saves (prune); cluster and quantize make weights smaller, and not fewer.
    """

    technique: Technique
    amount: float
    layers: list[str]
    lost: Interval
    parameters: int = 0
    macs: int | None = 0


class Sensitivity(Frozen):
    """The table.

    `stage` made the model, `quality` is what that is worth by `metric` on `samples` samples of the validation split.
    `untouched` says for each technique why it leaves layers with kernels alone.
    """

    stage: str
    metric: str
    quality: float
    samples: int
    trials: list[Trial]
    untouched: dict[str, dict[str, str]] = Field(default_factory=dict)

    def columns(self) -> list[tuple[Technique, float]]:
        """Return each technique with each of its amounts, the mildest first."""
        found = {(one.technique, one.amount) for one in self.trials}
        return sorted(found, key=lambda one: (TECHNIQUES.index(one[0]), _harshness(*one)))

    def layers(self) -> list[str]:
        """Return the layers that something was done to, in the model's order."""
        return list(dict.fromkeys(name for one in self.trials for name in one.layers))

    def at(self, technique: Technique, asked: float) -> list[Trial]:
        """Return a technique's trials at the amount nearest to one; of two as near the one that does more.

        Numbers of distinct weights are compared by their ratio.
        """
        amounts = {one.amount for one in self.trials if one.technique == technique}
        if not amounts:
            return []

        def distance(amount: float) -> float:
            far = math.log(amount / asked) if technique == "cluster" else amount - asked
            return round(abs(far), 9)

        nearest = min(amounts, key=lambda amount: (distance(amount), -_harshness(technique, amount)))
        return [one for one in self.trials if one.technique == technique and one.amount == nearest]


def _harshness(technique: Technique, amount: float) -> float:
    return amount if technique in _MORE else -amount


def said(technique: Technique, amount: float) -> str:
    """Return an amount in words."""
    match technique:
        case "shrink":
            return f"{100 * amount:.4g} % of its channels"
        case "prune":
            return f"{100 * amount:.4g} % zeros"
        case "cluster":
            return f"{amount:g} distinct weights"
        case "quantize":
            return f"int{amount:g}"


def write(table: Sensitivity, folder: Path) -> None:
    """Write the table into a stage's folder."""
    write_json(folder / FILE, table.model_dump(mode="json"))


def read(folder: Path) -> Sensitivity:
    """Return the table of a stage's folder."""
    return Sensitivity.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
