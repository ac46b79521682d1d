"""pyarrow is an extra that the tests do not need: a small stand-in has the part of its interface that is used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pipeline.data.sources import cells
from pipeline.data.sources.cells import parquet
from pipeline.errors import InputError, MissingError


class _Column(list[Any]):
    def to_pylist(self) -> list[Any]:
        return list(self)


class _File:
    names = ("number", "flag", "text")
    content: tuple[list[Any], ...] = ([1.5, None, float("nan"), 2.0], [True, False, None, True], [" a ", b"b", "c", ""])

    def __init__(self, path: Path) -> None:
        if path.read_bytes() != b"PAR1":
            raise ValueError("Parquet magic bytes not found in footer.\nMore of it")
        self.schema_arrow = SimpleNamespace(names=self.names)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def iter_batches(self, batch_size: int) -> Iterator[Any]:
        assert batch_size > 1
        for begin in (0, 3):
            yield SimpleNamespace(columns=[_Column(column[begin : begin + 3]) for column in self.content])


@pytest.fixture
def pyarrow(monkeypatch: pytest.MonkeyPatch) -> type[_File]:
    made, inner = ModuleType("pyarrow"), ModuleType("pyarrow.parquet")
    inner.ParquetFile = _File  # type: ignore[attr-defined]
    made.parquet = inner  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyarrow", made)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", inner)
    monkeypatch.setattr(parquet, "_installed", lambda: True)
    return _File


@pytest.mark.usefixtures("pyarrow")
def test_values_are_cells_as_a_csv_would_have_them(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    table = cells.of(tmp_path / "a.parquet")
    assert table.header() == ("number", "flag", "text")
    assert list(table.chunks()) == [
        ([1, 2, 3], [["1.5", "1", "a"], ["", "0", "b"], ["", "", "c"]]),
        ([4], [["2.0", "1", ""]]),
    ]


def test_damaged_files_and_cells_of_several_values_are_refused(
    tmp_path: Path, pyarrow: type[_File], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PA")
    with pytest.raises(InputError, match=r"not a readable \.parquet file") as refused:
        cells.of(tmp_path / "a.parquet").header()
    assert refused.value.found == "Parquet magic bytes not found in footer."
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(pyarrow, "content", ([[1, 2]], [1], [2]))
    with pytest.raises(InputError, match=r"the column number of the data file .* holds several values in a cell"):
        list(cells.of(tmp_path / "a.parquet").chunks())


def test_pyarrow_is_asked_for_when_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_installed", lambda: False)
    with pytest.raises(MissingError, match="pip install pyarrow"):
        cells.of(tmp_path / "a.parquet").header()
