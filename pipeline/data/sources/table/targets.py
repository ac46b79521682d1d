"""What a table's columns to predict become: classes, labels of 0 and 1, or numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.sources import labels
from pipeline.data.sources.cells import number
from pipeline.data.sources.table import checks
from pipeline.data.sources.table.roles import Roles
from pipeline.data.sources.table.survey import SHOWN, Column, Survey
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.data.config import DataConfig


@dataclass(frozen=True)
class Answers:
    """How rows say what is to be answered.

    Attributes:
        classes: names; None: numbers.
        width: values of a row, 0 where it is one class.
        dtype: of what is stored.
        value: a cell -> what is stored.
    """

    classes: tuple[str, ...] | None
    width: int
    dtype: str
    value: Callable[[str], Any]


def of(data: DataConfig, roles: Roles, found: Survey, place: str, path: Path) -> Answers | None:
    """Return how the targets are read; None where there are none.

    Raises:
        InputError: they do not fit the task.
    """
    names = roles.targets
    if not names:
        if data.task == "reconstruction":
            return None
        raise InputError(
            "data.table does not say which column is to be predicted", expected="data.table.target",
            found=f"columns {', '.join(roles.header[:20])}", todo="--set data.table.target=COLUMN",
        )  # fmt: skip
    if data.task == "regression":
        checks.require_numbers(found.columns, names, place, path, "numbers to predict (data.task regression)")
        return Answers(None, len(names), "float64", float)
    if data.task == "multilabel":
        return _labels(data, names, found, path)
    if len(names) > 1:
        raise InputError(
            "data.table.target names several columns", expected="one column of classes, or another task",
            found=", ".join(names), todo="set data.task to multilabel (labels of 0 and 1) or regression (numbers)",
        )  # fmt: skip
    return _classes(data, names[0], found.columns[names[0]], path)


def _labels(data: DataConfig, names: tuple[str, ...], found: Survey, path: Path) -> Answers:
    strange = {
        name: [cell for cell in found.columns[name].distinct if number(cell) not in (0, 1)][:SHOWN] for name in names
    }
    strange = {name: cells for name, cells in strange.items() if cells or found.columns[name].overflow}
    if strange or len(names) < 2:
        raise InputError(
            f"the data file {path} has no columns of labels", expected="0 or 1 in each of several columns "
            "(data.task multilabel)",
            found="; ".join(f"{name}: {', '.join(map(repr, cells))}" for name, cells in strange.items())
            or f"the one column {names[0]}",
            todo="correct data.table.target or data.task",
        )  # fmt: skip
    return Answers(data.classes or names, len(names), "float32", float)


def _classes(data: DataConfig, name: str, column: Column, path: Path) -> Answers:
    cells = list(column.distinct)
    classes = labels.of_column(
        cells, data.classes, column=name, path=path, rows=column.cells, more=column.overflow,
        todo="set data.task to regression, if they are numbers to predict; else correct data.table.target",
    )  # fmt: skip
    if len(cells) < 2:
        raise InputError(
            f"the column {name} of the data file {path} has one class only", expected="at least two",
            found=f"{cells[0]!r} in each of {column.cells} rows", todo="correct data.table.target",
        )  # fmt: skip
    return Answers(classes, 0, "int64", labels.positions(cells, classes).__getitem__)
