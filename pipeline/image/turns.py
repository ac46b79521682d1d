"""Two images beside each other, whose models take turns: a speed-up against the reference needs both running."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from pipeline.measuring.runtimes import Source
from pipeline.measuring.served import Served

T = TypeVar("T")


@dataclass(frozen=True)
class Turns:
    """A served model and the reference in a server of its own, over one protocol; see `places.Place`.

    Attributes:
        this: the model that is measured.
        reference: what it is compared with.
        other: the reference's id.
    """

    this: Served
    reference: Served
    other: str

    @property
    def name(self) -> str:
        """The same as without the reference."""
        return self.this.name

    @property
    def key(self) -> str:
        """The protocol."""
        return self.this.key

    @property
    def threads(self) -> int:
        """One: of the client."""
        return self.this.threads

    def call(self, ids: Sequence[str], function: Callable[[Mapping[str, Source]], T]) -> T:
        """Run the function with the endpoints of both, or of one; see `places.Place.call`."""
        own = [name for name in ids if name != self.other]
        if len(own) == len(ids):
            return self.this.call(own, function)
        if not own:
            return self.reference.call(ids, function)
        beside = self.reference.supply.sources([self.other], self.key)
        return self.this.call(own, partial(_together, function, beside))

    def described(self) -> dict[str, Any]:
        """Return the facts of the measured model's server."""
        return self.this.described()


def _together(
    function: Callable[[Mapping[str, Source]], T], beside: Mapping[str, Source], sources: Mapping[str, Source]
) -> T:
    return function({**beside, **sources})
