"""What a data source gives: samples as they are stored, and what the world calls them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Target:
    """What is to be answered for each sample.

    Attributes:
        y: integers [n], positions in `classes`; or numbers [n] or [n, k] to be predicted.
        classes: label names, in the order of the logits; None where `y` are numbers to be predicted.
    """

    y: np.ndarray
    classes: tuple[str, ...] | None


@dataclass(frozen=True)
class Source:
    """A source's content before any split.

    Attributes:
        x: input name -> [n, *shape], any real dtype, raw values; of texts strings [n], as objects.
        targets: head name -> what it has to answer; the only one's name is empty.
        own_test: positions of the test split that the source came with; None where it has none.
    """

    x: Mapping[str, np.ndarray]
    targets: Mapping[str, Target]
    own_test: np.ndarray | None = None
