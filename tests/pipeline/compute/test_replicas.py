"""Every stage's fit on two logical CPU devices, against one; see replicas.py for the cases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.imports import ROOT

Found = dict[str, tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture(scope="module")
def found() -> Found:
    command = [sys.executable, "-m", "tests.pipeline.compute.replicas"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {name: both for line in lines for name, both in line.items()}


# relations are among the samples of a part
ALIKE = (
    "train", "clipped", "weighted", "batch_norm", "distill", "features", "prune", "cluster", "quantize", "float16"
)  # fmt: skip


@pytest.mark.parametrize("case", ALIKE)
def test_replicas_learn_what_one_device_learns_when_parts_differ_in_size_and_one_is_empty(
    found: Found, case: str
) -> None:
    alone, together = found[case]
    # of int8's steps a last digit can decide
    close = 2e-3 if case == "quantize" else 2e-5
    for name in ("loss", "val_loss", "weights"):
        np.testing.assert_allclose(together[name], alone[name], rtol=close, atol=close, err_msg=name)
    assert together["val_accuracy"] == pytest.approx(alone["val_accuracy"], abs=1e-6)


def test_answers_of_a_model_with_replicas_are_those_of_one(found: Found) -> None:
    alone, together = found["train"]
    np.testing.assert_allclose(together["answers"], alone["answers"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["train", "batch_norm", "prune", "cluster", "quantize"])
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
        np.testing.assert_allclose(other, one, rtol=2e-3, atol=2e-3)


def test_fit_on_replicas_becomes_the_same_bytes_when_it_is_stopped_and_goes_on(found: Found) -> None:
    assert found["resumed"][1]["equal"]


def test_relations_are_learned_on_replicas(found: Found) -> None:
    assert np.all(np.isfinite(found["relations"][1]["loss"]))


def test_bfloat16_learns_nearly_what_float32_learns(found: Found) -> None:
    exact, rounded = found["train"][0]["loss"], found["bfloat16"][0]["loss"]
    np.testing.assert_allclose(rounded, exact, rtol=0.02)
