"""What a data source gives: samples as they are stored, and what the world calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Source:
    """A source's content before any split.

    Attributes:
        x: [n, *shape], any real dtype, raw values.
        y: integers [n], positions in `classes`.
        classes: label names, in the order of the logits.
        own_test: positions in x of the test split that the source came with; None where it has none.
    """

    x: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...]
    own_test: np.ndarray | None = None
