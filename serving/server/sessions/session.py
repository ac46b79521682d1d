"""What runs a model: feeds and fetches by the names of tensors, as tensorflow::Session has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np


class Session(Protocol):
    """A loaded model that can run, from many threads at once, until it is closed."""

    def dtype(self, tensor: str) -> int:
        """Return a tensor's number in DataType.

        Raises:
            KeyError: there is no such tensor.
        """
        ...

    def run(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], timeout_ms: int | None) -> list[np.ndarray]:
        """Run and return the fetched tensors in the order in which they are named.

        Args:
            feeds: tensor -> value; of any dtype and shape, the kernels say what is wrong.
            fetches: tensors.
            timeout_ms: the run is given up after it; None: never.

        Raises:
            StatusError: with the code and the text of the kernel that failed, or DEADLINE_EXCEEDED.
        """
        ...

    def close(self) -> None:
        """Free what it holds. Nothing runs when it is called, and nothing will."""
        ...
