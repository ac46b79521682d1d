"""Equal samples: which ones there are, and which of them are on both sides of a split."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.rows import at_once

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data.split import Name


def groups(x: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a number for each sample, int64 [n]: equal samples have the same.

    Numbers are equal where all their values are; texts where they are but for case and the width of spaces.

    Args:
        x: input name -> [n, ...].
    """
    import numpy as np

    _, found = np.unique(_digests(x), return_inverse=True)
    return found.astype(np.int64)


def leaks(
    x: Mapping[str, np.ndarray], targets: Sequence[np.ndarray], positions: Mapping[Name, np.ndarray]
) -> Iterator[str]:
    """Yield what to say of test and validation samples that the training split has too, and of those whose answer is
    another there.

    Args:
        x: input name -> [n, ...]. targets: [n, ...] each. positions: of each split's samples.
    """
    import numpy as np

    digests = _digests(x)
    train, first = np.unique(digests[positions["train"]], return_index=True)
    sides: tuple[Name, ...] = ("test", "validation")
    for name in sides:
        here = positions[name]
        known = here[np.isin(digests[here], train)]
        if len(known):
            there = positions["train"][first[np.searchsorted(train, digests[known])]]
            other = np.zeros(len(known), bool)
            for y in targets:
                other |= (y[known] != y[there]).reshape(len(known), -1).any(axis=1)
            aside = f", {other.sum()} of them with another answer" if other.any() else ""
            yield (
                f"{len(known)} of {len(here)} {name} samples ({len(known) / len(here):.1%}) are in the training split "
                f"too{aside}: figures from them flatter; data.split.by=content keeps equal samples together"
            )


def _digests(x: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a hash of each sample with all its inputs, uint64 [n]."""
    import numpy as np

    arrays = list(x.values())
    found = np.empty(len(arrays[0]), np.uint64)
    size = at_once(sum(array.dtype.itemsize * math.prod(array.shape[1:]) for array in arrays))
    for start in range(0, len(found), size):
        pieces = [array[start : start + size] for array in arrays]
        for place in range(len(pieces[0])):
            digest = hashlib.blake2b(digest_size=8)
            for piece in pieces:
                content = _bytes(piece[place])
                if len(pieces) > 1:  # where one input ends and the next begins
                    digest.update(len(content).to_bytes(8))
                digest.update(content)
            found[start + place] = int.from_bytes(digest.digest())
    return found


def _bytes(sample: Any) -> bytes:
    if isinstance(sample, str):
        return " ".join(sample.casefold().split()).encode()
    content: bytes = sample.tobytes()
    return content
