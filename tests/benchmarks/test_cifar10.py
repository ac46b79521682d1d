"""CIFAR-10's baseline learns as long as what it is held against, and differences have the sign that the table says."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline import recipe
from tests.benchmarks import cifar10
from tests.benchmarks.answers import compared


def test_baseline_is_resnet8_alone_with_the_epochs_of_all_stages_after_the_teacher() -> None:
    given = ["data.path=anywhere", "shrink.epochs=5", "prune.epochs=2", "distill.epochs=4"]
    alone: Any = recipe.load(cifar10.RECIPE, cifar10.baseline(given))
    ours: Any = recipe.load(cifar10.RECIPE, given)
    assert alone.model.depth == ours.distill.student.depth == 8
    assert (alone.distill, alone.shrink, alone.prune, alone.quantize.teach) == (None, None, None, None)
    assert alone.train.epochs == 5 + 2 + 4
    assert alone.quantize.epochs == ours.quantize.epochs
    for same in ("data", "seed", "export"):
        assert getattr(alone, same) == getattr(ours, same)
    assert alone.train.optimizer == ours.train.optimizer


def test_table_holds_each_model_against_the_baseline() -> None:
    labels = np.arange(1000) % 2
    right = np.eye(2)[labels]
    some_wrong = right.copy()
    some_wrong[:100] = some_wrong[:100, ::-1]
    models = compared({cifar10.BASELINE: right, cifar10.OURS: some_wrong}, labels, cifar10.BASELINE)
    assert models[cifar10.OURS]["accuracy"] == 0.9
    assert models[cifar10.OURS]["points_lost"][0] == 10
    facts = {"macs": 4_000_000, "bytes": 1000, "gzip_bytes": 900}
    half = {"macs": 1_000_000, "bytes": 600, "gzip_bytes": 300}
    times = {
        cifar10.BASELINE: {"p50_ms": (0.1, 0.1, 0.1), "p50_ms_n": 5000, "ratio": None},
        cifar10.OURS: {"p50_ms": (0.05, 0.05, 0.05), "p50_ms_n": 7000, "ratio": (2, 1.9, 2.1)},
    }
    sides = {cifar10.BASELINE: models[cifar10.BASELINE] | facts, cifar10.OURS: models[cifar10.OURS] | half}
    _, _, first, second = cifar10._table(sides, times).splitlines()
    low, value, high = models[cifar10.OURS]["points_lost"][2], 10, models[cifar10.OURS]["points_lost"][1]
    assert first.split(" | ")[1:5] == ["100.00%", "", "4.00 M (100.0%)", "1,000 (100.0%)"]
    assert second.split(" | ")[1:4] == ["90.00%", f"-{value:.2f} (-{low:.2f} to -{high:.2f})", "1.00 M (25.0%)"]
    assert second.endswith("| 600 (60.0%) | 300 | 50 | 7,000 | 2.00 (1.90 to 2.10) |")
