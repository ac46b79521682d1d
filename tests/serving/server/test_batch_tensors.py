"""The arithmetic of batching (rule 7), where a server would have to be set up for each case."""

from __future__ import annotations

import numpy as np
import pytest

from serving.server.batching import tensors as batch_tensors
from serving.server.status import StatusError


def merged(*shapes: tuple[int, ...], padding: int = 0, dtype: type = np.float32) -> np.ndarray:
    tensors = [{"x": np.full(shape, number, dtype)} for number, shape in enumerate(shapes, 1)]
    return batch_tensors.merge(tensors, padding, pad_shapes=True)["x"]


@pytest.mark.rule("7")
def test_inner_shapes_grow_to_the_largest_in_every_dimension() -> None:
    assert merged((1, 2, 1), (2, 1, 3)).shape == (3, 2, 3)
    assert merged((0, 2), (1, 3), padding=2).tolist() == [[2, 2, 2]] * 3
    assert merged((1, 2), (1, 1), dtype=object).tolist() == [[1, 1], [2, 2]]


@pytest.mark.rule("7")
@pytest.mark.parametrize(
    ("shapes", "padding", "text"),
    [
        ([(1, 2), (1, 2, 1)], 0, "FAILED_PRECONDITION: Tensors with name 'x' from different tasks have different"),
        ([(1,) * 7, (1,) * 6 + (2,)], 0, "INVALID_ARGUMENT: Only tensors with rank from 1 to 6 can be padded."),
        ([(1, 0), (1, 2)], 0, "INVALID_ARGUMENT: Got empty tensor in batch of non-empty tensors."),
        ([(1, 40_000, 1), (1, 1, 40_000)], 0, "RESOURCE_EXHAUSTED: padded, the batch would have the shape "
         r"\[2,40000,40000\]"),
        ([(1, 1_000_000)], 1000, "RESOURCE_EXHAUSTED: padded, the batch would have the shape"),
    ],
)  # fmt: skip
def test_shapes_are_refused_when_they_cannot_be_padded(shapes: list[tuple[int, ...]], padding: int, text: str) -> None:
    with pytest.raises(StatusError, match=text):
        merged(*shapes, padding=padding)
