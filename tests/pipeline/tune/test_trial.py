"""What a trial's run tells: which stages it reused, and whether it is worth going on with."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import fine_tune
from pipeline.errors import BusyError, DiskError, MissingError, PromiseError, StoppedError, UnavailableError
from pipeline.events import Note, Progress, StageFinished, StageReused, StageStarted
from pipeline.tune.trial import COMPARES, PrunedError, Watch, ends_the_study


def watch(prune_at: int = 99, warmup: int = 0) -> tuple[Watch, list[tuple[int, float]]]:
    reported: list[tuple[int, float]] = []
    trial: Any = SimpleNamespace(
        report=lambda value, step: reported.append((step, value)), should_prune=lambda: reported[-1][0] >= prune_at
    )
    return Watch(trial, "prune", "val_accuracy", warmup, nullcontext), reported


def epoch(done: int, stage: str = "prune", unit: str = "epoch") -> Progress:
    return Progress(stage, unit, done, 9, {"val_accuracy": done / 10})


def test_epochs_of_the_compared_stage_alone_are_reported() -> None:
    found, reported = watch()
    for event in (epoch(1, "train"), epoch(5, unit="step"), epoch(1), epoch(2), epoch(1, "quantize")):
        found.see(event)
    assert reported == [(1, 0.1), (2, 0.2)]


def test_epochs_of_a_second_fit_in_the_same_stage_are_not_compared() -> None:
    found, reported = watch()
    for event in (epoch(1), epoch(2), epoch(1), epoch(2), epoch(3)):
        found.see(event)
    assert reported == [(1, 0.1), (2, 0.2)]
    found, reported = watch()
    for event in (epoch(4), Note("prune", f"{COMPARES}, on the same budget, to compare"), epoch(5)):
        found.see(event)
    assert reported == [(4, 0.4)]
    assert COMPARES in inspect.getsource(fine_tune.compare)


def test_trial_is_stopped_after_its_warm_up() -> None:
    found, reported = watch(prune_at=1, warmup=2)
    found.see(epoch(1))
    found.see(epoch(2))
    with pytest.raises(PrunedError, match="stopped early, after epoch 3 of prune"):
        found.see(epoch(3))
    assert len(reported) == 3


def test_stages_are_remembered_with_what_became_of_them() -> None:
    found, _ = watch()
    for event in (
        StageReused("train", "same"), StageStarted("prune", "new"), StageFinished("prune", 4.1, {}),
        StageStarted("quantize", "new"),
    ):  # fmt: skip
        found.see(event)
    ended = found.ended()
    assert ended["train"] == {"status": "reused", "seconds": 0.0}
    assert ended["prune"] == {"status": "run", "seconds": 4.1}
    assert ended["quantize"]["status"] == "unfinished"


def test_what_would_fail_every_trial_ends_the_study() -> None:
    for error in (
        StoppedError("x"), DiskError("x"), MissingError("x"), BusyError("x"), UnavailableError("x", code="UNAVAILABLE")
    ):  # fmt: skip
        assert ends_the_study(error)
    assert not ends_the_study(PromiseError("x"))
