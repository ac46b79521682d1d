"""The models of a server without its ports and without TensorFlow: what loads them is told what to do."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.server.status import Code, StatusError
from serving.server.versions.lifecycle import Attempts, Lifecycle
from serving.server.versions.models import Models
from serving.server.versions.registry import Registry
from serving.server.versions.watching import Watcher


class Session:
    """Counts how often it is closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class Fake:
    """A servable."""

    def __init__(self, name: str, version: int) -> None:
        self.name, self.version, self.session = name, version, Session()


class Loader:
    """Loads what is not in `failing`, as often as it says, and not before its gate is open."""

    def __init__(self, **failing: int) -> None:
        self.failing = failing
        self.calls: list[tuple[str, int]] = []
        self.gates: dict[tuple[str, int], threading.Event] = {}

    def __call__(self, name: str, version: int, path: Path) -> Any:
        self.calls.append((name, version))
        if (name, version) in self.gates:
            assert self.gates[name, version].wait(60)
        if self.failing.get(f"{name}{version}", 0) >= self.calls.count((name, version)):
            raise StatusError(Code.NOT_FOUND, f"nothing in {path.name}") if version else RuntimeError("a surprise")
        return Fake(name, version)


class Offline:
    """The models of a server, without its ports; it looks at the disk when it is told to."""

    def __init__(self, root: Path, loader: Loader, *, attempts: int = 1, interval_s: float = 0.0, poll_s: int = 0,
                 load_threads: int = 1, unload_threads: int = 1, early_labels: bool = False) -> None:  # fmt: skip
        self.root, self.loader, self.stop = root, loader, threading.Event()
        self.registry = Registry()
        self.lifecycle = Lifecycle(self.registry, loader, Attempts(attempts, interval_s), 4, unload_threads)
        self.watcher = Watcher(self.lifecycle.aspire, poll_s)
        self.models = Models(
            self.registry, self.lifecycle, self.watcher, load_threads=load_threads, early_labels=early_labels
        )

    def config(self, text: str) -> Any:
        """Return a config of models as `name: policy and labels`, one a line."""
        config = model_server_config_pb2.ModelServerConfig()
        config.model_config_list.SetInParent()
        for line in filter(None, map(str.strip, text.splitlines())):
            name, _, rest = line.partition(":")
            entry = f'name: "{name}" base_path: "{self.root / name}" {rest}'
            if "platform" not in rest:
                entry += ' model_platform: "tensorflow"'
            text_format.Parse(entry, config.model_config_list.config.add())
        return config

    def start(self, text: str) -> None:
        self.models.start(self.models.accept(self.config(text)) or (), self.stop)

    def reload(self, text: str) -> None:
        self.models.reload(self.config(text), lambda: True)

    def look(self) -> None:
        self.watcher._look()

    def add(self, name: str, *versions: int) -> None:
        for version in versions:
            (self.root / name / str(version)).mkdir(parents=True)

    def remove(self, name: str, *versions: int) -> None:
        for version in versions:
            shutil.rmtree(self.root / name / str(version))

    def states(self, name: str = "m") -> dict[int, str]:
        return {status.version: status.state.name for status in self.registry.statuses(name)}

    def becomes(self, states: dict[int, str], name: str = "m") -> None:
        within(lambda: self.states(name) == states, lambda: self.states(name))

    def asked(self, name: str = "m", **which: Any) -> int:
        return self.registry.find(name, **which).version

    def error(self, call: Callable[[], Any]) -> str:
        with pytest.raises(StatusError) as caught:
            call()
        return str(caught.value)

    def end(self) -> None:
        """Stop, and let go what waits."""
        self.stop.set()
        self.models.stop()
        for gate in self.loader.gates.values():
            gate.set()


def within(condition: Callable[[], bool], what: Callable[[], Any] = lambda: "") -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.005)
