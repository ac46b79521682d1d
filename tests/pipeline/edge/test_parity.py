"""Answers of two runtimes, compared integer by integer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.edge import parity
from pipeline.edge.ends import dequantized, quantized, scales, signature
from pipeline.signature import End
from tests.pipeline.edge import small

INTEGERS = np.array([[5, 1, 0, 0], [1, 5, 0, 0], [0, 0, 9, -128], [7, 6, 0, 0]], np.int8)


def test_differences_are_counted_in_steps_and_the_worst_sample_comes_first(files: Path) -> None:
    path = files / small.INT8_ENDS
    other = INTEGERS.copy()
    other[1, 0] += 1
    other[3, 1] += 3  # now the second is the largest
    (found,) = parity.compare(path, {"logits": INTEGERS}, {"logits": other})
    scale = scales(path)["logits"]
    assert (found.output, found.values, found.equal_share) == ("logits", 16, 14 / 16)
    assert (found.max_steps, found.max_difference) == (3, pytest.approx(3 * scale))
    assert found.same_decision_share == 0.75
    assert (found.differing, found.differing_samples) == ((3, 1), 2)


def test_nothing_differs_when_the_answers_are_equal(files: Path) -> None:
    (found,) = parity.compare(files / small.INT8_ENDS, {"logits": INTEGERS}, {"logits": INTEGERS.copy()})
    assert (found.equal_share, found.max_steps, found.max_difference, found.differing) == (1, 0, 0, ())


def test_steps_are_those_of_the_integers_behind_when_the_output_is_dequantized(files: Path) -> None:
    scale = scales(files / small.INT8)["logits"]
    answers = INTEGERS.astype(np.float32) * np.float32(scale)
    (found,) = parity.compare(files / small.INT8, {"logits": answers}, {"logits": answers + np.float32(2 * scale)})
    assert (found.equal_share, found.max_steps) == (0, 2)


def test_answer_that_is_no_number_differs_most_unless_both_are_none(files: Path) -> None:
    answers = INTEGERS.astype(np.float32)
    broken = answers.copy()
    broken[2, 2] = np.nan
    (found,) = parity.compare(files / small.INT8, {"logits": broken}, {"logits": answers})
    assert (found.differing, found.max_difference, found.max_steps) == ((2,), np.inf, None)
    (found,) = parity.compare(files / small.INT8, {"logits": broken}, {"logits": broken.copy()})
    assert found.equal_share == 1


def test_values_are_rounded_half_to_even_and_clipped_when_an_input_is_quantized() -> None:
    end = End("image", "int8", (None, 6), (0.5, 10))
    values = np.array([[0.25, 0.75, -0.25, 0.4, 1000, -1000]], np.float32)
    assert quantized(values, end).tolist() == [[10, 12, 10, 11, 127, -128]]
    assert dequantized(np.array([[10, 12, -128]], np.int8), end).tolist() == [[0, 1, -69]]


def test_ends_are_in_the_order_of_the_runtime_with_what_they_are(files: Path) -> None:
    found = signature(files / small.INT8_ENDS)
    (image,), (logits,) = found.takes, found.gives
    assert (image.name, image.dtype, image.shape) == ("image", "int8", (1, 8, 8, 1))
    assert (logits.name, logits.dtype, logits.shape) == ("logits", "int8", (1, 4))
    assert image.quantization is not None
    assert image.quantization[0] == pytest.approx(16 / 255, rel=0.01)
    assert signature(files / small.INT8).takes[0].shape == (None, 8, 8, 1)
