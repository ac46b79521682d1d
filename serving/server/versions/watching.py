"""Looks on disk, again and again, which versions of the models there are (rules 1.5, 5.1, 5.2 and 6.1)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from serving.layout import GRAPH
from serving.server.versions import storage
from serving.server.versions.config import ModelConfig

log = logging.getLogger(__name__)


class Watcher:
    """Tells which versions are wanted.

    A base path that cannot be read leaves its own model as it is; TensorFlow Serving then leaves all models.

    Args:
        aspire: is told, for a model, its wanted versions and where they are.
        poll_s: seconds between two looks; 0: one look at all, at start; less: none.
    """

    def __init__(self, aspire: Callable[[str, Mapping[int, Path]], None], poll_s: int) -> None:
        self._aspire, self._poll_s = aspire, poll_s
        self._models: dict[str, ModelConfig] = {}
        self._looking = threading.Lock()
        self._wake = threading.Event()
        self._started = self._stopped = False

    def watch(self, models: Collection[ModelConfig]) -> set[str]:
        """Watch these models and no others; return the names of those that are new."""
        with self._looking:
            before, self._models = self._models, {model.name: model for model in models}
            for name in before.keys() - self._models.keys():
                self._aspire(name, {})
        self._wake.set()
        if not self._started and self._poll_s >= 0:
            self._started = True
            threading.Thread(target=self._run, name="watch", daemon=True).start()
        return self._models.keys() - before.keys()

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        self._wake.set()

    def _run(self) -> None:
        while not self._stopped:
            self._wake.clear()
            self._look()
            if self._poll_s == 0:
                return
            self._wake.wait(self._poll_s)

    def _look(self) -> None:
        with self._looking:
            for model in self._models.values():
                try:
                    wanted = _wanted(model)
                except OSError as error:
                    log.error("Could not find base path %s for servable %s (%s)", model.base_path, model.name,
                              error.strerror)  # fmt: skip
                except Exception:  # one model holds up no other
                    log.exception("Could not look for versions of servable %s", model.name)
                else:
                    self._aspire(model.name, wanted)


def _wanted(model: ModelConfig) -> dict[int, Path]:
    """Return the versions that the policy wants and that are there.

    Raises:
        OSError: the base path cannot be read.
    """
    found = storage.versions(model.base_path)
    for absent in sorted(model.policy.versions - found.keys()):
        log.warning("Version %d of servable %s, which was requested to be served as a 'specific' version in the "
                    "servable's version policy, was not found in the file system", absent, model.name)  # fmt: skip
    wanted = storage.wanted(model.policy, found)
    if not wanted:
        log.warning("No versions of servable %s found under base path %s. Did you forget to name your leaf "
                    "directory as a number (eg. '/1/')?", model.name, model.base_path)  # fmt: skip
        if (model.base_path / GRAPH).exists():
            log.warning("%s holds saved_model.pb itself: the base path is the folder above it", model.base_path)
    return wanted
