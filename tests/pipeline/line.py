"""A line of two stages that do next to nothing, with the real store and folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import recipe as recipes
from pipeline import run as runs
from pipeline.artifact import Store
from pipeline.data import DataConfig
from pipeline.events import Event, StageReused, StageStarted
from pipeline.fit.config import FitConfig
from pipeline.run_folder import RunFolder
from pipeline.stage import Job, Result
from pipeline.stages import export
from tests.end_to_end.command import ONLY_TRAIN


class Line:
    """A recipe, a folder and a store, with a train and an export stage whose doings a test can change."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = RunFolder(tmp_path / "runs" / "line")
        self.store = Store(tmp_path / "runs" / ".store")
        self.events: list[Event] = []
        self.calls: list[str] = []
        self.before: Callable[[Job], None] = lambda _job: None
        self.during: Callable[[Job], Result] = lambda job: Result({"accuracy": 0.5})  # noqa: ARG005

        def train_run(job: Job, *, data: DataConfig, train: FitConfig, seed: int) -> Result:  # noqa: ARG001
            self.calls.append("train")
            self.before(job)
            text = json.dumps({"loss": [1.0] * train.epochs})
            (job.folder / "history.json").write_text(text, encoding="utf-8")
            return self.during(job)

        def export_run(job: Job, *, export: export.Config) -> Result:  # noqa: ARG001
            self.calls.append("export")
            self.before(job)
            (job.folder / "artifacts.json").write_text("[]", encoding="utf-8")
            (job.folder / "train.tflite.int8.tflite").write_text("weights", encoding="utf-8")
            assert job.inputs["train"].file("history.json").exists()
            return Result()

        stages = tuple(
            SimpleNamespace(NAME=name, INPUTS=inputs, CODE=("pipeline/errors.py",), LIBRARIES=("pydantic",), run=run)
            for name, inputs, run in (("train", (), train_run), ("export", ("train",), export_run))
        )
        monkeypatch.setattr(runs, "STAGES", stages)
        monkeypatch.setattr(runs, "NAMES", tuple(stage.NAME for stage in stages))

    def go(self, *overrides: str, **options: Any) -> Any:
        self.events.clear()
        self.calls.clear()
        recipe = recipes.load("digits", [*ONLY_TRAIN, "judge=null", "measure=null", *overrides])
        with self.folder.held():
            return runs.run(recipe, self.folder, self.store, self.events.append, **options)

    def reasons(self) -> dict[str, str]:
        return {event.stage: event.reason for event in self.events if isinstance(event, (StageStarted, StageReused))}

    def report(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.folder.report.read_text(encoding="utf-8"))
        return loaded
