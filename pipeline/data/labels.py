"""Labels that cannot be learned from: outside of the classes, of one class only, or of a class that training lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data.sources.source import Target
    from pipeline.data.split import Name


def check(name: str, target: Target, positions: Mapping[Name, np.ndarray]) -> tuple[str, ...]:
    """Return what to say of the labels of one output.

    Args:
        name: of the output; empty where it is the only one.
        target: with classes; labels int [n].
        positions: of each split's samples.

    Raises:
        InputError: labels that are no class, or training samples of one class only.
    """
    import numpy as np

    classes = target.classes or ()
    of = f" of {name}" if name else ""
    used = np.concatenate(list(positions.values()))
    wrong = np.flatnonzero((target.y[used] < 0) | (target.y[used] >= len(classes)))
    if len(wrong):
        found, counts = np.unique(target.y[used[wrong]], return_counts=True)
        listed = ", ".join(f"{label} ({count} times)" for label, count in zip(found[:5], counts[:5], strict=True))
        raise InputError(
            f"{len(wrong)} labels{of} are none of the {len(classes)} classes", expected=f"0 to {len(classes) - 1}",
            found=listed + (", ..." if len(found) > 5 else ""), todo="correct the labels, or name all classes",
        )  # fmt: skip
    samples = {split: np.bincount(target.y[here], minlength=len(classes)) for split, here in positions.items()}
    learned = np.flatnonzero(samples["train"])
    if len(learned) < 2:
        raise InputError(
            f"the training split has one class only{of}", expected="samples of at least two classes",
            found=f"{len(positions['train'])} samples of {classes[learned[0]]}",
            todo="check the labels, or another data.split.by; what is normal alone is learned by data.task anomaly",
        )  # fmt: skip
    return tuple(
        f"class {classes[label]}{of} has no training sample, and {count} in the {split} split: it cannot be learned"
        for split in ("validation", "test")
        for label, count in enumerate(samples[split])
        if count and not samples["train"][label]
    )
