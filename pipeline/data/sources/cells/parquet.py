"""Parquet, read in batches of rows by pyarrow, which is an extra."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import InputError, MissingError

# rows that are held at once
_ROWS = 4096


class Parquet:
    """A file of columns of one type each; null and NaN are empty cells, true is 1 and false 0."""

    place = "row"

    def __init__(self, path: Path) -> None:
        self.path = path

    def header(self) -> tuple[str, ...]:
        """See `Cells.header`."""
        with _translated(self.path), self._opened() as file:
            schema = file.schema_arrow
        names = tuple(str(name).strip() for name in schema.names)
        if len(set(names)) < len(names) or not all(names):
            raise InputError(
                f"the columns of the data file {self.path} cannot be told apart", expected="a different name for each",
                found=", ".join(names), todo="rename them",
            )  # fmt: skip
        return names

    def chunks(self) -> Iterator[tuple[list[int], list[list[str]]]]:
        """See `Cells.chunks`."""
        names = self.header()
        line = 1
        with _translated(self.path), self._opened() as file:
            for batch in file.iter_batches(batch_size=_ROWS):
                columns = [
                    _cells(column.to_pylist(), name, self.path)
                    for name, column in zip(names, batch.columns, strict=True)
                ]
                rows = [list(row) for row in zip(*columns, strict=True)]
                yield list(range(line, line + len(rows))), rows
                line += len(rows)

    def _opened(self) -> Any:
        if not _installed():
            raise MissingError(
                f"the data file {self.path} is read by pyarrow, which is not installed", expected="pyarrow",
                found="no such package in this Python environment", todo="pip install pyarrow",
            )  # fmt: skip
        import pyarrow.parquet

        return pyarrow.parquet.ParquetFile(self.path)


def _installed() -> bool:
    return importlib.util.find_spec("pyarrow") is not None


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises for a damaged file into one message."""
    try:
        yield
    except (ValueError, OSError, NotImplementedError) as error:  # of which pyarrow's own are made
        raise InputError(
            f"the data file {path} is not a readable .parquet file", expected="a whole Parquet file",
            found=(str(error).splitlines() or [type(error).__name__])[0], todo="get the file again",
        ) from None  # fmt: skip


def _cells(values: list[Any], name: str, path: Path) -> list[str]:
    """Return a column's values as they would be written in a .csv."""
    cells = []
    for value in values:
        if value is None or value != value:
            cells.append("")
        elif isinstance(value, (bool, int, float)):
            cells.append(repr(int(value) if isinstance(value, bool) else value))
        elif isinstance(value, (list, dict, tuple)):
            raise InputError(
                f"the column {name} of the data file {path} holds several values in a cell",
                expected="one number, text or date in each", found=f"a {type(value).__name__}",
                todo="make columns of them",
            )  # fmt: skip
        else:
            cells.append((value.decode() if isinstance(value, bytes) else str(value)).strip())
    return cells
