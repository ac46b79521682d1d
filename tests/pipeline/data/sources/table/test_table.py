from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline import data
from pipeline.data import DataConfig
from pipeline.data.sources import table
from pipeline.data.sources.source import Source
from pipeline.errors import InputError
from tests.pipeline.data.sources.preparing import prepare_in

Write = Callable[..., DataConfig]
_COLORS = ("red", "blue", "red", "green")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write lines into a .csv, and return the config that names it; `task` and the like are keys of `data`."""

    def written(*lines: str, keys: dict[str, Any] | None = None, **section: Any) -> DataConfig:
        path = tmp_path / "a.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        fields = {"source": "table", "path": str(path), "table": section, **(keys or {})}
        return DataConfig.model_validate(fields)

    return written


@pytest.fixture
def read(tmp_path: Path) -> Callable[[DataConfig], Source]:
    return lambda config: table.load(config, prepare_in(tmp_path))


def _lines(rows: int = 24) -> list[str]:
    """Return a table with an id, a number, a category, a group and a class."""
    return [
        "id,age,color,home,kind",
        *(f"{row},{20 + row},{_COLORS[row % 4]},h{row // 4},{'no' if row % 2 else 'yes'}" for row in range(rows)),
    ]


def test_numbers_stay_raw_and_categories_become_columns(write: Write, read: Any) -> None:
    source = read(write(*_lines(), target="kind", drop=["id"], group="home"))
    assert source.columns == {"features": ("age", "color=blue", "color=green", "color=red")}
    x = source.x["features"]
    assert (x.dtype, x.shape) == (np.float32, (24, 4))
    assert x[:4].tolist() == [[20, 0, 0, 1], [21, 1, 0, 0], [22, 0, 0, 1], [23, 0, 1, 0]]
    assert source.targets[""].classes == ("no", "yes")
    assert source.targets[""].y[:3].tolist() == [1, 0, 1]
    assert source.groups.tolist() == [row // 4 for row in range(24)]
    assert source.notes == (
        "data.table.categorical is not given: these columns hold more than numbers, color (3) categories",
    )


def test_splits_scale_each_column_by_its_own_range(write: Write) -> None:
    lines = [line + ("" if row else ",always") for row, line in enumerate([f"{line},1" for line in _lines(40)[1:]])]
    splits = data.load(write("id,age,color,home,kind,always", *(line.removesuffix(",always") for line in lines),
                             target="kind", drop=["id", "home"]))  # fmt: skip
    (one,) = splits.spec.inputs
    ages = splits.train.x[:, 0]
    assert one.columns == ("age", "color=blue", "color=green", "color=red", "always")
    assert one.column_ranges == ((ages.min(), ages.max()), (0, 1), (0, 1), (0, 1), (1, 2))
    assert one.value_range == (0, ages.max())
    assert "columns that are the same in all training samples: 1 of 5: always" in splits.notes
    stated = data.load(write(*_lines(40), target="kind", features=["age"], keys={"value_range": [0, 100]}))
    assert (stated.spec.input.value_range, stated.spec.input.column_ranges) == ((0, 100), ())
    assert stated.spec.input.columns == ("age",)


def test_a_reconstruction_is_of_columns_in_their_own_ranges(write: Write) -> None:
    splits = data.load(write(*_lines(40), features=["age", "color"], keys={"task": "reconstruction"}))
    lows, highs = splits.train.x.min(axis=0), splits.train.x.max(axis=0)
    assert np.allclose(splits.validation.y, (splits.validation.x - lows) / (highs - lows))


def test_features_keep_their_order_and_numbers_can_be_categories(write: Write, read: Any) -> None:
    lines = ["code,size,y", "10,1,0", "9,2,1", "10,3,0", "9,4,1"]
    source = read(write(*lines, target="y", features=["size", "code"], categorical=["code"]))
    assert source.columns["features"] == ("size", "code=9", "code=10")
    assert source.x["features"].tolist() == [[1, 0, 1], [2, 1, 0], [3, 0, 1], [4, 1, 0]]


def test_integers_are_classes_in_the_order_of_their_numbers(write: Write, read: Any) -> None:
    rows = [f"{row},{(10, 9, 2)[row % 3]}" for row in range(12)]
    assert read(write("x,y", *rows, target="y")).targets[""].classes == ("2", "9", "10")
    named = read(write("x,y", *(f"{row},{row % 2}" for row in range(12)), target="y", keys={"classes": ["a", "b"]}))
    assert named.targets[""].classes == ("a", "b")
    assert named.targets[""].y[:2].tolist() == [0, 1]


def test_numbers_are_predicted_when_the_task_is_regression(write: Write, read: Any) -> None:
    target = read(write("x,y,z", "1,2.5,3", "4,5,6", target=["z", "y"], keys={"task": "regression"})).targets[""]
    assert target.classes is None
    assert target.y.tolist() == [[3, 2.5], [6, 5]]


def test_labels_of_0_and_1_are_classes_by_the_names_of_their_columns(write: Write, read: Any) -> None:
    keys = {"task": "multilabel"}
    target = read(write("x,wet,cold", "1,0,1", "4,1,1", target=["wet", "cold"], keys=keys)).targets[""]
    assert target.classes == ("wet", "cold")
    assert target.y.tolist() == [[0, 1], [1, 1]]
    with pytest.raises(InputError, match="has no columns of labels") as refused:
        read(write("x,wet,cold", "1,0,2", "4,1,1", target=["wet", "cold"], keys=keys))
    assert refused.value.found == "cold: '2'"


def test_a_column_can_say_the_split(write: Write, read: Any) -> None:
    rows = [f"{row},{row % 2},{part}" for row, part in enumerate(("train", "test", "train", "validation", "test"))]
    source = read(write("x,y,part", *rows, target="y", split="part"))
    assert {name: list(positions) for name, positions in source.given.items()} == {"validation": [3], "test": [1, 4]}
    assert source.columns["features"] == ("x",)
    with pytest.raises(InputError, match=r"the column part of .* does not say the split") as refused:
        read(write("x,y,part", *(row.replace("test", "tset") for row in rows), target="y", split="part"))
    assert refused.value.found == "'tset' in 2 rows"


def test_missing_cells_are_refused_with_columns_counts_and_lines(write: Write, read: Any) -> None:
    lines = ["x,color,y", "1,red,0", ",red,1", "3,NA,0", "NaN,blue,1"]
    with pytest.raises(InputError, match="has cells without a value") as refused:
        read(write(*lines, target="y"))
    assert refused.value.found == "x: 2 of 4 (line 3, 5); color: 1 of 4 (line 4)"
    assert "missing=leave_out (these rows) or mean" in str(refused.value)


def test_missing_cells_become_what_the_recipe_says(write: Write, read: Any) -> None:
    lines = ["x,color,y", "1,red,0", ",red,1", "4,NA,0", "7,blue,1"]
    mean = read(write(*lines, target="y", missing="mean"))
    assert mean.x["features"].tolist() == [[1, 0, 1], [4, 0, 1], [4, 0, 0], [7, 1, 0]]
    assert "x 1 (now 4), color 1" in mean.notes[1]
    left = read(write(*lines, target="y", missing="leave_out"))
    assert left.x["features"].tolist() == [[1, 0, 1], [7, 1, 0]]
    assert left.targets[""].y.tolist() == [0, 1]
    assert "2 of 4 rows are left out: they have cells without value" in left.notes


def test_a_mean_knows_nothing_of_the_splits_that_the_file_holds_out(write: Write, read: Any) -> None:
    lines = ["x,y,part", "1,0,train", "3,1,train", ",0,train", "100,1,test"]
    assert read(write(*lines, target="y", split="part", missing="mean")).x["features"][:, 0].tolist() == [1, 3, 2, 100]


def test_a_missing_label_is_never_filled(write: Write, read: Any) -> None:
    with pytest.raises(InputError, match="has cells without a value") as refused:
        read(write("x,y", "1,0", "2,", "3,1", target="y", missing="mean"))
    assert refused.value.found == "y: 1 of 3 (line 3)"


def test_a_few_bad_cells_make_no_categories(write: Write, read: Any) -> None:
    rows = [f"{row if row != 7 else '12;5'},{row % 2}" for row in range(200)]
    for categorical in (None, []):
        with pytest.raises(InputError, match="holds cells that are no numbers") as refused:
            read(write("x,y", *rows, target="y", categorical=categorical))
        assert refused.value.found == "x: 1 of 200 cells, such as '12;5' (line 9)"
    with pytest.raises(InputError, match="more than 100 categories") as refused:
        read(write("x,y", *rows, target="y", categorical=["x"]))
    assert refused.value.found == "x: such as '12;5' (line 9); 199 of 200 cells are numbers"


@pytest.mark.parametrize(
    ("cells", "what", "found"),
    [
        (["0.5", "1.5"], "the column y of the data file .* has no classes", "such as 0.5, 1.5"),
        (["a", "b", "c", "d"], "the column y of the data file .* has no classes", "4 different cells in 4 rows"),
        (["a", "a"], "has one class only", "'a' in each of 2 rows"),
    ],
)
def test_a_column_that_holds_no_classes_is_refused(
    cells: list[str], what: str, found: str, write: Write, read: Any
) -> None:
    with pytest.raises(InputError, match=what) as refused:
        read(write("x,y", *(f"1,{cell}" for cell in cells), target="y"))
    assert found in refused.value.found


@pytest.mark.parametrize(
    ("section", "what"),
    [
        ({"target": "knd"}, r"has no column knd[\s\S]*did you mean kind\?"),
        ({}, "data.table does not say which column is to be predicted"),
        ({"target": ["kind", "color"]}, "data.table.target names several columns"),
        ({"target": "kind", "features": ["age"], "categorical": ["color"]}, "categorical names columns that do not go"),
        ({"target": "kind", "drop": ["id", "age", "color", "home"]}, "no column of the data file .* is left"),
    ],
)
def test_columns_that_do_not_fit_are_refused(section: dict[str, Any], what: str, write: Write, read: Any) -> None:
    with pytest.raises(InputError, match=what):
        read(write(*_lines(), **section))


def test_no_rows_and_names_with_an_equals_sign_are_refused(write: Write, read: Any) -> None:
    with pytest.raises(InputError, match="has no rows"):
        read(write("x,y", target="y"))
    with pytest.raises(InputError, match=r"columns of the data file .* have an = in their names"):
        read(write("a=b,y", "1,0", "2,1", target="y"))


def test_the_shape_is_known_beforehand_when_nothing_is_a_category(write: Write) -> None:
    assert data.input_shapes(write(*_lines(), target="kind")) is None
    config = write(*_lines(), target="kind", drop=["color", "home"], categorical=[])
    assert data.input_shapes(config) == {"features": (2,)}
    with pytest.raises(InputError, match="has no column kin"):
        data.input_shapes(write(*_lines(), target="kin"))
    Path(str(config.path)).unlink()
    assert data.input_shapes(config) is None
    with pytest.raises(InputError, match=r"the data file .*a\.csv cannot be read"):
        data.content_hash(config)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "table"}, "the source table needs path, a table: .csv, .tsv"),
        ({"source": "digits", "table": {"target": "y"}}, "the section table is for the source table"),
        ({"source": "table", "path": "a.csv", "table": {"target": "y", "drop": ["y"]}}, r"two uses: y \(target, drop"),
        ({"source": "table", "path": "a.csv", "table": {"target": []}}, "target names no column"),
    ],
)
def test_sections_that_cannot_be_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataConfig.model_validate(fields)


def test_a_table_of_many_chunks_is_read_whole(write: Write, read: Any) -> None:
    rows = 10_000
    source = read(write("x,c,y", *(f"{row},{'abc'[row % 3]},{row % 2}" for row in range(rows)), target="y"))
    assert np.array_equal(source.x["features"][:, 0], np.arange(rows))
    assert np.array_equal(source.x["features"][:, 1:].argmax(axis=1), np.arange(rows) % 3)
    assert np.array_equal(source.targets[""].y, np.arange(rows) % 2)


def test_numbers_that_float32_has_not_are_refused_with_their_lines(write: Write, read: Any) -> None:
    cells = ["1e308", "1.7e308", "-3.5e38", "3.4e38", "1", "2"]
    rows = [f"{cell},{cell},{place % 2}" for place, cell in enumerate(cells)]
    with pytest.raises(InputError, match="holds numbers that are too large") as refused:
        read(write("a,b,y", *rows, target="y", features=["a"]))
    assert refused.value.found == "a: 3 of 6 cells (line 2, 3, 4)"
    with pytest.raises(InputError, match="holds numbers that are too large") as refused:
        read(write("a,b,y", *rows, target="b", features=["y"], keys={"task": "regression"}))
    assert refused.value.found == "b: 3 of 6 cells (line 2, 3, 4)"
    kept = read(write("a,b,y", *rows, target="y", categorical=["a"], features=["a"]))
    assert kept.x["features"].sum() == 6
    large = read(write("a,y", "3.4e38,0", "3.4e38,1", "3.4e38,0", "3.4e38,1", target="y"))
    assert large.x["features"].tolist() == [[pytest.approx(3.4e38)]] * 4


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"drop": ["part"]}, "the column's mean (over all rows, those of the test split too)"),
        ({"split": "part"}, "the column's mean (over its train rows)"),
    ],
)
def test_it_is_said_which_rows_a_mean_is_taken_of(section: Any, said: str, write: Write, read: Any) -> None:
    lines = ["x,y,part", "1,0,train", ",1,train", "2,0,train", "3,1,test"]
    source = read(write(*lines, target="y", missing="mean", **section))
    assert said in source.notes[0]


def test_one_stray_cell_makes_no_categories_of_a_column_of_numbers(write: Write, read: Any) -> None:
    lines = _lines(40)
    lines[7] = lines[7].replace(",26,", ",unknown,")
    with pytest.raises(InputError, match="holds cells that are no numbers") as refused:
        read(write(*lines, target="kind", drop=["id", "home"]))
    assert refused.value.found == "age: 1 of 40 cells, such as 'unknown' (line 8)"
    assert "data.table.missing_values" in refused.value.todo
    named = read(write(*lines, target="kind", drop=["id", "home"], categorical=["color", "age"]))
    assert "age=unknown" in named.columns["features"]
