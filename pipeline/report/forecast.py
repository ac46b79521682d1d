"""What doctor foresees of a run before anything is trained, as types; `forecast` in report.json and `doctor --json`.

What is called "about" is an estimate; all else follows from the layers alone, and is held against what then happens
(`pipeline/doctor/differences.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from pipeline.config import Frozen

# what becomes of a layer in a stage: the stage works on it; it stays float, dense (no zeros), unclustered or whole (all
# channels); it has nothing for the stage to work on; the stage as the recipe has it cannot work on the model at all
How = Literal["yes", "float", "dense", "unclustered", "whole", "nothing", "refused"]


class Fate(Frozen):
    """What a stage does with a layer of the model that it gets.

    `made` says what it becomes where `how` is "yes" ("int8 per-channel", "80 % zeros"), `reason` why it is left as it
    is. `parameters` and `macs` (for one sample; null: nobody can count them) are the layer's own.
    `decided_by` names what decides it only later, where `how` and `made` are the most that can come of it:
    "sensitivity", which measures the trained model and may leave the layer out (exclude: auto), or "shrink", which
    chooses by trained weights how many channels stay.
    """

    name: str
    kind: str
    parameters: int
    macs: int | None
    how: How
    made: str = ""
    reason: str = ""
    decided_by: list[Literal["sensitivity", "shrink"]] = Field(default_factory=list)


class Foreseen(Frozen):
    """A stage, and the model that it leaves.

    `activation_bytes` is the most that tensors between layers take at once, for one sample, each layer after the other:
    as float32 and as int8. Of shrink and what follows, `parameters`, `macs` and `activation_bytes` are about those that
    there will be (`about`): which channels go is decided by the trained weights. They are null for a graph without
    layers, and `macs` also where nobody can count any.
    """

    stage: str
    layers: list[Fate]
    parameters: int
    macs: int | None = None
    unknown_macs: list[str] = Field(default_factory=list)
    activation_bytes: int | None = None
    activation_bytes_int8: int | None = None
    about: bool = False


class File(Frozen):
    """An artifact of the recipe's plan.

    `refused` says why it cannot be converted, empty where it can. `batch` is the only number of samples that it takes
    at once; null: any. `floating` names the layers that compute in float in a file that is asked for in integers.
    `bytes` and `gzip_bytes` are about what it will have on disk, null where it cannot be made.
    """

    id: str
    refused: str = ""
    optional: bool = False
    batch: int | None = None
    floating: list[str] = Field(default_factory=list)
    bytes: int | None = None
    gzip_bytes: int | None = None


class Problem(Frozen):
    """Something that is asked for and cannot work, as its stage would say it."""

    stage: str
    message: str


class Line(Frozen):
    """What becomes of one model. A recipe has one, but for candidates: which of them goes on is known after training.

    `of` says in short which candidate it is; empty where there is one model. `doubts` are what may turn out not to
    work, by what is decided later.
    """

    of: str = ""
    stages: list[Foreseen]
    files: list[File] = Field(default_factory=list)
    no_faster: list[str] = Field(default_factory=list)
    problems: list[Problem] = Field(default_factory=list)
    doubts: list[Problem] = Field(default_factory=list)


class Forecast(Frozen):
    """What doctor foresees."""

    lines: list[Line]

    @property
    def problems(self) -> list[Problem]:
        """All problems, each once; those that only some candidates have with their names."""
        return self._each_once([line.problems for line in self.lines])

    @property
    def doubts(self) -> list[Problem]:
        """The same of what may turn out not to work."""
        return self._each_once([line.doubts for line in self.lines])

    def _each_once(self, listed: Sequence[Sequence[Problem]]) -> list[Problem]:
        found: dict[tuple[str, str], list[str]] = {}
        for line, problems in zip(self.lines, listed, strict=True):
            for one in problems:
                found.setdefault((one.stage, one.message), []).append(line.of)
        return [
            Problem(stage=stage, message=message if len(of) == len(self.lines) else f"{', '.join(of)}: {message}")
            for (stage, message), of in found.items()
        ]

    def refused(self, *, optional: bool = False) -> dict[str, str]:
        """Return id -> why, for each artifact that no candidate can have.

        Args:
            optional: whether to count those that may fail.
        """
        files = [{one.id: one for one in line.files} for line in self.lines]
        return {
            name: one.refused
            for name, one in (files[0] if files else {}).items()
            if all(some[name].refused for some in files) and (optional or not one.optional)
        }
