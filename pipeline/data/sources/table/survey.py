"""The first pass over a table: what is in its columns, so that the second can fill arrays of a known size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.data.sources.cells import number

if TYPE_CHECKING:
    from pipeline.data.sources.cells import Cells
    from pipeline.data.sources.table.config import Config
    from pipeline.data.sources.table.roles import Roles

# the largest number of float32, which features and values to predict are kept or trained in
MOST = 3.4028234663852886e38
# what stands in the column that says the split, of the rows that are no split of the file's own
TRAIN = "train"
# cells and lines that a message names
SHOWN = 5
# different cells of a column that are remembered, if not more are asked for: labels, groups
_LABELS = 100_000


@dataclass
class Column:
    """What a column holds.

    Attributes:
        limit: different cells that are remembered.
        distinct: the cells, while they are no more than that.
        overflow: whether there are more.
        others: cells that are no finite numbers and not missing; `first_others` names some, with their lines.
        missing: cells without a value; `first_missing` has the first lines.
        beyond: numbers that float32 has not; `first_beyond` has the first lines.
        total, counted: sum and number of the numbers, of the rows that a mean is taken of.
    """

    limit: int = _LABELS
    distinct: dict[str, None] = field(default_factory=dict)
    overflow: bool = False
    cells: int = 0
    others: int = 0
    first_others: list[str] = field(default_factory=list)
    missing: int = 0
    first_missing: list[int] = field(default_factory=list)
    beyond: int = 0
    first_beyond: list[int] = field(default_factory=list)
    total: float = 0.0
    counted: int = 0

    def add(
        self, lines: Sequence[int], cells: Sequence[str], absent: frozenset[str], counts: Sequence[bool] | None
    ) -> None:
        """Take some more cells in.

        Args:
            lines: where they are.
            absent: cells that mean no value.
            counts: whether a cell's number goes into the mean; None: all do.
        """
        self.cells += len(cells)
        seen = set(cells)
        if not self.overflow:
            self.distinct |= dict.fromkeys(cell for cell in cells if cell not in absent)
            self.overflow = len(self.distinct) > self.limit
        if not seen & absent:
            numbers = numeric(cells)
            if numbers is not None:
                kept = numbers if counts is None else [one for one, here in zip(numbers, counts, strict=True) if here]
                self.total += math.fsum(kept)
                self.counted += len(kept)
                return
        for place, (line, cell) in enumerate(zip(lines, cells, strict=True)):
            if cell in absent:
                self.missing += 1
                if len(self.first_missing) < SHOWN:
                    self.first_missing.append(line)
            elif (found := number(cell)) is None:
                self.others += 1
                if len(self.first_others) < SHOWN:
                    self.first_others.append(f"{cell[:40]!r} ({line})")
            elif abs(found) > MOST:
                self.beyond += 1
                if len(self.first_beyond) < SHOWN:
                    self.first_beyond.append(line)
            elif counts is None or counts[place]:
                self.total += found
                self.counted += 1

    @property
    def mean(self) -> float:
        """The mean of its numbers; 0 where there are none."""
        return self.total / self.counted if self.counted else 0.0


def numeric(cells: Iterable[str]) -> list[float] | None:
    """Return the numbers that cells are; None where one is none, or they are so large that each has to be looked at."""
    try:
        found = list(map(float, cells))
    except ValueError:
        return None
    return found if sum(map(abs, found)) <= MOST and not any("_" in cell for cell in cells) else None


@dataclass(frozen=True)
class Survey:
    """What one pass over a table found.

    Attributes:
        columns: of the features, the targets and the group, by name.
        rows: all of them.
        complete: rows with a value in each of these columns.
        splits: what stands in the column that says the split, and how often.
    """

    columns: dict[str, Column]
    rows: int
    complete: int
    splits: dict[str, int]


def survey(cells: Cells, roles: Roles, config: Config) -> Survey:
    """Read a table once."""
    absent = config.absent
    columns = {name: Column(config.max_categories) for name in roles.features}
    columns |= {name: Column() for name in roles.needed}
    places = {name: roles.place(name) for name in columns}
    at = roles.place(roles.split) if roles.split else None
    rows = complete = 0
    splits: dict[str, int] = {}
    for lines, chunk in cells.chunks():
        rows += len(chunk)
        counts = None
        if at is not None:
            found = [row[at] for row in chunk]
            for name in found:
                splits[name] = splits.get(name, 0) + 1
            counts = [name == TRAIN for name in found]
        for name, column in columns.items():
            place = places[name]
            column.add(lines, [row[place] for row in chunk], absent, counts)
        used = tuple(places.values())
        complete += sum(absent.isdisjoint(row[place] for place in used) for row in chunk)
    return Survey(columns, rows, complete, splits)
