"""Tables as rows of cells, each a text as it is written in the file; read in chunks, so that a table may be large.

delimited   CSV and TSV, with the standard library's csv
parquet     Parquet, with pyarrow
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from pipeline.errors import InputError

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")


class Cells(Protocol):
    """A file of cells."""

    @property
    def place(self) -> str:
        """What the numbers of rows count: line or row."""
        ...

    def header(self) -> tuple[str, ...]:
        """Return the names of the columns, all different.

        Raises:
            InputError: there are none, or they are not different.
        """
        ...

    def chunks(self) -> Iterator[tuple[list[int], list[list[str]]]]:
        """Yield (line of each row, cells of each row), chunk by chunk.

        The line is the one that the row begins in, counted from 1; in a file without lines the row's number. Cells have
        no whitespace around them.

        Raises:
            InputError: rows have other numbers of cells than the header, or the file is damaged.
        """
        ...


def of(path: Path, delimiter: str | None = None, quoted: bool | None = None) -> Cells:
    """Return the cells of a file, by its suffix.

    Args:
        delimiter: between cells; None: a tab in a .tsv, else a comma.
        quoted: whether quotation marks enclose cells; None: in all but a .tsv.

    Raises:
        InputError: the suffix is none of SUFFIXES.
    """
    from pipeline.data.sources.cells import delimited, parquet

    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise InputError(
            f"the data file {path} is no table by its name", expected=", ".join(SUFFIXES),
            found=path.suffix or "no suffix", todo="rename the file, or convert it",
        )  # fmt: skip
    if name.endswith(".parquet"):
        return parquet.Parquet(path)
    tabs = name.removesuffix(".gz").endswith(".tsv")
    return delimited.Delimited(path, delimiter or ("\t" if tabs else ","), not tabs if quoted is None else quoted)


def number(cell: str) -> float | None:
    """Return the finite number that a cell is; None where it is none."""
    try:
        found = float(cell)
    except ValueError:
        return None
    # float() takes the digit groups of Python's source
    return found if math.isfinite(found) and "_" not in cell else None
