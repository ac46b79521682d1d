"""One child process, in which small files are converted once, and in which they answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.edge import micro
from pipeline.isolate import Child
from tests.pipeline.edge import small
from tests.pipeline.formats import tiny


@pytest.fixture(scope="session")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """A child that may crash."""
    log = tmp_path_factory.mktemp("log") / "log.txt"
    with Child(deadline_s=120, memory_mb=None, threads=1, log=log) as process:
        yield process


@pytest.fixture(scope="session")
def files(child: Child, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the small files."""
    folder = tmp_path_factory.mktemp("files")
    child.call(small.write, folder)
    return folder


@pytest.fixture(scope="session")
def in_tflm(child: Child, files: Path) -> micro.Run:
    """What the file with int8 ends answers to samples(32, seed=1)."""
    return child.call(micro.run, files / small.INT8_ENDS, tiny.samples(32, seed=1))
