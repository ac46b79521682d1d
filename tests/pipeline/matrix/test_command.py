"""The command `modelmill matrix`, with runs that do next to nothing; and one that is real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import cli, foresight
from pipeline import run as runs
from pipeline.errors import DiskError, InputError, RunError
from pipeline.recipe import Recipe
from pipeline.report import matrix as document
from pipeline.run_folder import RunFolder
from tests.pipeline.matrix.made import forecast, report

FEW = ("--set", "export={tflite: [float32, int8], onnx: [], after_training: true}")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked for: the folders of the runs, and of doctor the recipes' names, each with a question mark."""
    asked: list[str] = []

    def foresee(recipe: Recipe, made: object, *_: object) -> Any:
        assert made == {}
        asked.append(f"{recipe.name}?")
        return forecast(recipe, {})

    def run(recipe: Recipe, folder: RunFolder, *_: object) -> Any:
        asked.append(folder.path.name)
        return report(recipe)

    monkeypatch.setattr(foresight, "foresee", foresee)
    monkeypatch.setattr(foresight, "differences", lambda *_: [])  # of layers and sizes, which nothing here has
    monkeypatch.setattr(runs, "run", run)
    monkeypatch.chdir(tmp_path)
    return asked


def modelmill(*arguments: str) -> int:
    code: int = cli.app(["matrix", *arguments], standalone_mode=False)
    return code


def test_doctor_is_asked_before_and_each_row_is_run_and_the_result_written_shown_and_named(
    made: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert modelmill("--architecture", "mlp", "--architecture", "text_rnn", *FEW) == 0
    assert made == ["mlp?", "mlp", "text_rnn?", "text_rnn"]
    shown, told = capsys.readouterr()
    assert "2 models in 5 formats and precisions: 10 of 10 files work" in shown
    assert "report: runs/matrix-mlp-text_rnn/matrix.html" in shown  # beside the matrix of all rows
    assert "model 2 of 2: runs/matrix-mlp-text_rnn/text_rnn" in told
    found = document.read(Path("runs/matrix-mlp-text_rnn"))
    assert found.command == f"modelmill matrix --architecture mlp --architecture text_rnn --set '{FEW[1]}'"
    assert Path("runs/matrix-mlp-text_rnn/matrix.md").is_file()


def test_command_that_makes_it_again_says_where_to_and_with_which_store(made: list[str]) -> None:
    assert modelmill("--architecture", "mlp", "--quiet", *FEW, "--out", "here", "--store", "kept", "--trust") == 0
    assert document.read(Path("here")).command.endswith("' --out here --store kept --trust")
    assert made


def test_events_are_json_lines(made: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert modelmill("--architecture", "mlp", "--json", "--out", "here", *FEW) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events == [
        {"event": "row", "row": "mlp", "place": 1, "of": 1, "folder": "here/mlp"},
        {"event": "finished", "exit_code": 0, "report": "here/matrix.json"},
    ]
    assert made == ["mlp?", "mlp"]


def test_what_doctor_did_not_foresee_is_an_exit_code(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    died = {"prune.tflite.float32": "the converter died: signal 11"}
    monkeypatch.setattr(runs, "run", lambda recipe, *_: report(recipe, errors=died))
    assert modelmill("--architecture", "mlp", "--quiet", *FEW) == 1
    monkeypatch.setattr(foresight, "foresee", lambda recipe, *_: forecast(recipe, died))
    assert modelmill("--architecture", "mlp", "--quiet", *FEW) == 0
    assert made == ["mlp?"]


def test_failure_of_the_moment_is_an_exit_code_and_said_to_be_tried_again(
    made: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    late = {"prune.tflite.float32": "it took longer than 240 s"}
    monkeypatch.setattr(runs, "run", lambda recipe, *_: report(recipe, errors=late, passing=True))
    assert modelmill("--architecture", "mlp", *FEW) == 4
    assert "1 failed of the moment: the same command tries again" in capsys.readouterr().out
    assert made == ["mlp?"]


def test_model_that_fails_is_a_row_and_what_fails_all_ends_the_command(
    made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(error: Exception) -> None:
        def run(recipe: Recipe, *_: object) -> Any:
            if recipe.name == "mlp":
                raise error
            return report(recipe)

        monkeypatch.setattr(runs, "run", run)

    failing(RunError("train: the loss is not finite"))
    here = ("--quiet", "--out", "here", *FEW)
    assert modelmill("--architecture", "mlp", "--architecture", "cnn", *here) == 0
    mlp, cnn = document.read(Path("here")).rows
    assert {cell.reason for cell in mlp.cells} == {"train: the loss is not finite"}
    assert all(cell.ran for cell in cnn.cells)
    failing(DiskError("no space left"))
    with pytest.raises(DiskError):
        cli.app(["matrix", "--architecture", "mlp", *here], standalone_mode=False)
    assert not list(Path("here").glob("matrix.*"))  # nothing of an earlier call survives one that failed
    assert made == ["mlp?", "cnn?", "mlp?"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--architecture", "crn"], "--architecture crn: there is none"),
        (["--json", "--quiet"], "--json and --quiet exclude each other"),
        (["--set", "measure=null"], "a matrix needs files that are measured, and the recipe matrix has no section"),
        (["--architecture", "text_rnn", "--set", "data.source=iris"], "a problem"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_run(made: list[str], arguments: list[str], what: str) -> None:
    with pytest.raises(InputError) as caught:
        cli.app(["matrix", *arguments], standalone_mode=False)
    assert what in caught.value.what
    assert made == []


def test_folder_of_a_run_is_not_taken(made: list[str]) -> None:
    Path("mine").mkdir()
    Path("mine/recipe.yaml").write_text("name: mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"mine is a run's folder(.|\n)*choose another --out"):
        cli.app(["matrix", "--out", "mine"], standalone_mode=False)
    assert made == []


def test_loop_of_a_gru_costs_its_int8_file_alone_and_doctor_says_so_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    brief = ("train.epochs=1", "prune=null", "quantize=null", "export={tflite: [float32, int8], onnx: []}")
    assert modelmill("--architecture", "rnn_gru_loop", *(word for one in brief for word in ("--set", one))) == 0
    (row,) = document.read(Path("runs/matrix-rnn_gru_loop")).rows
    assert [cell.column.entry for cell in row.cells if cell.ran] == ["float32", "float32"]
    (refused,) = (cell for cell in row.cells if cell.ran is None)
    assert refused.column.entry == "int8"
    assert refused.foreseen and "TensorFlow's converter cannot quantize the loop" in refused.reason
