"""What an image is built of, without an engine that builds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import finished, recipe
from pipeline.events import Event
from pipeline.image import making
from pipeline.isolate import Child
from serving import warmup
from serving.config import ServingConfig
from tests.pipeline.finished_run import FILES, MODEL, write


def test_image_with_a_file_of_batching_has_no_warm_up_requests_that_its_server_could_not_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def built(*_: Any) -> Iterator[None]:
        yield None

    monkeypatch.setattr("serving.target.docker_build.built", built)
    monkeypatch.setattr(making, "_started", lambda *_: None)
    records = warmup.write(tmp_path / "records", {"x": np.zeros((1, 2), np.float32)}, (1, 32)).read_bytes()
    home = write(tmp_path / "runs/mine", {**FILES, f"{MODEL}/1/{warmup.FILE.as_posix()}": records})
    folder, report = finished.read(home)
    file, notes = tmp_path / "batching_parameters.txt", list[Event]()
    file.write_text("max_batch_size { value: 8 }", encoding="utf-8")
    item = next(one for one in report.artifacts if one.id == MODEL)
    order = making.Order(folder, report, recipe.load("digits"), item, "mine", None, "base", file)
    with Child(deadline_s=120, memory_mb=None) as child:
        builder = making._Builder(order, ServingConfig(), {}, None, child, tmp_path / "work", notes.append)
        with builder.made(item, tmp_path / "context") as made:
            sizes = [warmup.batch(record) for record in warmup.read(made.context.model)]
    assert sizes == [1]
    assert "warm-up requests of 32 samples are left out: with max_batch_size 8" in str(notes)
    assert (home / "artifacts" / MODEL / "1" / warmup.FILE).read_bytes() == records
