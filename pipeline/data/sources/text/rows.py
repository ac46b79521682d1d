"""Texts from a file with a text and its label in each row."""

from __future__ import annotations

import difflib
from array import array
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.sources import cells, labels, stored
from pipeline.data.sources.text.config import Config
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.data.config import DataConfig
    from pipeline.data.sources.cells import Cells

# what people call the columns, in lower case
_TEXTS = ("text", "sms", "message", "review", "sentence", "document", "content", "body", "comment", "tweet")
_LABELS = ("label", "class", "target", "category", "sentiment", "y")
# rows whose lengths tell which of two columns is the text
_LOOKED_AT = 1000
# different labels that are remembered, and lines that a message names
_MOST_LABELS = 10_000
_SHOWN = 5


def write(config: DataConfig, section: Config, path: Path, folder: Path, name: str) -> None:
    """Write the texts of a file into a prepared folder.

    Args:
        name: of the input.

    Raises:
        InputError: the file cannot be read, columns are missing, or labels do not fit the task.
    """
    table = cells.of(path, section.delimiter, section.quoted)
    header = table.header()
    text, label, notes = _columns(table, header, section, path)
    at, target = header.index(text), header.index(label)
    group = None if section.group is None else header.index(section.group)
    seen: dict[str, int] = {}
    groups: dict[str, int] = {}
    found, members = array("q"), array("q")
    empty: list[int] = []
    unlabelled: list[int] = []
    with stored.Texts(folder, name) as texts:
        for lines, chunk in table.chunks():
            for line, row in zip(lines, chunk, strict=True):
                texts.append(row[at])
                found.append(seen.setdefault(row[target], len(seen)))
                if group is not None:
                    members.append(groups.setdefault(row[group], len(groups)))
                if not row[at]:
                    empty.append(line)
                if not row[target]:
                    unlabelled.append(line)
            if len(seen) > _MOST_LABELS and config.task != "regression":
                break
    _require_labels(found, unlabelled, label, table.place, path)
    if empty:
        notes.append(f"{len(empty)} of {len(found)} texts are empty: {table.place} {_listed(empty)}")
    classes = _write_labels(config, seen, found, folder, label, path)
    stored.describe(folder, [name], {"": classes}, groups=None if group is None else members, notes=notes)


def _columns(table: Cells, header: tuple[str, ...], section: Config, path: Path) -> tuple[str, str, list[str]]:
    """Return the names of the columns with the text and the label, and what to say of it."""
    named = [name for name in (section.text, section.label, section.group) if name is not None]
    if absent := [name for name in named if name not in header]:
        near = difflib.get_close_matches(absent[0], header, n=1)
        raise InputError(
            f"the data file {path} has no column {', '.join(absent)}", expected="the columns of data.text_file",
            found=f"columns {', '.join(header[:20])}",
            todo=f"did you mean {near[0]}?" if near else "correct data.text_file",
        )  # fmt: skip
    if section.text and section.label:
        return section.text, section.label, []
    left = [name for name in header if name not in named]
    if len(left) != 2 - len([name for name in (section.text, section.label) if name]):
        raise InputError(
            f"the data file {path} does not tell which column is the text and which its label",
            expected="two columns, or data.text_file.text and data.text_file.label",
            found=f"columns {', '.join(header[:20])}",
            todo="--set data.text_file.text=COLUMN --set data.text_file.label=COLUMN",
        )  # fmt: skip
    if section.text or section.label:
        return section.text or left[0], section.label or left[0], []
    text, why = _longer(table, header, left)
    label = next(name for name in left if name != text)
    return text, label, [f"data.text_file is not given: {text} is the text and {label} its label, by {why}"]


def _longer(table: Cells, header: tuple[str, ...], left: list[str]) -> tuple[str, str]:
    """Return which of two columns is the text, and by what."""
    texts = [name for name in left if name.lower() in _TEXTS]
    others = [name for name in left if name.lower() in _LABELS]
    if len(texts) == 1:
        return texts[0], "their names"
    if len(others) == 1:
        return next(name for name in left if name != others[0]), "their names"
    rows: list[list[str]] = []
    for _, chunk in table.chunks():
        rows += chunk
        if len(rows) >= _LOOKED_AT:
            break
    lengths = {name: sum(len(row[header.index(name)]) for row in rows) for name in left}
    return max(left, key=lambda name: lengths[name]), "their lengths"


def _require_labels(found: array[int], unlabelled: list[int], label: str, place: str, path: Path) -> None:
    if not found:
        raise InputError(
            f"the data file {path} has no rows", expected="texts below the header", found="the header alone",
            todo="check the file",
        )  # fmt: skip
    if unlabelled:
        raise InputError(
            f"texts of the data file {path} have no label", expected=f"a label in the column {label} of each row",
            found=f"{len(unlabelled)} of {len(found)} without ({place} {_listed(unlabelled)})",
            todo="complete or remove them",
        )  # fmt: skip


def _write_labels(
    config: DataConfig, seen: dict[str, int], found: array[int], folder: Path, label: str, path: Path
) -> tuple[str, ...] | None:
    """Write what is to be answered; return the names of the classes, None for numbers."""
    import numpy as np

    positions = np.frombuffer(found, np.int64)
    if config.task == "regression":
        y = stored.answers(folder, (len(found),), "float64")
        y[:] = np.array([_number(name, label, path) for name in seen])[positions]
        return None
    classes = labels.of_column(
        list(seen), config.classes, column=label, path=path, rows=len(found), more=len(seen) > _MOST_LABELS,
        todo="name the column with the label in data.text_file.label; or set data.task to regression, if they are "
        "numbers to predict",
    )  # fmt: skip
    where = labels.positions(seen, classes)
    y = stored.answers(folder, (len(found),), "int64")
    y[:] = np.array([where[name] for name in seen])[positions]
    return classes


def _number(cell: str, label: str, path: Path) -> float:
    try:
        return float(cell)
    except ValueError:
        raise InputError(
            f"the column {label} of the data file {path} holds cells that are no numbers",
            expected="numbers to predict (data.task regression)", found=repr(cell[:40]),
            todo="correct them, or leave out data.task",
        ) from None  # fmt: skip


def _listed(lines: list[int]) -> str:
    return ", ".join(map(str, lines[:_SHOWN])) + (", ..." if len(lines) > _SHOWN else "")
