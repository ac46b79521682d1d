"""Loads the configured models at start: finds versions, tries, tries again, and waits (rules 1.3 to 1.5 and 5.3)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serving.server import storage
from serving.server.config import ModelConfig
from serving.server.registry import Registry, State, VersionStatus
from serving.server.status import Code, StatusError

if TYPE_CHECKING:
    from serving.server.servable import Servable

log = logging.getLogger(__name__)
_LOOK_S = 0.2  # how often a wait looks whether the server is to stop


@dataclass(frozen=True)
class Attempts:
    """How often a version is tried.

    Attributes:
        count: attempts at all, at least 1.
        interval_s: between two of them.
    """

    count: int
    interval_s: float


class Loader:
    """Brings versions into a registry, each in a thread of a pool.

    Args:
        load: loads one version.
        threads: versions loaded at the same time.
        stop: set when the server ends.
    """

    def __init__(
        self,
        registry: Registry,
        load: Callable[[str, int, Path], Servable],
        attempts: Attempts,
        threads: int,
        stop: threading.Event,
    ) -> None:
        self._registry, self._load, self._attempts, self._stop = registry, load, attempts, stop
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="load")

    def start(self, configs: Sequence[ModelConfig], poll_s: int) -> None:
        """Load every model; return when each has a version AVAILABLE, or the server is to stop.

        A model without a version on disk is waited for.

        Args:
            poll_s: seconds between two looks for the versions of a model that has none; 0: one look; less: none.

        Raises:
            StatusError: no version of some model became AVAILABLE.
        """
        waiting = list(configs)
        next_look = time.monotonic() if poll_s >= 0 else float("inf")
        names = [config.name for config in configs]
        while waiting and not self._stop.is_set():
            if time.monotonic() >= next_look:
                waiting = [config for config in waiting if not self._submit(config)]
                next_look = time.monotonic() + poll_s if poll_s > 0 else float("inf")
            elif self._stop.wait(_LOOK_S):
                return
        while not self._registry.wait_for(lambda: all(map(self._registry.settled, names)), _LOOK_S):
            if self._stop.is_set():
                return
        failure = self._registry.failures(names)
        if failure and not self._stop.is_set():
            raise failure

    def _submit(self, config: ModelConfig) -> bool:
        """Start to load the versions that the policy wants; return whether there are any."""
        try:
            found = storage.versions(config.base_path)
        except OSError as error:
            log.warning(
                "Could not find base path %s for servable %s (%s)", config.base_path, config.name, error.strerror
            )
            return False
        for absent in sorted(config.policy.versions - found.keys()):
            log.warning("Version %d of servable %s, requested as a specific version, was not found under base path %s",
                        absent, config.name, config.base_path)  # fmt: skip
        chosen = storage.wanted(config.policy, found)
        if not chosen:
            log.warning("No versions of servable %s found under base path %s. Did you forget to name your leaf "
                        "directory as a number (eg. '/1/')?", config.name, config.base_path)  # fmt: skip
            return False
        for version in chosen:
            self._registry.set(config.name, VersionStatus(version, State.START))
        for version, path in chosen.items():
            self._pool.submit(self._bring, config.name, version, path)
        return True

    def _bring(self, name: str, version: int, path: Path) -> None:
        """Load one version, or say why it cannot be."""
        self._registry.set(name, VersionStatus(version, State.LOADING))
        error = StatusError(Code.CANCELLED, "the server stopped")
        for attempt in range(self._attempts.count):
            if attempt:
                self._stop.wait(self._attempts.interval_s)
            if self._stop.is_set():
                break
            try:
                servable = self._load(name, version, path)
            except StatusError as failure:
                error = failure
            except Exception as failure:  # noqa: BLE001  the other versions are served all the same
                error = StatusError(Code.INTERNAL, f"{type(failure).__name__}: {failure}")
            else:
                self._registry.set(name, VersionStatus(version, State.AVAILABLE, servable=servable))
                log.info("Successfully loaded servable version {name: %s version: %d}", name, version)
                return
            log.error("Loading servable: {name: %s version: %d} failed: %s", name, version, error)
        self._registry.set(name, VersionStatus(version, State.END, error=error))
