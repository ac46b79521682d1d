"""What a builder's code consists of is told by reading it, and what cannot work is refused before it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.own_code.config import Builder
from pipeline.own_code.source import PRIVATE, look, surroundings
from tests.pipeline.own_code.files import MODELS, net, scaled


def test_files_beside_it_are_part_of_the_fingerprint_and_others_are_not(tmp_path: Path) -> None:
    config = scaled(tmp_path)
    (tmp_path / "another.py").write_text("x = 1\n", encoding="utf-8")
    found = look(config)
    assert sorted(found.files) == ["models.py", "net.py"]
    assert found.package.startswith(PRIVATE)
    before = surroundings(config).decisive
    assert sorted(before) == ["the builder's file", "the builder's models.py", "the builder's net.py"]
    (tmp_path / "another.py").write_text("x = 2\n", encoding="utf-8")
    assert surroundings(config).decisive == before
    (tmp_path / "models.py").write_text("x = 2\n", encoding="utf-8")
    assert surroundings(config).decisive != before


def test_same_code_elsewhere_decides_the_same(tmp_path: Path) -> None:
    one, other = scaled(tmp_path / "one"), scaled(tmp_path / "other")
    assert surroundings(one).decisive == surroundings(other).decisive
    assert one.decisive() == other.decisive()
    assert one.model_copy(update={"builder": f"{tmp_path}/one/net.py:another"}).decisive() != one.decisive()


def test_files_that_import_each_other_are_told_apart_by_which_was_named(tmp_path: Path) -> None:
    for name, other in (("big", "small"), ("small", "big")):
        text = f"def build(input_shape, classes): ...\ndef another():\n    from . import {other}\n"
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    big, small = (Builder(builder=f"{tmp_path}/{name}.py:build") for name in ("big", "small"))
    assert look(big).files == look(small).files
    assert surroundings(big).decisive != surroundings(small).decisive
    assert surroundings(big).found != surroundings(small).found


def test_imports_of_packages_beside_it_are_followed_to_their_end(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/__init__.py").write_text("from .blocks import x\n", encoding="utf-8")
    (tmp_path / "parts/blocks.py").write_text("from .. import common\nx = common.y\n", encoding="utf-8")
    config = net(tmp_path, "def build(shape, classes):\n    from . import parts\n", common="y = 1\n")
    assert sorted(look(config).files) == ["common.py", "net.py", "parts/__init__.py", "parts/blocks.py"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import models\ndef build(): ...", r"net\.py, line 1, imports models, which is another models"),
        ("from models import Scale\ndef build(): ...", r"from \.models import \.\.\., or from \. import models"),
        ("def build(:\n", r"net\.py, line 1, is not Python"),
        ("def biuld(shape, classes): ...", r"has no build(.|\n)*found: biuld(.|\n)*did you mean biuld\?"),
        ("from ..above import x\ndef build(): ...", r"line 1, imports from above the builder's folder"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_it_runs(tmp_path: Path, text: str, message: str) -> None:
    config = net(tmp_path, text, models=MODELS)
    with pytest.raises(InputError, match=message):
        look(config)


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    config = net(tmp_path)
    config.path.unlink()
    with pytest.raises(InputError, match=r"there is no file .*net\.py"):
        look(config)


def test_name_of_a_loss_that_the_file_lacks_is_told(tmp_path: Path) -> None:
    config = scaled(tmp_path).model_copy(update={"loss": "fokal"})
    with pytest.raises(InputError, match=r"has no fokal(.|\n)*model\.loss asks for(.|\n)*did you mean focal\?"):
        look(config)


def test_module_from_elsewhere_and_keras_3_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "path").mkdir()
    (tmp_path / "path/lying_about.py").write_text("x = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "path")
    found = look(net(tmp_path / "own", "import lying_about, numpy, os\nimport keras\ndef build(): ..."))
    assert found.outside == ("lying_about",)
    assert [place.rpartition(":")[2] for place in found.keras_3] == ["2"]
