"""Brings the versions of models to where they are wanted: loads, tries again, unloads (rules 5.3 and 6.1 to 6.5)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serving.server.status import Code, StatusError
from serving.server.versions.availability import Stage, Version, must_go_first, next_load, next_unload, settled
from serving.server.versions.registry import Registry, State, VersionStatus
from serving.server.versions.unloading import free

if TYPE_CHECKING:
    from serving.server.servable import Servable

log = logging.getLogger(__name__)
_FORGETTABLE = (Stage.NEW, Stage.WAITING, Stage.FAILED)


@dataclass(frozen=True)
class Attempts:
    """How often a version is tried.

    Attributes:
        count: attempts at all, at least 1.
        interval_s: between two of them; other versions are loaded meanwhile.
    """

    count: int
    interval_s: float


class Lifecycle:
    """Loads and unloads in threads of its own, by what is wanted.

    Args:
        load: loads one version.
        load_threads: versions loaded at the same time.
        unload_threads: versions unloaded at the same time.
    """

    def __init__(
        self,
        registry: Registry,
        load: Callable[[str, int, Path], Servable],
        attempts: Attempts,
        load_threads: int,
        unload_threads: int,
    ) -> None:
        self._registry, self._load_servable, self._attempts = registry, load, attempts
        self._loads = ThreadPoolExecutor(load_threads, thread_name_prefix="load")
        self._unloads = ThreadPoolExecutor(unload_threads, thread_name_prefix="unload")
        self._models: dict[str, dict[int, Version]] = {}
        self._wishes: dict[str, Mapping[int, Path]] = {}  # not yet taken up
        self._stopped = False
        self._changed = threading.Condition()
        threading.Thread(target=self._try_again, name="lifecycle", daemon=True).start()

    def aspire(self, name: str, versions: Mapping[int, Path]) -> None:
        """Say which versions of a model are wanted, and where they are; the others are not."""
        with self._changed:
            self._wishes[name] = versions
            self._advance(name)

    def limit_loads(self, threads: int) -> None:
        """Load only so many versions at the same time from now on."""
        with self._changed:
            before, self._loads = self._loads, ThreadPoolExecutor(threads, thread_name_prefix="load")
        before.shutdown(wait=False)

    def wait(self, names: Collection[str], timeout_s: float | None) -> bool:
        """Wait until each model has a version AVAILABLE or only such as failed; return whether it came to that.

        Raises:
            StatusError: the server stops.
        """
        with self._changed:
            reached = self._changed.wait_for(lambda: self._stopped or all(map(self._settled, names)), timeout_s)
            if self._stopped:
                raise StatusError(Code.UNAVAILABLE, "the server stops")
            return reached

    def failures(self, names: Collection[str]) -> list[str]:
        """Return, for the models that failed, which versions did and why, in TensorFlow Serving's words."""
        with self._changed:
            return [
                f"{{name: {name} version: {version.number}}} due to error: {version.error}}}, "
                for name in names
                if all(version.stage is Stage.FAILED for version in self._aspired(name))
                for version in self._aspired(name)
            ]

    def stop(self) -> None:
        """Begin nothing any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for pool in (self._loads, self._unloads):
            pool.shutdown(wait=False, cancel_futures=True)

    def _settled(self, name: str) -> bool:
        return name not in self._wishes and settled(self._aspired(name))

    def _aspired(self, name: str) -> list[Version]:
        return [version for _, version in sorted(self._models.get(name, {}).items()) if version.aspired]

    def _try_again(self) -> None:
        """Begin the attempts that become due."""
        with self._changed:
            while not self._stopped:
                for name in self._models:
                    self._advance(name)
                self._changed.wait(self._until_due())

    def _advance(self, name: str) -> None:
        """Do what can be done for a model now that something has changed."""
        self._forget(name)
        self._take_up(name)
        self._forget(name)
        if not self._stopped:
            self._act(name)
        self._changed.notify_all()

    def _take_up(self, name: str) -> None:
        """Make the wanted versions the aspired ones, unless one that is to go and comes back has to be gone before."""
        versions = self._models.setdefault(name, {})
        wanted = self._wishes.get(name)
        if wanted is None or must_go_first(versions.values(), wanted):
            return
        del self._wishes[name]
        for version in versions.values():
            version.aspired = version.number in wanted
        for number in wanted.keys() - versions.keys():
            versions[number] = Version(number, wanted[number])
            self._registry.set(name, VersionStatus(number, State.START))

    def _forget(self, name: str) -> None:
        """Let go of versions that are not wanted and that nothing is done with."""
        versions = self._models.get(name, {})
        for version in list(versions.values()):
            if not version.aspired and version.stage in _FORGETTABLE:
                del versions[version.number]
                self._registry.set(name, VersionStatus(version.number, State.END, error=version.error))

    def _act(self, name: str) -> None:
        """Begin what can be begun."""
        versions = self._models[name].values()
        while unwanted := next_unload(versions):
            unwanted.stage = Stage.UNLOADING
            self._unloads.submit(self._unload, name, unwanted)
        now = time.monotonic()
        while wanted := next_load(versions, now):
            wanted.stage = Stage.LOADING
            self._loads.submit(self._load, name, wanted)

    def _until_due(self) -> float | None:
        """Return the seconds until the next attempt, or None where there is none."""
        due = [
            version.due
            for versions in self._models.values()
            for version in versions.values()
            if version.stage is Stage.WAITING
        ]
        return min(max(0.0, min(due) - time.monotonic()), threading.TIMEOUT_MAX) if due else None

    def _load(self, name: str, version: Version) -> None:
        """Try to load a version once."""
        self._registry.set(name, VersionStatus(version.number, State.LOADING))
        servable, error = self._attempt(name, version)
        with self._changed:
            version.attempts, version.error = version.attempts + 1, error
            if servable is not None:
                version.stage, version.servable = Stage.READY, servable
                self._registry.set(name, VersionStatus(version.number, State.AVAILABLE, servable=servable))
                log.info("Successfully loaded servable version {name: %s version: %d}", name, version.number)
            elif version.aspired and version.attempts < self._attempts.count:
                version.stage, version.due = Stage.WAITING, time.monotonic() + self._attempts.interval_s
                log.info("Attempt %d of %d to load {name: %s version: %d} failed; the next is in %g s",
                         version.attempts, self._attempts.count, name, version.number,
                         self._attempts.interval_s)  # fmt: skip
            else:
                version.stage = Stage.FAILED
                self._registry.set(name, VersionStatus(version.number, State.END, error=error))
            self._advance(name)

    def _attempt(self, name: str, version: Version) -> tuple[Servable | None, StatusError | None]:
        """Return the servable, or why there is none."""
        if not version.aspired:
            return None, StatusError(Code.CANCELLED, "Load cancelled before we could try to load.")
        try:
            return self._load_servable(name, version.number, version.path), None
        except StatusError as failure:
            # a new one: the one that was raised holds, by its traceback, what was loaded so far
            error = StatusError(failure.code, failure.text)
        except Exception as failure:  # noqa: BLE001  the other versions are served all the same
            error = StatusError(Code.INTERNAL, f"{type(failure).__name__}: {failure}")
        log.error("Loading servable: {name: %s version: %d} failed: %s", name, version.number, error)
        return None, error

    def _unload(self, name: str, version: Version) -> None:
        """Take a version from the clients, and free it when the last one is answered."""
        self._registry.set(name, VersionStatus(version.number, State.UNLOADING))
        try:
            free(version, lambda: self._stopped)
        except Exception:  # the memory may be lost; the version is gone all the same
            log.exception("Unloading servable version {name: %s version: %d} failed", name, version.number)
        with self._changed:
            del self._models[name][version.number]
            self._registry.set(name, VersionStatus(version.number, State.END))
            log.info("Done unloading servable version {name: %s version: %d}", name, version.number)
            self._advance(name)
