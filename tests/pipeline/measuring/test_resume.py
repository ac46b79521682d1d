from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import data
from pipeline.attempt import Attempts
from pipeline.errors import RunError, UnavailableError
from pipeline.events import Event, Note
from pipeline.measuring.facts import Facts, Group
from pipeline.measuring.latency_config import LatencyConfig
from pipeline.measuring.resume import resumed
from pipeline.parts import Parts
from pipeline.report import document
from pipeline.report.startup import Delegated, Startup

SPLITS = data.load(data.DataConfig())
LOGITS = np.arange(6, dtype=np.float32).reshape(2, 3)
CHECK = document.Check(name="malformed-requests", requests=7, problems=["it answered one"])

START = Startup(
    repeats=2, batch=1, load_ms=1.5, first_ms=0.5, loads_ms=[1.0, 2.0], firsts_ms=[0.4, 0.6], memory_mib=0.25,
    delegated=Delegated(operators=2, taken=1, partitions=1, left={"SOFTMAX": 1}),
)  # fmt: skip


@dataclass(frozen=True)
class Somewhere:
    """A place that nothing is called in."""

    name: str = "served over grpc"
    key: str = "grpc"
    threads: int = 1

    def call(self, *_: Any) -> Any:
        raise AssertionError

    def described(self) -> dict[str, Any]:
        return {"runtime": "served"}


GROUP = Group(Somewhere(), ("a", "b"), None)


def facts(events: list[Event]) -> Facts:
    return Facts(Attempts("measure", "runtime", events.append), SPLITS, 256, LatencyConfig(), steps=4)


def measured(known: Facts) -> None:
    known.step("answers of a")
    known.answers["a", "grpc"] = {"logits": LOGITS}
    known.checks["a", "grpc"] = [CHECK]
    known.starts["a", "grpc"] = START
    known.unstarted["b", "grpc"] = "killed by SIGABRT"
    known.places["served over grpc"] = {"runtime": "served"}
    known.attempts.fail("b", RunError("it cannot be loaded"))


def test_what_was_measured_is_taken_up_with_its_failures_and_they_are_said_again(tmp_path: Path) -> None:
    events: list[Event] = []
    first, second = facts([]), facts(events)
    resumed("served", [GROUP], first, Parts(tmp_path), lambda: measured(first))
    resumed("served", [GROUP], second, Parts(tmp_path), pytest.fail)
    assert events == [
        Note("measure", "b failed: it cannot be loaded", level="warning"),
        Note("measure", "goes on: served over grpc measured before it was interrupted"),
    ]
    assert second.done == first.done == 1
    assert second.attempts.errors == first.attempts.errors == {"b": "it cannot be loaded"}
    assert (second.checks, second.latency, second.places) == (first.checks, first.latency, first.places)
    assert second.starts == first.starts == {("a", "grpc"): START}
    assert second.unstarted == first.unstarted == {("b", "grpc"): "killed by SIGABRT"}
    assert list(second.answers) == [("a", "grpc")]
    np.testing.assert_array_equal(second.answers["a", "grpc"]["logits"], LOGITS)


def test_nothing_is_kept_when_a_failure_was_of_the_moment(tmp_path: Path) -> None:
    known = facts([])

    def measure() -> None:
        measured(known)
        known.attempts.fail("a", UnavailableError("it is gone", code="UNAVAILABLE"))

    resumed("served", [GROUP], known, Parts(tmp_path), measure)
    assert list(tmp_path.iterdir()) == []
