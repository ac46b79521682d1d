"""What a model takes and gives, as its file or its server says it; of any origin, where no `Spec` is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.predictor import Samples

if TYPE_CHECKING:
    import numpy as np

STRING = "string"
UNKNOWN = "unknown"  # no tensor of numbers or strings: a sequence, a map


@dataclass(frozen=True)
class End:
    """An input or an output.

    Attributes:
        dtype: numpy's name of the type, STRING or UNKNOWN.
        shape: with the batch dimension, None for a dynamic one; None as a whole: even the rank is unknown.
        quantization: scale and zero point, of an integer that stands for (integer - zero point) * scale.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    quantization: tuple[float, int] | None = None

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.name} {self.dtype} of unknown rank"
        return f"{self.name} {self.dtype} [{', '.join('?' if size is None else str(size) for size in self.shape)}]"


@dataclass(frozen=True)
class Signature:
    """All ends of a model, in the order of its file or server; see `predictor.Ends`."""

    takes: tuple[End, ...]
    gives: tuple[End, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(end.name for end in self.takes)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Those that are numbers: what else a model says, its clients and runtimes need not decode."""
        return tuple(end.name for end in self.gives if end.dtype not in (STRING, UNKNOWN))

    def named(self, samples: Samples) -> dict[str, np.ndarray]:
        """Return samples by the names of their inputs."""
        return dict(samples) if isinstance(samples, Mapping) else {self.names[0]: samples}

    @property
    def batch(self) -> int | None:
        """How many samples it takes at once: None for any number, 0 where its inputs have no batch dimension."""
        firsts = {end.shape[0] if end.shape else 0 for end in self.takes if end.shape is not None}
        if len(firsts) > 1 or not self.takes:
            return 0
        return firsts.pop() if firsts else None
