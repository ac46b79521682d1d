"""What a data source gives: samples as they are stored, and what the world calls them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

# the splits that a source may come with; what it does not come with is taken from the training samples
Given = Literal["validation", "test"]


@dataclass(frozen=True)
class Target:
    """What is to be answered for each sample.

    Attributes:
        y: integers [n], positions in `classes`; or of several labels at once 0 or 1, [n, classes]; or numbers [n] or
            [n, k] to be predicted.
        classes: label names, in the order of the logits; None where `y` are numbers to be predicted.
    """

    y: np.ndarray
    classes: tuple[str, ...] | None


@dataclass(frozen=True)
class Source:
    """A source's content before any split.

    Attributes:
        x: input name -> [n, *shape], any real dtype, raw values; of texts strings [n], as objects. May be a
            numpy.memmap, which is read as it is needed.
        targets: head name -> what it has to answer; the only one's name is empty.
        given: split -> positions of the samples that the source itself put there; these splits are kept as they are.
        groups: integers [n]; samples of one group stay in one split where the recipe asks for it. None: it has none.
        notes: what a reader should know, such as samples that were left out.
        columns: input name -> what its columns are called, of an input [n, columns] whose columns have ranges of their
            own; see `Input`.
    """

    x: Mapping[str, np.ndarray]
    targets: Mapping[str, Target]
    given: Mapping[Given, np.ndarray] = field(default_factory=dict)
    groups: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
