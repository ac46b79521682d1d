"""What a table's columns become in the model's input: numbers as they are, categories as columns of 0 and 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.sources import labels
from pipeline.data.sources.table import checks
from pipeline.data.sources.table.config import Config
from pipeline.data.sources.table.roles import Roles
from pipeline.data.sources.table.survey import TRAIN, Column, Survey

# share of a column's cells that are no numbers by mistake, where all others are; of more it holds categories
_STRAY = 0.05


@dataclass(frozen=True)
class Feature:
    """A column of the file.

    Attributes:
        name: of the column.
        begin: where it begins in the input.
        fill: of numbers: what a cell without a value becomes.
        categories: category -> its place behind `begin`; None: numbers.
    """

    name: str
    begin: int
    fill: float = 0.0
    categories: Mapping[str, int] | None = None

    @property
    def names(self) -> list[str]:
        """What the columns of the input are called."""
        return [self.name] if self.categories is None else [f"{self.name}={one}" for one in self.categories]


def of(config: Config, roles: Roles, found: Survey, place: str, path: Path) -> tuple[list[Feature], list[str]]:
    """Return the features in their order, and what a reader should know.

    Raises:
        InputError: a column has too many categories, or is to be of numbers and is not.
    """
    columns = found.columns
    inferred = tuple(name for name in roles.features if columns[name].others > _STRAY * columns[name].cells)
    categorical = inferred if config.categorical is None else config.categorical
    numbers = tuple(name for name in roles.features if name not in categorical)
    checks.require_numbers(columns, numbers, place, path, "numbers in all columns but data.table.categorical")
    checks.require_few(columns, categorical, config, place, path)
    features: list[Feature] = []
    begin = 0
    for name in roles.features:
        if name in categorical:
            made = Feature(name, begin, categories=_places(columns[name]))
        else:
            made = Feature(name, begin, columns[name].mean)
        features.append(made)
        begin += len(made.names)
    return features, list(_notes(config, roles, found, categorical))


def _places(column: Column) -> dict[str, int]:
    return {category: place for place, category in enumerate(labels.order(column.distinct))}


def _whose(roles: Roles, found: Survey) -> str:
    """Say which rows a mean is taken of: the file is read before it is divided."""
    rows = f"over its {TRAIN} rows" if roles.split else "over all rows"
    return rows if "test" in found.splits else f"{rows}, those of the test split too"


def _notes(config: Config, roles: Roles, found: Survey, categorical: tuple[str, ...]) -> list[str]:
    notes = []
    if categorical and config.categorical is None:
        said = ", ".join(f"{name} ({len(found.columns[name].distinct)})" for name in categorical)
        notes.append(f"data.table.categorical is not given: these columns hold more than numbers, {said} categories")
    if config.missing == "leave_out" and found.complete < found.rows:
        notes.append(f"{found.rows - found.complete} of {found.rows} rows are left out: they have cells without value")
    gaps = [name for name in roles.features if found.columns[name].missing]
    if config.missing == "mean" and gaps:
        said = ", ".join(
            f"{name} {found.columns[name].missing}"
            + ("" if name in categorical else f" (now {found.columns[name].mean:g})")
            for name in gaps
        )
        notes.append(
            f"cells without a value, which become the column's mean ({_whose(roles, found)}), or no category: {said}"
        )
    return notes
