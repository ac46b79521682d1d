"""The models that are served, as a config says; a new one replaces it while the server runs (rules 3.12, 6.6, 6.7)."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
from collections.abc import Callable, Collection
from typing import Any

from serving.server.status import Code, StatusError
from serving.server.versions import config as model_config
from serving.server.versions.config import ModelConfig
from serving.server.versions.lifecycle import Lifecycle
from serving.server.versions.registry import Registry
from serving.server.versions.watching import Watcher

log = logging.getLogger(__name__)
_LOOK_S = 0.2  # how often a wait looks whether it has become pointless


class Models:
    """Applies configs, one after another.

    Args:
        lifecycle: loads as many versions at the same time as the first models may have.
        load_threads: versions loaded at the same time once they are there.
        early_labels: a label that is new may name a version that is not AVAILABLE.
    """

    def __init__(
        self, registry: Registry, lifecycle: Lifecycle, watcher: Watcher, *, load_threads: int, early_labels: bool
    ) -> None:
        self.registry = registry
        self._lifecycle, self._watcher = lifecycle, watcher
        self._load_threads, self._early_labels = load_threads, early_labels
        self._platforms: dict[str, str] | None = None  # of the last config that was taken, rejected later or not
        self._one_by_one = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="reload")

    def accept(self, config: Any) -> tuple[ModelConfig, ...] | None:
        """Return the models of a ModelServerConfig, or None where it is empty and there is none before it.

        The order is TensorFlow Serving's: what follows the platforms is found wrong in a config that already counts
        as the one before the next.

        Raises:
            StatusError: it is wrong.
        """
        kind = config.WhichOneof("config")
        if self._platforms is not None and kind != "model_config_list":
            raise StatusError(
                Code.FAILED_PRECONDITION,
                "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to "
                "another.",
            )
        if kind is None:
            log.info("Taking no action for empty config.")
            return None
        if kind != "model_config_list":
            raise StatusError(Code.UNIMPLEMENTED, "ModelServer does not yet support custom model config.")
        entries = config.model_config_list.config
        model_config.check_list(entries)
        model_config.check_unchanged(self._platforms or {}, entries)
        self._platforms = {entry.name: _platform_or_none(entry) for entry in entries}
        models = tuple(map(model_config.model, entries))
        self._set_labels(models)
        model_config.check_supported(entries)
        return models

    def start(self, models: Collection[ModelConfig], stop: threading.Event) -> None:
        """Return when each of the first models has a version AVAILABLE, or the server is to stop (rules 1.3 to 1.5).

        Raises:
            StatusError: no version of some model became AVAILABLE.
        """
        names = self._watcher.watch(models)
        while not self._lifecycle.wait(names, _LOOK_S):
            if stop.is_set():
                return
        self._raise_failures(names, "servable(s)")
        self._lifecycle.limit_loads(self._load_threads)

    def reload(self, config: Any, wanted: Callable[[], bool]) -> None:
        """Apply a config after those that came before; return when its new models can be asked.

        Args:
            wanted: somebody still waits for it; it is applied all the same.

        Raises:
            StatusError: it is wrong, a new model failed, or nobody waits.
        """
        applied = self._one_by_one.submit(self._apply, config)
        while not concurrent.futures.wait([applied], _LOOK_S).done:
            if not wanted():
                raise StatusError(Code.CANCELLED, "nobody waits for the config to be applied")
        applied.result()

    def stop(self) -> None:
        """Begin nothing any more, and let those go who wait."""
        self._watcher.stop()
        self._lifecycle.stop()
        self._one_by_one.shutdown(wait=False)

    def _apply(self, config: Any) -> None:
        models = self.accept(config)
        if models is not None:
            log.info("Adding/updating models.")
            new = self._watcher.watch(models)
            self._lifecycle.wait(new, None)
            self._raise_failures(new, "model(s)")
            log.info("Finished adding/updating models")

    def _raise_failures(self, names: Collection[str], noun: str) -> None:
        failed = self._lifecycle.failures(names)
        if failed:
            text = f"{len(failed)} {noun} did not become available: {{{''.join(failed)}}}"
            raise StatusError(Code.UNKNOWN, text)

    def _set_labels(self, models: Collection[ModelConfig]) -> None:
        """Replace all labels, or none where one of them may not be set (rule 6.7)."""
        for model in models:
            for label, version in model.labels.items():
                moved = self.registry.labels.get(model.name, {}).get(label, version) != version
                early = self._early_labels and not moved
                if not early and not self.registry.available(model.name, version):
                    raise StatusError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model {model.name}, which is not currently "
                        "available for inference",
                    )
        self.registry.set_labels({model.name: model.labels for model in models})


def _platform_or_none(entry: Any) -> str:
    """Return a platform to compare the next config with; an illegal one is compared with nothing."""
    try:
        return model_config.platform(entry)
    except StatusError:
        return ""


def poll(models: Models, path: str, interval_s: int, stop: threading.Event) -> None:
    """Read the config file and apply it, each time anew, until the server stops; what is wrong is logged (rule 6.6)."""
    while not stop.wait(interval_s):
        try:
            models.reload(model_config.read(path), lambda: not stop.is_set())
        except StatusError as error:
            log.error("PollFilesystemAndReloadConfig failed to ReloadConfig: %s", error)
        except Exception:  # the next look may go better
            log.exception("PollFilesystemAndReloadConfig failed")
