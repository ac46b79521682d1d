"""One child process with TensorFlow and one converted model for all tests of the formats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline.isolate import Child
from tests.pipeline.formats import tiny


@pytest.fixture(scope="session")
def converter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """A child with TensorFlow on one thread."""
    log = tmp_path_factory.mktemp("log") / "log.txt"
    with Child(deadline_s=120, memory_mb=None, threads=1, log=log) as child:
        yield child


@dataclass(frozen=True)
class Exported:
    """A folder with every format, and Keras' logits for samples(32, seed=1)."""

    folder: Path
    logits: np.ndarray


@pytest.fixture(scope="session")
def exported(converter: Child, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The tiny model in every format."""
    folder = tmp_path_factory.mktemp("exported")
    return Exported(folder, converter.call(tiny.write_all, folder))


@pytest.fixture(scope="session")
def recurrent(converter: Child, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """An LSTM as lstm.tflite and lstm.onnx; the logits are of samples(3, seed=1)."""
    folder = tmp_path_factory.mktemp("recurrent")
    return Exported(folder, converter.call(tiny.write_recurrent, folder))
