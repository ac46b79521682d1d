"""Code of an author's is held to what it was when the model was imported."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from pipeline.formats import custom_code
from pipeline.formats.keras_config import Finding


def test_changed_module_and_one_beside_it_are_found_before_they_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "authors"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "own.py").write_text("import authors.beside\n", encoding="utf-8")
    (package / "beside.py").write_text("x = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("authors.own")
    recorded = custom_code.sources([Finding("code", "Own", "authors.own", "Own", "Own")])
    assert set(recorded) == {"authors", "authors.own", "authors.beside"}
    for name in recorded:
        sys.modules.pop(name)
    custom_code.require_unchanged(recorded)
    (package / "beside.py").write_text("x = 2\n", encoding="utf-8")
    with pytest.raises(LookupError, match=r"the source of authors\.beside changed since the model was imported"):
        custom_code.require_unchanged(recorded)
    (package / "own.py").unlink()
    with pytest.raises(LookupError, match=r"there is no module authors\.own"):
        custom_code.require_unchanged(recorded)
    assert not {"authors", "authors.own"} & set(sys.modules)


def test_module_without_a_source_cannot_be_recorded() -> None:
    with pytest.raises(LookupError, match="there is no module"):
        custom_code.sources([Finding("code", "Own", "not_there.own", "Own", "Own")])
