"""What is added behind a reconstruction, in the precisions of a .tflite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.isolate import Child
from tests.pipeline.formats import tiny_rebuilding


@pytest.mark.parametrize("precision", ["float32", "int8", "int16x8"])
def test_score_is_the_mean_square_in_every_precision(converter: Child, tmp_path: Path, precision: str) -> None:
    found, wanted = converter.call(tiny_rebuilding.scores, tmp_path, precision)
    assert np.abs(found - wanted).max() < {"float32": 1e-6, "int8": 0.05, "int16x8": 0.01}[precision] * wanted.max()
