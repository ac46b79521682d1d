"""Several architectures in one recipe, through the whole command: the best of some, and an ensemble that teaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command import interrupted, report
from tests.end_to_end.test_tasks import artifact, run

SELECTION = """
name: selection
data: {source: digits}
model:
  candidates: [{architecture: mlp, dense: [1]}, {architecture: mlp, dense: [16]}, {architecture: cnn, filters: [4]}]
train: {epochs: 4, batch_size: 64, tensorboard: false, optimizer: {name: adam, learning_rate: 0.01}}
"""

ENSEMBLE = """
name: ensemble
data: {source: digits}
model: {ensemble: [{architecture: cnn, filters: [8]}, {architecture: mlp, dense: [16]}], copies: 2}
train: {epochs: 4, batch_size: 64, tensorboard: false, optimizer: {name: adam, learning_rate: 0.01}}
distill:
  {student: {architecture: mlp, dense: [16]}, epochs: 10, batch_size: 64, optimizer: {name: adam, learning_rate: 0.01},
   alone: false, on_regression: continue}
export: {stages: [train, distill], tflite: [float32, int8], onnx: [float32]}
measure: {}
"""


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("several")


def several(found: dict[str, Any]) -> dict[str, Any]:
    one: dict[str, Any] = found["models"][0]["several"]
    return one


@pytest.mark.long
def test_run_that_is_killed_in_the_third_candidate_trains_the_first_two_no_further(cwd: Path) -> None:
    path = cwd / "selection.yaml"
    path.write_text(SELECTION, encoding="utf-8")

    def third(event: dict[str, Any]) -> bool:
        return event["event"] == "progress" and event["item"].startswith("candidate 3 of 3") and event["done"] == 1

    code, events, _ = interrupted(["run", path.name], cwd, when=third)
    assert code == 130
    assert sum(event["event"] == "progress" and event["unit"] == "epoch" for event in events) >= 9
    done = run(cwd, SELECTION)
    assert done.returncode == 0, done.stdout + done.stderr
    for place in (1, 2):
        assert f"candidate {place} of 3" in done.stderr
        assert "goes on after epoch 4 of 4, from its checkpoint" in done.stderr
    found = report(cwd, "selection")
    chosen = several(found)
    assert [one["model"]["architecture"] for one in chosen["fitted"]] == ["mlp", "mlp", "cnn"]
    best = max(chosen["fitted"], key=lambda one: one["quality"])
    assert chosen["fitted"][chosen["best"]] == best
    assert chosen["best"] > 0
    assert found["models"][0]["parameters"] == best["parameters"]
    assert f"train: {best['name']} goes on: " in done.stderr
    assert f"{best['name']} goes on: " in done.stdout
    assert "<h3>Candidates</h3>" in (cwd / "runs" / "selection" / "report.html").read_text(encoding="utf-8")


@pytest.mark.long
def test_ensemble_teaches_a_student_and_is_exported_and_served_as_one_model(cwd: Path) -> None:
    done = run(cwd, ENSEMBLE)
    assert done.returncode == 0, done.stdout + done.stderr
    found = report(cwd, "ensemble")
    members = several(found)
    assert len({one["seed"] for one in members["fitted"]}) == 4
    assert found["models"][0]["parameters"] == sum(one["parameters"] for one in members["fitted"])
    assert found["models"][0]["macs"] == sum(one["macs"] for one in members["fitted"])
    train, distill = (
        next(stage for stage in found["stages"] if stage["name"] == name) for name in ("train", "distill")
    )
    assert distill["metrics"]["val_accuracy_before"] == train["metrics"]["val_accuracy"] == members["quality"]
    assert train["metrics"]["best_member_val_accuracy"] == members["fitted"][members["best"]]["quality"]
    for name in ("train.saved_model.float32", "train.tflite.float32", "train.onnx.float32", "distill.tflite.int8"):
        for one in artifact(found, name)["runs"]:
            assert one["parity"]["top1_agreement"] >= (0.97 if name.endswith("int8") else 1), name
    assert [one["protocol"] for one in artifact(found, "train.saved_model.float32")["runs"]] == ["grpc", "rest"]
    assert "the ensemble is " in done.stdout
    page = (cwd / "runs" / "ensemble" / "report.html").read_text(encoding="utf-8")
    assert "<h3>Members of the ensemble</h3>" in page
