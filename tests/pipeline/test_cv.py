"""The command `modelmill cv`, with runs that do next to nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import cli
from pipeline import run as runs
from pipeline.errors import InputError, ModelmillError, RunError
from pipeline.recipe import Recipe
from pipeline.run_folder import RunFolder
from tests.pipeline.test_cross_validation import report


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders of the runs that were asked for, each of which is right a little more often."""
    asked: list[str] = []

    def run(recipe: Recipe, folder: RunFolder, *_: object, **__: object) -> Any:
        assert recipe.data.split.fold is not None
        assert folder.path.name == f"fold-{recipe.data.split.fold.index + 1}"
        asked.append(folder.path.name)
        return report(0.9 + len(asked) / 100, 0.8)

    monkeypatch.setattr(runs, "run", run)
    monkeypatch.chdir(tmp_path)
    return asked


def modelmill(*arguments: str) -> None:
    cli.app(["cv", *arguments], standalone_mode=False)


def test_result_is_written_shown_and_named(made: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    modelmill("digits-mlp", "--folds", "3")
    assert made == ["fold-1", "fold-2", "fold-3"]
    shown, told = capsys.readouterr()
    assert "digits-mlp: 3 folds of 90 samples, stratified" in shown
    assert "92.0 %" in shown
    assert "report: runs/digits-mlp-cv/cv.html" in shown
    assert "fold 3 of 3: runs/digits-mlp-cv/fold-3" in told
    found = json.loads(Path("runs/digits-mlp-cv/cv.json").read_text("utf-8"))
    assert found["stages"][0]["metrics"]["accuracy"]["values"] == pytest.approx([0.91, 0.92, 0.93])


def test_events_are_json_lines(made: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    modelmill("digits-mlp", "--folds", "2", "--json", "--out", "here")
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events == [
        {"event": "fold", "fold": 1, "of": 2, "folder": "here/fold-1"},
        {"event": "fold", "fold": 2, "of": 2, "folder": "here/fold-2"},
        {"event": "finished", "exit_code": 0, "report": "here/cv.json"},
    ]
    assert len(made) == 2


@pytest.mark.usefixtures("made")
def test_quiet_command_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    modelmill("digits-mlp", "--folds", "2", "--quiet")
    assert capsys.readouterr() == ("", "")


def test_fold_that_fails_is_named_and_leaves_no_older_result(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    modelmill("digits-mlp", "--folds", "2", "--quiet")
    before: Callable[..., Any] = runs.run

    def run(recipe: Recipe, *rest: Any) -> Any:
        if recipe.data.split.fold and recipe.data.split.fold.index == 1:
            raise RunError("train failed", todo="try again")
        return before(recipe, *rest)

    monkeypatch.setattr(runs, "run", run)
    with pytest.raises(ModelmillError) as caught:
        modelmill("digits-mlp", "--folds", "2", "--quiet")
    assert (caught.value.exit_code, caught.value.what) == (4, "fold 2 of 2: train failed")
    assert not Path("runs/digits-mlp-cv/cv.json").exists()
    assert not Path("runs/digits-mlp-cv/cv.html").exists()
    assert len(made) == 3


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--folds", "1"], "--folds 1 is impossible"),
        (["--by", "luck"], "--by luck is unknown"),
        (["--json", "--quiet"], "--json and --quiet exclude each other"),
    ],
)
def test_wrong_arguments_are_refused_before_a_folder_is_made(made: list[str], arguments: list[str], what: str) -> None:
    with pytest.raises(InputError) as caught:
        modelmill("digits-mlp", *arguments)
    assert caught.value.what == what
    assert made == []
    assert not Path("runs").exists()


def test_folder_of_a_run_is_not_taken(made: list[str]) -> None:
    Path("mine").mkdir()
    Path("mine/recipe.yaml").write_text("name: mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"mine is a run's folder(.|\n)*choose another --out"):
        modelmill("digits-mlp", "--out", "mine")
    assert made == []
