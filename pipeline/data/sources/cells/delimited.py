"""CSV and TSV in UTF-8, gzipped or not, a header in the first line."""

from __future__ import annotations

import codecs
import csv
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pipeline.errors import InputError

# rows that are held at once
_ROWS = 4096
# lines that a message names
_SHOWN = 5
# characters of a cell: a text may be long, but a quotation mark that is never closed takes the rest of the file
_LONGEST = 10_000_000


class Delimited:
    """A file of lines, or of records that quotation marks carry over several lines."""

    place = "line"

    def __init__(self, path: Path, delimiter: str, quoted: bool) -> None:
        self.path, self._delimiter, self._quoted = path, delimiter, quoted

    def header(self) -> tuple[str, ...]:
        """See `Cells.header`."""
        with self._records() as records:
            for _, cells in records:
                return self._named(cells)
        raise self._refused("a header with the names of the columns", "an empty file")

    def chunks(self) -> Iterator[tuple[list[int], list[list[str]]]]:
        """See `Cells.chunks`."""
        wide = len(self.header())
        lines: list[int] = []
        rows: list[list[str]] = []
        ragged: list[str] = []
        total = 0
        with self._records() as records:
            next(records)
            for line, cells in records:
                if len(cells) != wide:
                    if total < _SHOWN:
                        ragged.append(f"line {line}: {len(cells)}")
                    total += 1
                    continue
                lines.append(line)
                rows.append(cells)
                if len(rows) == _ROWS:
                    yield lines, rows
                    lines, rows = [], []
        if total:
            more = f", and {total - _SHOWN} more" if total > _SHOWN else ""
            raise InputError(
                f"the data file {self.path} has rows of another number of cells than its header",
                expected=f"{wide} cells in each, with {self._delimiter!r} between them",
                found=f"{total} such rows: {', '.join(ragged)}{more}",
                todo="correct these lines; a cell with a delimiter in it has to be in quotation marks",
            )  # fmt: skip
        if rows:
            yield lines, rows

    def _named(self, cells: list[str]) -> tuple[str, ...]:
        empty = [str(place) for place, name in enumerate(cells, 1) if not name]
        twice = sorted({name for name in cells if name and cells.count(name) > 1})
        if empty or twice:
            raise self._refused(
                "a header with a different name for each column",
                "; ".join(
                    [*([f"no name in the places {', '.join(empty)}"] if empty else []),
                     *([f"more than once: {', '.join(twice)}"] if twice else [])]
                ),
            )  # fmt: skip
        others = [
            one for one in (",", ";", "\t", "|") if one != self._delimiter and len(cells) == 1 and one in cells[0]
        ]
        if others:
            raise self._refused(f"cells with {self._delimiter!r} between them", f"one cell, with {others[0]!r} in it")
        return tuple(cells)

    def _refused(self, expected: str, found: str) -> InputError:
        return InputError(
            f"the header of the data file {self.path} cannot be used", expected=expected, found=found,
            todo="correct the first line, or say what is between cells: data.table.delimiter or "
            "data.text_file.delimiter",
        )  # fmt: skip

    @contextmanager
    def _records(self) -> Iterator[Iterator[tuple[int, list[str]]]]:
        """Give (line, stripped cells) of each record, the header first; blank lines are none."""
        opened = gzip.open if self.path.suffix.lower() == ".gz" else Path.open
        csv.field_size_limit(_LONGEST)
        try:
            with opened(self.path, "rb") as file:
                yield self._read(file)  # type: ignore[arg-type]
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise InputError(
                f"the data file {self.path} is not a readable .gz file", expected="a whole gzip file",
                found=str(error) or type(error).__name__, todo="get the file again",
            ) from None  # fmt: skip

    def _read(self, file: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
        options = {} if self._quoted else {"quoting": csv.QUOTE_NONE}
        reader = csv.reader(self._lines(file), delimiter=self._delimiter, strict=True, **options)  # type: ignore[arg-type]
        line = 1
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise InputError(
                    f"the data file {self.path} cannot be read from line {line} on",
                    expected=f"cells with {self._delimiter!r} between them"
                    + (", in quotation marks where they hold one" if self._quoted else ""),
                    found=str(error),
                    todo="correct the line; where quotation marks are part of the text, "
                    "--set data.text_file.quoted=false or --set data.table.quoted=false",
                ) from None
            if cells:
                yield line, [cell.strip() for cell in cells]
            line = reader.line_num + 1

    def _lines(self, file: IO[bytes]) -> Iterator[str]:
        for number, line in enumerate(file, 1):
            if number == 1:
                if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                    raise self._no_text(1, "UTF-16")
                line = line.removeprefix(codecs.BOM_UTF8)
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                raise self._no_text(number, f"the bytes {line[error.start : error.start + 4].hex(' ')}") from None

    def _no_text(self, line: int, found: str) -> InputError:
        return InputError(
            f"the data file {self.path} is no UTF-8 in line {line}", expected="text in UTF-8", found=found,
            todo="convert it, for example with `iconv -f latin1 -t utf-8`, if it is Latin-1",
        )  # fmt: skip
