"""Jobs for export and measure on a small real model, and what came of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pipeline import data
from pipeline.artifact import Artifact, Manifest
from pipeline.events import Event, Note
from pipeline.measuring.latency_config import LatencyConfig
from pipeline.report import document
from pipeline.stage import Job, Result
from pipeline.stages import export, measure
from serving.config import ServingConfig

DATA = data.DataConfig()
BRIEF = LatencyConfig(min_block_ms=10, batch_min_block_ms=10, percentile=0.5, batch_percentile=0.5, warmup_queries=10)
MEASURE = measure.Config(resamples=100, latency=BRIEF)
SMALL = export.Config(tflite=("float32", "float16", "int8"), onnx=("float32",))


def stored(folder: Path, name: str) -> Artifact:
    manifest = Manifest(stage=name, fingerprint="0", basis={}, files={}, seconds=0, metrics={})
    return Artifact(folder, manifest)


def job(folder: Path, events: list[Event], **inputs: Path) -> Job:
    work = folder.with_name(f"{folder.name}-work")
    folder.mkdir()
    work.mkdir(exist_ok=True)
    return Job(folder, work, {name: stored(path, name) for name, path in inputs.items()}, events.append)


def warnings(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note) and event.level == "warning"]


def by_id(folder: Path) -> dict[str, document.Artifact]:
    return {artifact.id: artifact for artifact in document.read_artifacts(folder)}


def measured(
    trained: Path, exported: Path, folder: Path, serving: ServingConfig | None = None, how: measure.Config = MEASURE
) -> tuple[dict[str, document.Artifact], Result, list[Event]]:
    events: list[Event] = []
    found = measure.surroundings(lambda _: None, serving=serving).found
    todo = dataclasses.replace(job(folder, events, train=trained, export=exported), found=found)
    result = measure.run(todo, data=DATA, measure=how, serving=serving)
    return by_id(folder), result, events


# of a classifier of ten digits
METRICS = frozenset(
    {"accuracy", "balanced_accuracy", "precision", "recall", "f1", "precision_weighted", "recall_weighted",
     "f1_weighted", "roc_auc", "top_5_accuracy", "calibration_error", "log_loss"}
    | {f"{name}.{digit}" for name in ("precision", "recall", "f1") for digit in range(10)}
)  # fmt: skip
