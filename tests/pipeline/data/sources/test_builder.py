from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline import data, recipe
from pipeline.data import DataConfig
from pipeline.data.sources import builder
from pipeline.data.sources.source import Source
from pipeline.errors import InputError
from tests.pipeline.data.sources.preparing import prepare_in

_CODE = """
    import numpy as np
    from .sizes import ROWS

    def rows(shift=0, path=None):
        y = np.arange(ROWS) % 2
        x = np.stack([y + shift, np.arange(ROWS)], axis=1)
        return {"x": x, "y": y, "classes": ["no", "yes"], "groups": np.arange(ROWS) // 2, "columns": ["a", "b"]}
"""


def _write(folder: Path, code: str = _CODE, function: str = "rows", **keys: Any) -> DataConfig:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(textwrap.dedent(code), encoding="utf-8")
    (folder / "sizes.py").write_text("ROWS = 40\n", encoding="utf-8")
    return DataConfig(source="builder", builder=f"{folder}/mine.py:{function}", **keys)


def _load(config: DataConfig, folder: Path) -> Source:
    return builder.load(config, prepare_in(folder))


def test_what_the_function_returns_is_the_data(tmp_path: Path) -> None:
    source = _load(_write(tmp_path / "own", builder_options={"shift": 5}), tmp_path)
    assert source.x["features"][:2].tolist() == [[5, 0], [6, 1]]
    assert isinstance(source.x["features"], np.memmap)
    assert source.targets[""].classes == ("no", "yes")
    assert source.columns == {"features": ("a", "b")}
    assert source.groups is not None
    assert source.groups[:4].tolist() == [0, 0, 1, 1]
    splits = data.load(_write(tmp_path / "own"))
    assert splits.spec.input.column_ranges[0] == (0, 1)
    assert data.input_shapes(_write(tmp_path / "own")) is None


def test_texts_and_a_test_split_come_as_they_are(tmp_path: Path) -> None:
    code = """
        def texts():
            said = ["hello", "a longer one, ä"] * 4
            return dict(x_train=said, y_train=[0, 1] * 4, x_test=["new", ""], y_test=[1, 0])
    """
    source = _load(_write(tmp_path / "own", code, "texts"), tmp_path)
    assert list(source.x["text"][[0, 1, -2, -1]]) == ["hello", "a longer one, ä", "new", ""]
    assert source.given["test"].tolist() == [8, 9]


def test_the_content_is_the_code_and_what_the_path_names(tmp_path: Path) -> None:
    config = _write(tmp_path / "own")
    before = data.content_hash(config)
    assert data.content_hash(_write(tmp_path / "elsewhere")) == before
    (tmp_path / "own" / "sizes.py").write_text("ROWS = 20\n", encoding="utf-8")
    assert data.content_hash(config) != before
    (tmp_path / "raw.bin").write_bytes(b"1")
    given = _write(tmp_path / "own", path=str(tmp_path / "raw.bin"))
    first = data.content_hash(given)
    (tmp_path / "raw.bin").write_bytes(b"22")
    assert len({before, first, data.content_hash(given)}) == 3
    assert config.decisive()["builder_function"] == "rows"
    assert "builder" not in config.decisive()


def test_where_files_lie_below_the_path_is_content_and_where_the_path_lies_is_not(tmp_path: Path) -> None:
    def given() -> DataConfig:
        return _write(tmp_path / "own", path=str(tmp_path / "photos"))

    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "cat" / "1.png").write_bytes(b"1")
    before = data.content_hash(given())
    (tmp_path / "photos").rename(tmp_path / "moved")
    assert data.content_hash(_write(tmp_path / "own", path=str(tmp_path / "moved"))) == before
    (tmp_path / "moved").rename(tmp_path / "photos")
    (tmp_path / "photos" / "cat").rename(tmp_path / "photos" / "dog")
    assert data.content_hash(given()) != before


def test_the_path_is_an_argument(tmp_path: Path) -> None:
    code = """
        import numpy as np

        def lines(path):
            values = np.loadtxt(path)
            return {"x": values[:, :1], "y": values[:, 1].astype(int)}
    """
    (tmp_path / "raw.txt").write_text("0.5 0\n1.5 1\n" * 3, encoding="utf-8")
    source = _load(_write(tmp_path / "own", code, "lines", path=str(tmp_path / "raw.txt")), tmp_path)
    assert source.x["features"][:, 0].tolist() == [0.5, 1.5] * 3
    with pytest.raises(InputError, match=r"there is no .*none"):
        builder.files(_write(tmp_path / "own", path=str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("None", "returns no arrays[\\s\\S]*None: it lacks a return"),
        ("([1], [2])", "returns no arrays[\\s\\S]*a tuple"),
        ("dict(x=[[1.0]] * 4, label=[0, 1] * 2)", "the key 'label'"),
        ("dict(x=[[1.0]] * 4, class_=[0, 1] * 2)", "did you mean classes"),
        ("dict(x=[[1.0]] * 4)", "the arrays of .* lacks y_train"),
        ("dict(x=[[1.0], [1.0, 2.0]], y=[0, 1])", "x: .*inhomogeneous"),
        ("dict(x=[[1.0]] * 4, y=[0, 1])", "x_train and y_train differ in length"),
        ("dict(x=[[1.0]] * 4, y=[0, 1] * 2, groups=[1])", r"groups: int64 \[1\], for 4 samples"),
        ("dict(x=[[1.0]] * 4, y=[0, 1] * 2, columns=['a', 'a'])", r"2 columns, 1 different names, for x \[4, 1\]"),
        ("1 / 0", r"fails[\s\S]*ZeroDivisionError: division by zero \(.*mine\.py, line 2\)"),
    ],
)
def test_a_function_that_returns_something_else_is_told_so(returned: str, message: str, tmp_path: Path) -> None:
    config = _write(tmp_path / "own", f"def rows():\n    return {returned}")
    with pytest.raises(InputError, match=message):
        _load(config, tmp_path)


def test_a_name_that_is_not_there_is_told_without_running_the_file(tmp_path: Path) -> None:
    config = _write(tmp_path / "own", "raise SystemExit\ndef row(): ...")
    with pytest.raises(InputError, match=r"has no rows[\s\S]*data\.builder asks for[\s\S]*did you mean row\?"):
        data.input_shapes(config)


def test_a_recipe_file_with_code_needs_trust(tmp_path: Path) -> None:
    config = _write(tmp_path / "own")
    text = f"name: own\ndata: {{builder: '{config.builder}'}}\nmodel: {{architecture: mlp}}\ntrain: {{}}\n"
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"would run code[\s\S]*data\.builder="):
        recipe.load(str(tmp_path / "own.yaml"))
    trusted = recipe.load(str(tmp_path / "own.yaml"), trusted=True)
    assert trusted.data.source == "builder"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "builder"}, "the source builder needs builder"),
        ({"source": "digits", "builder": "a.py:f"}, "the section builder is for the source builder"),
        ({"source": "builder", "builder": "a.py"}, "should match pattern"),
        ({"builder_options": {"a": 1}}, "builder_options are for the source builder"),
    ],
)
def test_keys_that_cannot_be_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataConfig.model_validate(fields)
