"""The folder of a run that has ended, with files that export wrote down and nothing that was trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import recipe
from pipeline.artifact import MANIFEST, Manifest
from pipeline.files import hashes, write_json
from pipeline.report.document import Artifact, Report
from pipeline.run_folder import LOCK, RECIPE, REPORT

MODEL, OTHER, LITE, ONNX = (
    "distill.saved_model.float32",
    "train.saved_model.float32",
    "train.tflite.int8",
    "train.onnx.float32",
)
FILES: Mapping[str, bytes] = {
    **{f"{name}/1/{file}": name.encode() for name in (MODEL, OTHER) for file in ("saved_model.pb", "variables/x")},
    f"{LITE}.tflite": b"no model", f"{ONNX}.onnx": b"no model", "labels.txt": b"cat\n", "columns.json": b"[]",
}  # fmt: skip


def write(home: Path, files: Mapping[str, bytes] = FILES, **changes: Any) -> Path:
    """Write it, its store beside it, and return it; `changes` are the report's."""
    entry = home.parent / ".store" / "export-0"
    for root in (entry, home / "artifacts"):
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
    made = Manifest(stage="export", fingerprint="0", basis={}, files=hashes(entry, entry), seconds=0, metrics={})
    write_json(entry / MANIFEST, made.model_dump(mode="json"))
    (home / "stages").mkdir()
    (home / "stages/export").symlink_to("../../.store/export-0")
    more = {"labels": ["labels.txt"], "beside": ["columns.json"]}
    artifacts = [
        _artifact(OTHER, "saved_model", **more), _artifact(MODEL, "saved_model", **more),
        _artifact(LITE, "tflite", path=f"artifacts/{LITE}.tflite", **more),
        _artifact(ONNX, "onnx", path=f"artifacts/{ONNX}.onnx"),
        _artifact("train.tflite.float16", "tflite", path=None, error="the converter refused"),
    ]  # fmt: skip
    report = Report(
        schema=1, modelmill="0.1.0", recipe="mine", seed=0, verdict="pass", stages=[], store="runs/.store",
        artifacts=artifacts, to_serve=MODEL, machine={},
    )  # fmt: skip
    write_json(home / REPORT, report.model_dump(mode="json", by_alias=True) | changes)
    (home / RECIPE).write_text(recipe.dump(recipe.load("digits", ["serving.batching={max_batch_size: 512}"])))
    (home / LOCK).touch()
    return home


def _artifact(name: str, form: Any, **facts: Any) -> Artifact:
    known = {"path": f"artifacts/{name}"} | facts
    return Artifact(id=name, stage=name.partition(".")[0], format=form, precision="float32", **known)
