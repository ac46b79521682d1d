"""Which versions of which models are there, in what state, and which one a request means (rules 2 and 3.11)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from serving.server.status import StatusError, invalid, not_found

if TYPE_CHECKING:
    from serving.server.servable import Servable


class State(IntEnum):
    """The states of a version; the numbers are those of ModelVersionStatus."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionStatus:
    """One version: where it stands, why its load failed, and the servable while it is AVAILABLE."""

    version: int
    state: State
    error: StatusError | None = None
    servable: Servable | None = None


class Registry:
    """Names -> versions -> states; what has ended stays listed.

    Readers take no lock: what they read is replaced, never changed.
    """

    def __init__(self) -> None:
        self._models: dict[str, dict[int, VersionStatus]] = {}
        self._newest: dict[str, Servable] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._writing = threading.Lock()

    def set(self, name: str, status: VersionStatus) -> None:
        """Say where a version stands now."""
        with self._writing:
            versions = {**self._models.get(name, {}), status.version: status}
            self._models = {**self._models, name: versions}
            servables = {v: s.servable for v, s in versions.items() if s.servable and s.state is State.AVAILABLE}
            newest = {key: value for key, value in self._newest.items() if key != name}
            self._newest = {**newest, name: servables[max(servables)]} if servables else newest

    @property
    def labels(self) -> Mapping[str, Mapping[str, int]]:
        """Model -> label -> version."""
        return self._labels

    def set_labels(self, labels: Mapping[str, Mapping[str, int]]) -> None:
        """Say which versions the labels of all models mean; others are forgotten."""
        self._labels = {name: dict(versions) for name, versions in labels.items()}

    def find(self, name: str, version: int | None = None, label: str | None = None) -> Servable:
        """Return the version that a request means; holding it keeps it alive (rules 2.1 to 2.5).

        Raises:
            StatusError: there is none.
        """
        if not name:
            raise invalid("ModelSpec has no name specified.")
        if label is not None:
            version = self._labels.get(name, {}).get(label)
            if version is None:
                raise invalid(f"Unrecognized servable version label: {label}")
        if version is None:
            servable = self._newest.get(name)
            if servable is None:
                raise not_found(f"Servable not found for request: Latest({name})")
            return servable
        status = self._models.get(name, {}).get(version)
        if status is None or status.state is not State.AVAILABLE or status.servable is None:
            raise not_found(f"Servable not found for request: Specific({name}, {version})")
        return status.servable

    def available(self, name: str, version: int) -> bool:
        """Return whether a version can be asked."""
        status = self._models.get(name, {}).get(version)
        return status is not None and status.state is State.AVAILABLE

    def statuses(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """Return where the versions of a model stand, or the one asked for; the highest first (rule 3.11).

        Raises:
            StatusError: the model or the version was never there.
        """
        versions = self._models.get(name, {})
        if version is not None:
            if version not in versions:
                raise not_found(f"Could not find version {version} of model {name}")
            return [versions[version]]
        if not versions:
            raise not_found(f"Could not find any versions of model {name}")
        return [versions[number] for number in sorted(versions, reverse=True)]
