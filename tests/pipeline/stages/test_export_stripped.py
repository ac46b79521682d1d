"""export.strip_tflite: files without names are described, checked and measured as others are."""

from __future__ import annotations

from pathlib import Path

from pipeline.stages import export
from tests.pipeline.stages.small import DATA, by_id, job, measured

KEPT = ("train.tflite.float32", "train.tflite.int8")


def test_stripped_files_are_described_as_they_were_but_smaller_and_measured_the_same(
    trained: Path, exported: Path, tmp_path: Path
) -> None:
    config = export.Config(saved_model=("float32",), tflite=("float32", "int8"), onnx=(), strip_tflite=True)
    export.run(job(tmp_path / "stripped", [], train=trained), data=DATA, export=config)
    plain, found = by_id(exported), by_id(tmp_path / "stripped")
    for name in KEPT:
        before, after = plain[name], found[name]
        assert (after.operators, after.sparsity, after.labels) == (before.operators, before.sparsity, ["labels.txt"])
        assert after.gzip_bytes < before.gzip_bytes - 500  # type: ignore[operator]
        assert (tmp_path / "stripped" / f"{name}.tflite").stat().st_size == after.bytes
    ran, _, _ = measured(trained, tmp_path / "stripped", tmp_path / "measured")
    for name in KEPT:
        (run,) = ran[name].runs
        assert run.parity is not None
        assert run.parity.top1_agreement > 0.9  # type: ignore[operator]
