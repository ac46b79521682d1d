"""How far the verb validate goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline import run as runs
from pipeline.cli import app
from pipeline.errors import InputError


@pytest.mark.parametrize(("sets", "last"), [([], "measure"), (["--set", "edge.profile=raspberry-pi-4"], "edge")])
def test_validate_goes_as_far_as_the_recipe_has_limits(
    sets: list[str], last: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def instead(*_: Any, until: str, **__: Any) -> None:
        asked.append(until)
        raise InputError("no further")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "run", instead)
    CliRunner().invoke(app, ["validate", "digits", *sets])
    assert asked == [last]
