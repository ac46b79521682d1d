"""Searches whose trials do next to nothing, with a real study in an SQLite file.

    python -m tests.pipeline.tune.searching FOLDER TRIALS SECONDS PROCESSES

is one of several processes of such a search, which begin together; a trial takes SECONDS, a process's first none.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import recipe as recipes
from pipeline.events import Emit, Progress, StageFinished, StageReused, StageStarted
from pipeline.recipe import Recipe
from pipeline.report import document
from pipeline.report.document import Report
from pipeline.run_folder import RunFolder
from pipeline.tune import search, storage

RATE = "quantize.optimizer.learning_rate"
SPACE = f"tune={{space: {{{RATE}: {{low: 1e-4, high: 1e-2, log: true}}, prune.final_sparsity: [0.5, 0.6, 0.7]}}}}"


def recipe(*overrides: str) -> Recipe:
    """Return digits-mlp with a space of two keys."""
    return recipes.load("digits-mlp", [SPACE, *overrides])


def rate(one: Recipe) -> float:
    """Return the learning rate that a trial got."""
    assert one.quantize is not None
    return one.quantize.optimizer.learning_rate


def worth(one: Recipe) -> float:
    """Return what a trial comes to: best at a learning rate of 0.001, and with few zeros."""
    assert one.prune is not None
    return round(1 - abs(rate(one) - 0.001) - one.prune.final_sparsity / 10, 6)


def report(one: Recipe, quality: float) -> Report:
    """Return what a run says whose last model is worth this much."""
    stages = [
        {"name": name, "status": "run", "seconds": 2.0, "metrics": {"val_accuracy": 0.1}} for name in one.models()
    ]
    stages[-1]["metrics"] = {"val_accuracy": quality, "val_accuracy_before": 0.1}
    return document.Report.model_validate(
        {"schema": 1, "modelmill": "0.1.0", "recipe": one.name, "seed": 0, "verdict": "incomplete", "stages": stages,
         "machine": {}}
    )  # fmt: skip


class Go:
    """Runs trials without a model: `during` may raise, and epochs of the last stage are told."""

    def __init__(self) -> None:
        self.recipes: list[Recipe] = []
        self.folders: list[str] = []
        self.epochs = 4
        self.told: list[int] = []
        self.during: Callable[[Recipe], None] = lambda _: None

    def __call__(self, one: Recipe, folder: RunFolder, until: str, emit: Emit) -> Report:
        assert until == one.models()[-1]
        self.recipes.append(one)
        self.folders.append(folder.path.name)
        emit(StageReused("train", "same"))
        emit(StageStarted("quantize", "nothing is stored for it yet"))
        self.during(one)
        for epoch in range(1, self.epochs + 1):
            self.told.append(epoch)
            emit(Progress("quantize", "epoch", epoch, self.epochs, {"val_accuracy": worth(one) * epoch / self.epochs}))
        emit(StageFinished("quantize", 1.5, {}))
        return report(one, worth(one))


def begin(folder: Path, *overrides: str) -> search.Search:
    """Open the study in a folder."""
    return search.begin(recipe(*overrides), storage.default(folder), "digits-mlp")


def go_on(found: search.Search, wanted: int, folder: Path, go: Any, taken: list[int] | None = None) -> list[int]:
    """Run trials until there are as many as wanted; returns the numbers of those that ended here."""
    ended: list[int] = []
    search.go_on(
        found, wanted, folder, go, begun=lambda *_: None, ended=lambda one: ended.append(one.number),
        taken=(taken if taken is not None else []).extend,
    )  # fmt: skip
    return ended


if __name__ == "__main__":
    where = Path(sys.argv[1])
    slow = Go()
    slow.during = lambda _: time.sleep(float(sys.argv[3]) if len(slow.recipes) > 1 else 0)
    study = begin(where)
    (where / f"{os.getpid()}.ready").touch()
    while len(list(where.glob("*.ready"))) < int(sys.argv[4]):
        time.sleep(0.05)
    print(go_on(study, int(sys.argv[2]), where, slow))
