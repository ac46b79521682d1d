"""Every stage's fit on two logical CPU devices, against one; see replicas.py for the cases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.imports import ROOT

Found = dict[str, tuple[dict[str, Any], dict[str, Any]]]


# a case for each stage; relations, in which replicas differ from one device, are among the samples of a part
STAGES = ("train", "batch_norm", "distill", "shrink", "prune", "cluster", "quantize")
MORE = ("clipped", "weighted", "features", "float16")


def _run(*cases: str) -> Found:
    command = [sys.executable, "-m", "tests.pipeline.compute.replicas", *cases]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {name: both for line in lines for name, both in line.items()}


@pytest.fixture(scope="module")
def found() -> Found:
    return _run(*STAGES, "resumed")


def _require_alike(alone: dict[str, Any], together: dict[str, Any]) -> None:
    for name in ("loss", "val_loss", "weights"):
        np.testing.assert_allclose(together[name], alone[name], rtol=2e-5, atol=2e-5, err_msg=name)
    assert together["val_accuracy"] == pytest.approx(alone["val_accuracy"], abs=1e-6)


@pytest.mark.parametrize("case", STAGES)
def test_replicas_learn_what_one_device_learns_when_parts_differ_in_size_and_one_is_empty(
    found: Found, case: str
) -> None:
    _require_alike(*found[case])


@pytest.mark.long
def test_replicas_learn_what_one_device_learns_when_the_loss_or_the_gradients_are_changed() -> None:
    found = _run("train", *MORE, "relations", "bfloat16")
    for case in MORE:
        _require_alike(*found[case])
    assert np.all(np.isfinite(found["relations"][1]["loss"]))
    for exact, rounded in zip(found["train"], found["bfloat16"], strict=True):
        np.testing.assert_allclose(rounded["loss"], exact["loss"], rtol=0.02)


def test_answers_of_a_model_with_replicas_are_those_of_one(found: Found) -> None:
    alone, together = found["train"]
    np.testing.assert_allclose(together["answers"], alone["answers"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["train", "batch_norm", "shrink", "prune", "cluster", "quantize"])
def test_weights_masks_and_ranges_are_equal_on_both_replicas(found: Found, case: str) -> None:
    assert found[case][1]["differ"] == 0


def test_masks_have_the_zeros_that_were_asked_for_on_replicas(found: Found) -> None:
    alone, together = found["prune"]
    assert together["zeros"] == alone["zeros"] == pytest.approx([0.5] * len(alone["zeros"]), abs=0.05)


def test_clusters_stay_on_replicas(found: Found) -> None:
    assert found["cluster"][1]["kept"]


def test_ranges_move_by_what_all_replicas_have_seen(found: Found) -> None:
    alone, together = found["quantize"]
    for one, other in zip(alone["ranges"], together["ranges"], strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5)


def test_fit_on_replicas_becomes_the_same_bytes_when_it_is_stopped_and_goes_on(found: Found) -> None:
    assert found["resumed"][1]["equal"]


def test_channels_that_stay_are_those_of_one_device(found: Found) -> None:
    alone, together = found["shrink"]
    assert together["kept"] == alone["kept"]


def _modelmill(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_devices_lists_what_is_there_and_exits_with_3_when_the_gpu_asked_for_is_not() -> None:
    listed = _modelmill("devices", "digits", "--json", "--set", "strategy=mirrored", "--set", "accelerator=cpu",
                        "--set", "devices=2")  # fmt: skip
    answer = json.loads(listed.stdout)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert answer["devices"][0]["kind"] == "cpu"
    assert (answer["uses"]["strategy"], answer["uses"]["replicas"]) == ("mirrored", 2)
    if any(device["kind"] == "gpu" for device in answer["devices"]):
        pytest.skip("a GPU is there")
    refused = _modelmill("devices", "digits", "--set", "accelerator=gpu")
    assert refused.returncode == 3
    assert "asks for a GPU" in refused.stderr


@pytest.mark.long
def test_whole_line_runs_on_replicas_and_says_so_in_its_report(tmp_path: Path) -> None:
    short = [f"{stage}.epochs=2" for stage in ("train", "distill", "shrink", "prune", "quantize")]
    short += [f"{stage}.max_accuracy_loss=1" for stage in ("distill", "shrink", "prune", "quantize")]
    short += ["train.schedule.warmup_epochs=0", "distill.schedule.warmup_epochs=0", "quantize.freeze_ranges_epochs=1"]
    keys = [*short, "cluster={epochs: 2, max_accuracy_loss: 1}", "strategy=mirrored", "accelerator=cpu", "devices=2"]
    done = _modelmill(
        "run", "digits", "--until", "quantize", "--out", str(tmp_path / "run"), "--store", str(tmp_path / "store"),
        *(part for key in keys for part in ("--set", key)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert (report["compute"]["strategy"], report["compute"]["replicas"]) == ("mirrored", 2)
    assert "2 x CPU" in done.stderr
