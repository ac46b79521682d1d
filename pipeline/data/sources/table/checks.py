"""What makes a table unfit, in one message each, with columns, counts and lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.data.sources.table.config import Config
from pipeline.data.sources.table.roles import Roles
from pipeline.data.sources.table.survey import MOST, SHOWN, TRAIN, Column, Survey
from pipeline.errors import InputError

_SPLITS = (TRAIN, "validation", "test")


def require_rows(found: Survey, path: Path) -> None:
    """Raise where a table has no rows."""
    if not found.rows:
        raise InputError(
            f"the data file {path} has no rows", expected="rows below the header", found="the header alone",
            todo="check the file",
        )  # fmt: skip


def require_splits(found: Survey, roles: Roles, path: Path) -> None:
    """Raise where a row is of a split that does not exist."""
    strange = {name: count for name, count in found.splits.items() if name not in _SPLITS}
    if strange:
        raise InputError(
            f"the column {roles.split} of the data file {path} does not say the split",
            expected=", ".join(_SPLITS),
            found=", ".join(f"{name!r} in {count} rows" for name, count in list(strange.items())[:SHOWN]),
            todo="write one of these in each row, or leave out data.table.split",
        )  # fmt: skip
    if found.splits and TRAIN not in found.splits:
        raise InputError(
            f"the column {roles.split} of the data file {path} leaves nothing to train with", expected=f"{TRAIN!r}",
            found=", ".join(found.splits), todo="leave out data.table.split",
        )  # fmt: skip


def require_values(found: Survey, roles: Roles, config: Config, place: str, path: Path) -> None:
    """Raise where cells are missing and the recipe does not say what becomes of them, or nothing is left."""
    refused = found.columns if config.missing == "refuse" else {name: found.columns[name] for name in roles.needed}
    gaps = list(_gaps(refused, place)) if config.missing != "leave_out" else []
    if gaps:
        needed = any(found.columns[name].missing for name in roles.needed)
        raise InputError(
            f"the data file {path} has cells without a value", expected="a value in each column that is used",
            found="; ".join(gaps),
            todo="complete them, or --set data.table.missing=leave_out (these rows)"
            + ("" if needed else " or mean"),
        )  # fmt: skip
    if not found.complete and config.missing == "leave_out":
        raise InputError(
            f"no row of the data file {path} has a value in each column that is used", expected="complete rows",
            found="; ".join(_gaps(found.columns, place)), todo="name columns in data.table.drop",
        )  # fmt: skip


def _gaps(columns: dict[str, Column], place: str) -> Iterator[str]:
    for name, column in columns.items():
        if column.missing:
            lines = ", ".join(map(str, column.first_missing))
            more = ", ..." if column.missing > len(column.first_missing) else ""
            yield f"{name}: {column.missing} of {column.cells} ({place} {lines}{more})"


def require_numbers(columns: dict[str, Column], names: tuple[str, ...], place: str, path: Path, why: str) -> None:
    """Raise where columns that have to be of numbers are not, or hold such as float32 has not.

    Args:
        why: what makes them such, for the message.
    """
    bad = [
        f"{name}: {columns[name].others} of {columns[name].cells} cells, such as "
        + ", ".join(f"{one[:-1].replace(' (', f' ({place} ')})" for one in columns[name].first_others)
        for name in names
        if columns[name].others
    ]
    if bad:
        raise InputError(
            f"the data file {path} holds cells that are no numbers", expected=why, found="; ".join(bad),
            todo="correct them; name such a cell in data.table.missing_values where it means no value, the "
            "column in data.table.categorical where it holds categories",
        )  # fmt: skip
    _require_float32(columns, names, place, path)


def _require_float32(columns: dict[str, Column], names: tuple[str, ...], place: str, path: Path) -> None:
    bad = []
    for name in names:
        column = columns[name]
        if column.beyond:
            lines = ", ".join(map(str, column.first_beyond))
            more = ", ..." if column.beyond > len(column.first_beyond) else ""
            bad.append(f"{name}: {column.beyond} of {column.cells} cells ({place} {lines}{more})")
    if bad:
        raise InputError(
            f"the data file {path} holds numbers that are too large",
            expected=f"at most {MOST:.3g}, the largest of float32", found="; ".join(bad),
            todo="correct them, scale the column, or name it in data.table.drop",
        )  # fmt: skip


def require_few(columns: dict[str, Column], names: tuple[str, ...], config: Config, place: str, path: Path) -> None:
    """Raise where columns have more categories than the recipe allows."""
    many = []
    for name in names:
        column = columns[name]
        if column.overflow:
            there = column.cells - column.missing
            strange = f"; {there - column.others} of {there} cells are numbers" if column.others < there else ""
            first = ", ".join(column.first_others[:2]).replace("(", f"({place} ")
            many.append(f"{name}: such as {first}{strange}" if first else name)
    if many:
        raise InputError(
            f"the data file {path} has columns with more than {config.max_categories} categories",
            expected=f"at most {config.max_categories} (data.table.max_categories)", found=" | ".join(many),
            todo="a text or a row's id belongs in data.table.drop; where all but a few cells are numbers, correct "
            "those, or name them in data.table.missing_values",
        )  # fmt: skip
