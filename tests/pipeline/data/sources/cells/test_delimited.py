from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pipeline.data.sources import cells
from pipeline.errors import InputError


def _rows(path: Path, **options: bool) -> list[tuple[int, list[str]]]:
    return [
        one for lines, rows in cells.of(path, **options).chunks() for one in zip(lines, rows, strict=True)
    ]  # fmt: skip


def _written(folder: Path, content: bytes, name: str = "a.csv") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def test_rows_have_the_line_that_they_begin_in_when_quoted_cells_hold_newlines(tmp_path: Path) -> None:
    path = _written(tmp_path, b'a,b\r\n1,"two\nlines, really"\n\n 3 ,4\n')
    assert cells.of(path).header() == ("a", "b")
    assert _rows(path) == [(2, ["1", "two\nlines, really"]), (5, ["3", "4"])]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert cells.of(_written(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n")).header() == ("a", "b")


def test_a_gzipped_file_reads_as_the_plain_one(tmp_path: Path) -> None:
    path = _written(tmp_path, gzip.compress(b"a\tb\n1\t2\n"), "a.tsv.gz")
    assert _rows(path) == [(2, ["1", "2"])]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"a\.tsv\.gz is not a readable \.gz file"):
        _rows(path)


def test_quotation_marks_are_text_in_a_tsv_and_enclose_cells_in_a_csv(tmp_path: Path) -> None:
    content = b'a\tb\n1\t"so\n'
    assert _rows(_written(tmp_path, content, "a.tsv")) == [(2, ["1", '"so'])]
    with pytest.raises(InputError, match="cannot be read from line 2 on") as refused:
        _rows(_written(tmp_path, content, "a.tsv"), quoted=True)
    assert "unexpected end of data" in str(refused.value)
    assert "quoted=false" in refused.value.todo


def test_rows_of_another_width_are_refused_together_with_their_lines(tmp_path: Path) -> None:
    path = _written(tmp_path, b"a,b\n" + b"1,2\n" * 2 + b"1\n" + b"1,2,3\n" * 6)
    with pytest.raises(InputError, match="rows of another number of cells") as refused:
        _rows(path)
    assert refused.value.found == "7 such rows: line 4: 1, line 5: 3, line 6: 3, line 7: 3, line 8: 3, and 2 more"


def test_what_is_no_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no UTF-8 in line 3") as refused:
        _rows(_written(tmp_path, b"a,b\n1,2\n3,caf\xe9\n"))
    assert refused.value.found == "the bytes e9 0a"
    with pytest.raises(InputError, match="no UTF-8 in line 1") as refused:
        _rows(_written(tmp_path, "a,b\n1,2\n".encode("utf-16")))
    assert refused.value.found == "UTF-16"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"a,b,a,,b\n1,2,3,4,5\n", "no name in the places 4; more than once: a, b"),
        (b"a;b\n1;2\n", "one cell, with ';' in it"),
    ],
)
def test_a_header_that_names_no_columns_is_refused(content: bytes, found: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the header of the data file") as refused:
        cells.of(_written(tmp_path, content)).header()
    assert refused.value.found == found


def test_a_file_that_is_no_table_by_its_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.xlsx is no table by its name"):
        cells.of(tmp_path / "a.xlsx")
