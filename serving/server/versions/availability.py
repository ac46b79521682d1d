"""What is done next with the versions of a model, such that one of them can always be asked (rules 6.2 to 6.4)."""

from __future__ import annotations

from collections.abc import Collection, Container
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.server.servable import Servable
    from serving.server.status import StatusError


class Stage(Enum):
    """Where a version is on its way."""

    NEW = "not yet tried"
    LOADING = "being loaded"
    WAITING = "to be tried again when it is due"
    READY = "can be asked"
    UNLOADING = "being unloaded"
    FAILED = "not tried again"


_ON_THE_WAY = (Stage.NEW, Stage.LOADING, Stage.READY)


@dataclass
class Version:
    """A version that is, or was, wanted.

    Attributes:
        aspired: it is wanted.
        attempts: how often it was tried.
        due: when it may be tried, in seconds of time.monotonic.
        error: why the last attempt failed.
        servable: set while it is READY.
    """

    number: int
    path: Path
    aspired: bool = True
    stage: Stage = Stage.NEW
    attempts: int = 0
    due: float = 0.0
    error: StatusError | None = None
    servable: Servable | None = None

    def loadable(self, now: float) -> bool:
        """Return whether it may be tried now."""
        return self.aspired and self.stage in (Stage.NEW, Stage.WAITING) and self.due <= now


def next_unload(versions: Collection[Version]) -> Version | None:
    """Return the version to unload: the lowest that is no longer wanted, unless nothing wanted can be asked yet."""
    aspired = [version for version in versions if version.aspired]
    if aspired and not any(version.stage is Stage.READY for version in aspired):
        return None
    unwanted = [version for version in versions if not version.aspired and version.stage is Stage.READY]
    return min(unwanted, key=lambda version: version.number, default=None)


def next_load(versions: Collection[Version], now: float) -> Version | None:
    """Return the version to load: the highest that may be tried."""
    candidates = [version for version in versions if version.loadable(now)]
    return max(candidates, key=lambda version: version.number, default=None)


def must_go_first(versions: Collection[Version], wanted: Container[int]) -> bool:
    """Return whether a version that was no longer wanted, and is again, has to be unloaded before it comes back.

    Its folder may hold another model by now. It stays where those that were to replace it do not make it.
    """
    returning = [version for version in versions if version.number in wanted and not version.aspired]
    replaced = any(version.aspired and version.stage in _ON_THE_WAY for version in versions)
    return any(replaced or version.stage is not Stage.READY for version in returning)


def settled(versions: Collection[Version]) -> bool:
    """Return whether a wanted version can be asked, or none that may yet become so."""
    aspired = [version for version in versions if version.aspired]
    return any(version.stage is Stage.READY for version in aspired) or (
        bool(aspired) and all(version.stage is Stage.FAILED for version in aspired)
    )
