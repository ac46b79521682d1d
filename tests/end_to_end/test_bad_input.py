"""What a user sees when something is wrong: one message, the right exit code, no traceback, nothing lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.command import FAST, ONLY_TRAIN, modelmill, options, report

# one network that trains in no time, with enough weights to fill a disk
SMALL = (
    "model={architecture: mlp, dense: [256]}",
    "data.augment=null",
    "export.tflite=[int8]",
    "export.onnx=[]",
    "judge={}",
)
ARGUMENTS = ["run", "digits", *options([*ONLY_TRAIN, *FAST, *SMALL])]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "nothing.yaml"], 2, "there is no recipe 'nothing.yaml'"),
        (["run", "--set", "train.epochs=many"], 2, "train.epochs: expected a valid integer"),
        (["run", "--set", "train.epochs=0"], 2, "train.epochs: expected"),
        (["run", "--set", "model.architecture=cmn"], 2, "did you mean cnn?"),
        (["run", "--set", "judge.gates.min_accuracy=1"], 2, "judge.gates.min_accuracy: unknown key"),
        (["run", "--from", "prun"], 2, "--from prun: no such stage"),
        (["run", "--until", "export", "--set", "export=null", "--set", "measure=null", "--set", "judge=null"], 2,
         "has no stage export"),
        (["run", "--json", "--quiet"], 2, "exclude each other"),
        (["run", "--nonsense"], 2, "No such option"),
        (["runn"], 2, "No such command"),
        (["show", "nowhere"], 2, "nowhere has no report.json"),
        (["init", "there.yaml"], 2, "there.yaml is there already"),
        (["run", "--out", "there.yaml"], 2, "cannot be a run's folder"),
        (["run", "--out", "/proc/modelmill"], 4, "cannot"),
    ],
)  # fmt: skip
def test_mistake_is_one_message_and_an_exit_code(arguments: list[str], code: int, words: str, tmp_path: Path) -> None:
    (tmp_path / "there.yaml").write_text("mine", encoding="utf-8")
    done = modelmill(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stdout + done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert (tmp_path / "there.yaml").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [(["digits", "--set", "train.epoch=1"], 2, "did you mean train.epochs?"), (["--out", "/proc/x"], 4, "cannot use")],
)
def test_mistake_is_an_event_too_when_json_is_asked_for(
    arguments: list[str], code: int, words: str, tmp_path: Path
) -> None:
    done = modelmill("run", "--json", *arguments, cwd=tmp_path)
    (event,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (event["event"], event["exit_code"], done.returncode) == ("error", code, code)
    assert words in event["message"]


def test_init_writes_a_recipe_that_is_accepted_under_its_own_name(tmp_path: Path) -> None:
    done = modelmill("init", "mine.yaml", cwd=tmp_path)
    assert done.stdout == "wrote mine.yaml; edit it, then: modelmill run mine.yaml\n"
    assert "\nname: mine\n" in (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    done = modelmill("run", "mine.yaml", "--set", "train.epoch=1", cwd=tmp_path)
    assert "the recipe mine.yaml has a problem" in done.stderr
    assert done.stderr.count("unknown key") == 1
    assert modelmill("init", "no/such/folder.yaml", cwd=tmp_path).returncode == 2


def test_diverged_training_stops_with_epoch_and_step_and_exit_4(tmp_path: Path) -> None:
    sets = options([*FAST, "train.optimizer={name: sgd, learning_rate: 1.0e+30}", "model.batch_norm=false"])
    done = modelmill("train", "digits", *sets, cwd=tmp_path)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "epoch 1, step" in done.stderr
    assert "Traceback" not in done.stderr
    assert report(tmp_path)["verdict"] == "error"
    assert report(tmp_path)["failure"]["stage"] == "train"
