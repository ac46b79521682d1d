"""What the benchmark of channel removal reads out of a report, and what it says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import equal_accuracy
from tests.benchmarks.findings import Findings


def around(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def model(stage: str, accuracy: float, macs: int, variant: str = "", **metrics: Any) -> dict[str, Any]:
    found = {"accuracy": around(accuracy, 0.01), **metrics}
    return {"stage": stage, "variant": variant, "metrics": found, "parameters": 270_000, "macs": macs, "training": {}}


def artifact(stage: str, accuracy: float) -> dict[str, Any]:
    runs = [{"metrics": {"accuracy": around(accuracy, 0.01)}}]
    return {"id": f"{stage}.tflite.float32", "stage": stage, "path": f"artifacts/{stage}.tflite", "runs": runs}


def report(loss: float) -> dict[str, Any]:
    return {
        "models": [
            model("import", 0.8, 40_000_000),
            model("shrink", 0.81 - loss, 20_000_000, accuracy_drop=around(loss - 0.01, 0.002),
                  accuracy_loss_by_removal=around(loss, 0.002)),
            model("shrink", 0.81, 40_000_000, "control", accuracy_drop=around(-0.01, 0.002)),
        ],
        "artifacts": [artifact("import", 0.8), artifact("shrink", 0.81 - loss)],
        "stages": [{"name": "import", "metrics": {}}, {"name": "measure", "metrics": {"test_samples": 10_000.0}}],
        "seed": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("loss", "said"),
    [(0.005, "is held"), (0.02, "is missed"), (0.009, "is neither held nor missed for certain")],
)
def test_loss_is_held_against_the_bound_with_its_whole_interval(loss: float, said: str, tmp_path: Path) -> None:
    found = Findings("equal_accuracy", "", tmp_path)
    found.once("accuracy", lambda: equal_accuracy.told(report(loss)))
    text = equal_accuracy.text(found)
    assert f"Removal lost {100 * loss:.2f} points; less than 1 {said}." in text
    assert f"- control over shrunk: {100 * loss:+.2f} points (95 % {100 * loss - 0.2:+.2f} to " in text
    assert "- teacher over control: -1.00 points (95 % -1.20 to -0.80)" in text
    assert f"| shrunk | {81 - 100 * loss:.2f} ({80 - 100 * loss:.2f} to " in text
    assert "| 20.0 M | 2.00 | - | - |" in text
    assert "Seed 0, 10,000 test samples." in text


def test_files_that_are_timed_are_the_teachers_and_the_shrunk_ones() -> None:
    files = equal_accuracy.told(report(0.005))["files"]
    assert files == {"teacher": "artifacts/import.tflite", "shrunk": "artifacts/shrink.tflite"}
