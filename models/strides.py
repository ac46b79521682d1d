"""Strides that are left out, from the first layer on, so that networks made for large images work on small ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pipeline.errors import InputError

Reduction = Literal[1, 2, 4, 8, 16, 32]
REDUCTION = (
    "how many times smaller the last map's sides are than the image's; less than 32 leaves out the "
    "strides of the first layers; null: 32 as in the papers, or for small images as much as leaves 3x3 pixels"
)

_SMALLEST = 3  # side of the last map that `reduction: null` leaves, in pixels


def check(reduction: int | None, paper: Sequence[int], input_shape: tuple[int, ...], architecture: str) -> None:
    """Refuse a reduction that the layers or the image do not allow.

    Args:
        paper: strides of the first convolution and of the blocks, 1 or 2 each.
        input_shape: (height, width, channels).

    Raises:
        InputError: with the largest reduction that is possible.
    """
    possible = 2 ** min(paper.count(2), min(input_shape[:2]).bit_length() - 1)
    if reduction is not None and reduction > possible:
        images = f"images of {input_shape[0]}x{input_shape[1]} pixels"
        raise InputError(
            f"model.reduction is more than this {architecture} can do",
            expected=f"at most {possible} for {images} and {len(paper) - 1} blocks",
            found=str(reduction),
            todo=f"set model.reduction to {possible} or less, or to null",
        )


def reduced(
    reduction: int | None, paper: Sequence[int], input_shape: tuple[int, ...], *, keep_first: bool = False
) -> list[int]:  # fmt: skip
    """Return the strides of the first convolution and of the blocks, the first ones left out for the reduction.

    Args:
        paper: as in `check`.
        input_shape: (height, width, channels).
        keep_first: whether the first convolution's is the last to go.
    """
    strides, smallest = list(paper), min(input_shape[:2])
    halvings = [place for place, stride in enumerate(strides) if stride == 2]
    if reduction is not None:
        kept = reduction.bit_length() - 1
    else:
        kept = sum(math.ceil(smallest / 2**times) >= _SMALLEST for times in range(1, len(halvings) + 1))
    order = [*halvings[1:], *halvings[:1]] if keep_first else halvings
    for place in order[: len(halvings) - kept]:
        strides[place] = 1
    return strides
