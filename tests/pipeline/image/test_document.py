"""image.json, and what a run's report shows of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.image import document, making
from pipeline.report.document import Report
from pipeline.stages import report
from tests.pipeline.report import shapes

ITEM = shapes.artifact("train", "saved_model", "float32", gzip_bytes=9000, accuracy=0.99, ms=1.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder with one artifact."""
    (tmp_path / str(ITEM.path) / "1").mkdir(parents=True)
    (tmp_path / str(ITEM.path) / "1/saved_model.pb").write_text("graph")
    return tmp_path


def image(folder: Path, **changes: Any) -> document.Image:
    content = document.content(folder / str(ITEM.path))
    found = {
        "schema": 1, "modelmill": "0.1.0", "verdict": "pass", "tag": "digits:1", "wanted": "digits:1", "run": "digits",
        "recipe": "digits", "name": "digits", "version": 1, "id": "sha256:1", "command": "docker run digits:1",
        "base": {"name": "base:1", "id": "sha256:0", "bytes": 5_000_000}, "bytes": 7_000_000, "added": 2_000_000,
        "labels": {document.CONTENT_LABEL: content}, "flags": [], "files": {}, "artifact": ITEM, "reference": ITEM.id,
        "first_requests": [{"protocol": "grpc", "tries_ms": [3.0], "p50_ms": 1.0, "p99_ms": 2.0}], "gates": [],
        "notes": [], "machine": {},
    }  # fmt: skip
    return document.Image.model_validate(found | changes)


def test_report_shows_the_image_of_the_files_that_are_there(folder: Path) -> None:
    document.write(image(folder), folder)
    shown = document.of_run(folder, [ITEM])
    assert shown is not None
    assert (shown.tag, shown.artifact, shown.added) == ("digits:1", ITEM.id, 2_000_000)


def test_report_shows_no_image_of_other_files_or_of_another_version(folder: Path) -> None:
    assert document.of_run(folder, [ITEM]) is None
    document.write(image(folder), folder)
    assert document.of_run(folder, []) is None
    (folder / str(ITEM.path) / "1/saved_model.pb").write_text("another graph")
    assert document.of_run(folder, [ITEM]) is None
    (folder / document.FILE).write_text(json.dumps({"schema": 2}))
    assert document.of_run(folder, [ITEM]) is None


def test_neither_image_json_nor_the_report_tells_of_an_image_when_one_cannot_be_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, failures = report.write, [OSError("full")]

    def failing(found: Report, where: Path) -> None:
        write(found, where)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(report, "write", failing)
    with pytest.raises(OSError, match="full"):
        making._write(image(folder), order(folder))
    assert not (folder / document.FILE).exists()
    assert report.read(folder).image is None
    making._write(image(folder), order(folder))
    assert report.read(folder).image == document.shipped(document.read(folder))
    assert "First request over gRPC" in (folder / "report.html").read_text(encoding="utf-8")


def order(folder: Path) -> making.Order:
    found = shapes.report(verdict="pass", artifacts=[ITEM])
    return making.Order(folder, found, None, ITEM, "digits", None, "base:1", None)  # type: ignore[arg-type]
