"""What the default recipe promises, at full length."""

from __future__ import annotations

import hashlib
import statistics
import time
from pathlib import Path

import pytest

from tests.end_to_end.command import modelmill, options, report


def test_default_run_passes_in_under_120_seconds(tmp_path: Path) -> None:
    started = time.monotonic()
    done = modelmill("run", cwd=tmp_path)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stdout + done.stderr
    assert seconds < 120
    started = time.monotonic()
    assert modelmill("run", cwd=tmp_path).returncode == 0
    assert time.monotonic() - started < 3


@pytest.mark.long
def test_teacher_has_98_percent_in_the_mean_of_five_seeds(tmp_path: Path) -> None:
    # only the SavedModel, in process: accuracy needs no other file and no server
    sets = options(
        [
            "serving=null",
            "export.tflite=[]",
            "export.onnx=[]",
            "judge={gates: {max_p99_ms: 1000}}",
            "measure.latency.min_block_ms=10",
        ]
    )
    found = {}
    for seed in range(5):
        done = modelmill("run", *sets, "--set", f"seed={seed}", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        (artifact,) = report(tmp_path)["artifacts"]
        assert artifact["parameters"] <= 70_000
        found[seed] = artifact["runs"][0]["metrics"]["accuracy"]["value"]
    print("test accuracy by seed:", found, "mean:", statistics.mean(found.values()))
    assert statistics.mean(found.values()) >= 0.98


def test_same_recipe_and_seed_give_the_same_bytes_from_empty_stores(tmp_path: Path) -> None:
    digests = []
    for name in ("first", "second"):
        cwd = tmp_path / name
        cwd.mkdir()
        # few epochs: what differs between two processes differs after one
        done = modelmill("export", "--set", "train.epochs=3", "--set", "train.early_stopping=null", cwd=cwd)
        assert done.returncode == 0, done.stdout + done.stderr
        folder = cwd / "runs/digits/artifacts"
        digests.append(
            {
                path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in folder.rglob("*")
                if path.is_file()
            }
        )
    assert len(digests[0]) == 6 + 3  # files of TFLite and ONNX; saved_model.pb and two files of variables
    assert digests[0] == digests[1]
