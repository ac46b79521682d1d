"""Attempts, states and waiting at start, with a loader that needs no TensorFlow (1.4, 1.5, 5.3)."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from serving.server.config import ModelConfig
from serving.server.loading import Attempts, Loader
from serving.server.registry import Registry, State
from serving.server.status import Code, StatusError, not_found
from serving.server.storage import Policy


class Fake:
    """Loads what is not in `failing`, as often as it says."""

    def __init__(self, **failing: int) -> None:
        self.failing = failing
        self.calls: list[tuple[str, int]] = []

    def __call__(self, name: str, version: int, path: Path) -> Any:
        self.calls.append((name, version))
        if self.failing.get(f"{name}{version}", 0) >= self.calls.count((name, version)):
            raise StatusError(Code.NOT_FOUND, f"nothing in {path.name}") if version else RuntimeError("a surprise")
        return (name, version)


def start(fake: Fake, attempts: int, *configs: ModelConfig, stop: Any = None, poll_s: int = 1) -> Registry:
    registry = Registry()
    loader = Loader(registry, fake, Attempts(attempts, 0.0), 4, stop or threading.Event())
    loader.start(configs, poll_s)
    return registry


def model(root: Path, name: str, *versions: int, policy: Policy | None = None) -> ModelConfig:
    for version in versions:
        (root / name / str(version)).mkdir(parents=True)
    return ModelConfig(name, root / name, policy or Policy("all"))


def settle(registry: Registry, name: str) -> dict[int, State]:
    def ended() -> bool:
        return all(status.state in (State.AVAILABLE, State.END) for status in registry.statuses(name))

    assert registry.wait_for(ended, 10)
    return {status.version: status.state for status in registry.statuses(name)}


def test_a_version_is_tried_again_when_it_fails_and_the_others_serve(tmp_path: Path) -> None:
    fake = Fake(m2=2, m3=99, m0=99)
    registry = start(fake, 3, model(tmp_path, "m", 0, 1, 2, 3))
    states = settle(registry, "m")
    assert states == {3: State.END, 2: State.AVAILABLE, 1: State.AVAILABLE, 0: State.END}
    assert [fake.calls.count(("m", version)) for version in range(4)] == [3, 1, 3, 3]
    assert registry.find("m") == ("m", 2)
    assert [str(status.error) for status in registry.statuses("m") if status.error] == [
        "NOT_FOUND: nothing in 3", "INTERNAL: RuntimeError: a surprise"
    ]  # fmt: skip


def test_start_fails_with_every_reason_when_a_model_has_no_version_that_loads(tmp_path: Path) -> None:
    configs = [model(tmp_path, "good", 1), model(tmp_path, "M", 1, 2)]
    with pytest.raises(StatusError) as caught:
        start(Fake(M1=9, M2=9), 1, *configs)
    reasons = [
        f"{{name: M version: {version}}} due to error: NOT_FOUND: nothing in {version}}}, " for version in (1, 2)
    ]
    expected = [
        f"UNKNOWN: 2 servable(s) did not become available: {{{''.join(two)}}}" for two in (reasons, reasons[::-1])
    ]
    assert str(caught.value) in expected


@pytest.mark.parametrize("poll_s", [0, -1])
def test_start_waits_for_ever_when_it_does_not_look_again(tmp_path: Path, poll_s: int) -> None:
    stop = threading.Event()
    thread = threading.Thread(
        target=start,
        args=(Fake(), 1, ModelConfig("m", tmp_path / "m")),
        kwargs={"stop": stop, "poll_s": poll_s},
    )
    thread.start()
    time.sleep(0.3)  # the one look, where there is one, finds nothing
    model(tmp_path, "m", 1)
    thread.join(0.7)
    assert thread.is_alive()
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


def test_start_ends_when_the_server_is_to_stop_between_two_attempts(tmp_path: Path) -> None:
    stop = threading.Event()
    registry = Registry()

    def load(name: str, version: int, path: Path) -> Any:
        stop.set()
        raise not_found(f"{name} {version} {path}")

    Loader(registry, load, Attempts(5, 60.0), 1, stop).start([model(tmp_path, "m", 1)], 1)
    assert settle(registry, "m") == {1: State.END}


def test_nothing_is_waited_for_when_no_model_is_configured() -> None:
    registry = start(Fake(), 1)
    with pytest.raises(StatusError, match=r"NOT_FOUND: Servable not found for request: Latest\(m\)"):
        registry.find("m")
