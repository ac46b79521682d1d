"""`modelmill cv` on digits: real folds, and a second call that reuses all of them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command import modelmill, options

QUICK = options(
    ["model.dense=[16]", "train.epochs=8", "prune.epochs=2", "prune.on_regression=continue", "quantize=null",
     "measure.resamples=100", "data.augment=null", "export=null", "judge=null"]
)  # fmt: skip
OUT = "runs/digits-mlp-cv"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.long
def test_folds_are_trained_compressed_and_tested_once_and_then_reused(tmp_path: Path) -> None:
    done = modelmill("cv", "digits-mlp", "--folds", "2", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = read(tmp_path / OUT / "cv.json")
    assert [fold["reused"] for fold in found["folds"]] == [False, False]
    assert sum(fold["test_samples"] for fold in found["folds"]) == 1797
    reports = [read(tmp_path / fold["folder"] / "report.json") for fold in found["folds"]]
    for place, stage in enumerate(found["stages"]):
        assert stage["stage"] == ("train", "prune")[place]
        for name, spread in stage["metrics"].items():
            assert spread["values"] == [one["models"][place]["metrics"][name]["value"] for one in reports]
    drops = [one["models"][1]["metrics"]["accuracy_drop"]["value"] for one in reports]
    assert found["stages"][1]["differences"]["accuracy"]["values"] == pytest.approx([-drop for drop in drops])
    assert found["stages"][0]["metrics"]["accuracy"]["low"] > 0.5
    assert "digits-mlp: 2 folds of 1,797 samples" in done.stdout

    started = time.monotonic()
    again = modelmill("cv", "digits-mlp", "--folds", "2", *QUICK, cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "runs," not in again.stderr
    after = read(tmp_path / OUT / "cv.json")
    assert [fold["reused"] for fold in after["folds"]] == [True, True]
    assert after["stages"] == found["stages"]
    assert time.monotonic() - started < 60
