"""A recipe whose model the user's own function builds: trained with their loss, made smaller, exported, measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.command import modelmill, report, statuses
from tests.pipeline.own_code.files import scaled

RECIPE = """
name: own
data: {source: digits}
model: {builder: "own/net.py:build", options: {units: 24}, loss: focal, metrics: [top_2]}
train: {epochs: 10, tensorboard: false}
distill: {student: {builder: "own/net.py:build", options: {units: 8}}, epochs: 1, max_accuracy_loss: 1, alone: false}
prune: {epochs: 1, max_accuracy_loss: 1, teach: {}}
quantize: {epochs: 1, max_accuracy_loss: 1}
export: {tflite: [float32, int8], onnx: [float32]}
measure: {resamples: 100, latency: {min_block_ms: 10, batch_min_block_ms: 10}}
serving: null
"""


@pytest.mark.long
def test_own_layer_and_loss_go_through_every_stage(tmp_path: Path) -> None:
    scaled(tmp_path / "own")
    (tmp_path / "own.yaml").write_text(RECIPE, encoding="utf-8")
    done = modelmill("run", "own.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "would run code of its author's choice" in done.stderr
    assert "found: model.builder=own/net.py:build, distill.student.builder=own/net.py:build" in done.stderr

    done = modelmill("run", "own.yaml", "--trust", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train: the softmax inside dense_1 is taken off" in done.stderr
    found = report(tmp_path, "own")
    assert statuses(tmp_path, "own") == ["run"] * 6
    for model in found["models"]:
        assert model["layers"][0]["kind"] == "Scale"
        assert {"top_2", "val_top_2"} <= set(model["training"])
    assert found["models"][0]["metrics"]["accuracy"]["value"] > 0.8
    for artifact in found["artifacts"]:
        assert artifact["error"] is None
        assert artifact["runs"][0]["parity"]["top1_agreement"] > 0.9, artifact["id"]
    assert "top_2" in (tmp_path / "runs/own/report.html").read_text("utf-8")

    # the file may go elsewhere, and what lies beside it may change, as long as what it imports stays the same
    (tmp_path / "own").rename(tmp_path / "moved")
    (tmp_path / "moved/unrelated.py").write_text("x = 1\n", encoding="utf-8")
    text = RECIPE.replace("own/net.py", "moved/net.py")
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    done = modelmill("run", "own.yaml", "--trust", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert statuses(tmp_path, "own") == ["reused"] * 6
    blocks = tmp_path / "moved/models.py"
    blocks.write_text(blocks.read_text("utf-8").replace("x * self.by * self.gain", "x * self.by"), encoding="utf-8")
    done = modelmill("train", "own.yaml", "--trust", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the builder's models.py is" in done.stderr
    assert statuses(tmp_path, "own") == ["run"]


def test_mistake_in_the_users_file_is_one_message_with_its_line(tmp_path: Path) -> None:
    config = scaled(tmp_path / "own")
    config.path.write_text(config.path.read_text("utf-8").replace("units, act", "unit, act"), encoding="utf-8")
    done = modelmill("train", "digits", "--set", "model={builder: own/net.py:build}", cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "own/net.py:build fails" in done.stderr
    assert "found: NameError: name 'unit' is not defined" in done.stderr
    assert "net.py, line 11)" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
