"""What a run's data is, as types: where it came from, how it was divided, and what is to be known of it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from pipeline.config import Frozen
from pipeline.files import write_json

DATA = "data.json"
# of more classes a page shows the smallest and the largest
_LISTED = 20


class SplitFacts(Frozen):
    """How many samples a split has; `of_classes` how many of each class, in their order (null where there are none)."""

    samples: int
    of_classes: list[int] | None = None


class Output(Frozen):
    """What is to be answered, and the metric that it is judged by; `classes` is empty where there are none."""

    name: str
    task: str
    metric: str
    classes: list[str] = Field(default_factory=list)


class Data(Frozen):
    """The data of a run.

    `inputs`: name -> shape of a sample. `splits` by their names; `of_classes` is of the first output that has classes.
    `by`: what the splits were divided by. `on_disk`: larger than data.memory_mb, so read batch by batch. `notes`: what
    a reader should know, such as an inferred range, samples left out, or equal samples on both sides of a split.
    """

    source: str
    inputs: dict[str, list[int]]
    outputs: list[Output]
    splits: dict[str, SplitFacts]
    by: str
    on_disk: bool = False
    notes: list[str] = Field(default_factory=list)

    def classes(self) -> list[tuple[str, list[int]]]:
        """Return (class, samples in each split), of many classes the smallest and the largest of the training split."""
        names = next((output.classes for output in self.outputs if output.classes), [])
        counts = [split.of_classes for split in self.splits.values()]
        rows = [(name, [count[place] for count in counts if count is not None]) for place, name in enumerate(names)]
        if len(rows) <= _LISTED or not all(found for _, found in rows):
            return [row for row in rows if row[1]]
        rows.sort(key=lambda row: row[1][0])
        return [(f"{name} (fewest)", found) for name, found in rows[:1]] + [
            (f"{name} (most)", found) for name, found in rows[-1:]
        ]


def write_data(data: Data, folder: Path) -> None:
    """Write what is known of the data into a stage's folder."""
    write_json(folder / DATA, data.model_dump(mode="json"))


def read_data(folder: Path) -> Data | None:
    """Return what a stage's folder knows of the data; None where it was not the one that looked."""
    path = folder / DATA
    return Data.model_validate_json(path.read_bytes()) if path.exists() else None
