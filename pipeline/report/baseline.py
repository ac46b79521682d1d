"""What the report says of the simple model that was fitted beside, as types; measure writes it, and the page reads it.

Apart from the rest of the report, so that a change there measures nothing anew.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from pipeline.config import Frozen
from pipeline.files import write_json
from pipeline.report.model import Interval

BASELINE = "baseline.json"


class Gain(Frozen):
    """How much better a model or an artifact is than the baseline on the same test samples: positive where it is.

    `of` is STAGE.keras or an artifact's id, `metrics` what it is judged by -> the paired difference.
    """

    of: str
    metrics: dict[str, Interval]


class Baseline(Frozen):
    """A simple model of scikit-learn's that was fitted to the same training split of `samples` samples.

    `metrics` are over the test split; `judged` are the keys of those that it is judged by. It has no artifact and no
    latency.
    """

    name: str
    settings: str
    samples: int
    metrics: dict[str, Interval]
    judged: list[str] = Field(default_factory=list)
    gains: list[Gain]

    def gain(self, of: str) -> Gain | None:
        """Return that of a model or an artifact; None where it was not measured."""
        return next((one for one in self.gains if one.of == of), None)


def write_baseline(found: Baseline, folder: Path) -> None:
    """Write it into the folder of measure."""
    write_json(folder / BASELINE, found.model_dump(mode="json"))


def read_baseline(folder: Path) -> Baseline | None:
    """Return what the folder of measure holds; None where the recipe asks for no baseline."""
    path = folder / BASELINE
    return Baseline.model_validate_json(path.read_bytes()) if path.exists() else None
