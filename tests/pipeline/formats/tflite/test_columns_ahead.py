from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.isolate import Child
from tests.pipeline.formats import tiny_table


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """A child of these tests alone: ONNX Runtime, which runs here too, leaves a file among its temporary ones."""
    log = tmp_path_factory.mktemp("log") / "log.txt"
    with Child(deadline_s=120, memory_mb=None, threads=1, log=log) as made:
        yield made


@pytest.mark.parametrize("kind", ["Rescaling", "Normalization"])
def test_small_columns_do_not_drown_in_int8_files(kind: str, child: Child, tmp_path: Path) -> None:
    found = child.call(tiny_table.answers, kind, tmp_path)
    expected, _ = found.pop("keras")
    assert set(found) == {"dynamic-int8.tflite", "weight-int8.tflite", "int8.tflite", "int8.onnx", "trained.tflite"}
    for name, (logits, first) in found.items():
        error = float(np.abs(logits - expected).max() / np.ptp(expected))
        print(f"{name}: largest error {error:.2%} of the range")
        # were the raw columns given one range, the last two would be two constants: errors of the range itself
        assert error < 0.03, name
        assert first.upper() in ("MUL", "SUB"), name
