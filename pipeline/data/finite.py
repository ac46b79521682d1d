"""NaN and infinity in data: no model can take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.errors import InputError
from pipeline.rows import Rows

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data.config import DataConfig
    from pipeline.data.sources.source import Source, Target
    from pipeline.data.split import Name


def require(
    source: Source, targets: Mapping[str, Target], positions: Mapping[Name, np.ndarray], config: DataConfig
) -> None:
    """Refuse samples and values to predict that are not finite as float32.

    Raises:
        InputError: some are not; the message has their number and the first one's place.
    """
    arrays = [(f"the input {name}", array) for name, array in source.x.items() if array.dtype.kind == "f"]
    arrays += [
        (f"what is to be predicted{f' ({name})' if name else ''}", target.y)
        for name, target in targets.items()
        if target.y.dtype.kind == "f"
    ]
    for what, array in arrays:
        for split, here in positions.items():
            count, first = _bad(Rows(array, here))
            if count:
                raise InputError(
                    f"the data source {config.source!r} holds values that are not finite", expected="finite numbers",
                    found=f"{count} such values in the {split} split, in {what}, first in sample {here[first]} of the "
                    "data (counted from 0)",
                    todo="replace or remove them in the data",
                )  # fmt: skip


def _bad(samples: Rows) -> tuple[int, int]:
    """Return how many values are not finite, and the first sample that has one."""
    import numpy as np

    count, first = 0, 0
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite there, and told
        for piece in samples.pieces():
            wrong = ~np.isfinite(samples[piece])
            if wrong.any() and not count:
                first = piece.start + int(wrong.reshape(len(wrong), -1).any(axis=1).argmax())
            count += int(wrong.sum())
    return count, first
