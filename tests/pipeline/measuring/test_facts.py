"""What becomes of an artifact that is put to the test behind a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipeline.attempt import Attempts
from pipeline.events import Event, Note
from pipeline.measuring.facts import Facts, excuse, put_to_the_test
from pipeline.measuring.guard import Guard
from pipeline.measuring.latency_config import LatencyConfig
from pipeline.measuring.served import Served
from serving.target.interface import Death


class Place:
    """A served model that takes malformed requests in a way of its own."""

    name, key, threads = "served over grpc", "grpc", 1

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        death = Death("killed by SIGSEGV", transient=False, log="") if guard.died else None
        self.supply = SimpleNamespace(death=lambda **_: death)

    def provoke(self, name: str, _: Callable[..., Any]) -> dict[str, Guard]:
        return {name: self._guard}


def answered_with(guard: Guard, *, guarded: bool) -> tuple[Facts, list[Event]]:
    events: list[Event] = []
    splits = cast("Any", SimpleNamespace(spec=None, test=SimpleNamespace(x=None)))
    facts = Facts(Attempts("measure", "server", events.append), splits, 1, LatencyConfig(), 1)
    put_to_the_test(cast("Served", Place(guard)), ["a"], facts, guarded=guarded)
    return facts, events


def texts(events: Sequence[Event]) -> str:
    return "; ".join(event.text for event in events if isinstance(event, Note))


@pytest.mark.parametrize("guarded", [True, False])
def test_artifact_fails_when_its_server_dies_of_a_malformed_request(guarded: bool) -> None:
    facts, _ = answered_with(Guard(3, ("the server was gone after a request",), died=True), guarded=guarded)
    assert "a malformed request ends its server: the server was gone after a request" in facts.attempts.errors["a"]
    assert "SIGSEGV" in facts.attempts.errors["a"]
    assert "a" not in facts.attempts.passing  # it would again
    excuse(["a"], facts)  # of a .tflite that nobody asked for by name
    assert "ends its server" in facts.unserved["a"]


def test_malformed_request_that_is_answered_fails_what_could_have_refused_it_and_is_told_of_the_others() -> None:
    answered = Guard(3, ("a request was answered",), died=False)
    assert "it does not survive" in answered_with(answered, guarded=True)[0].attempts.errors["a"]
    facts, events = answered_with(answered, guarded=False)
    assert facts.attempts.errors == {}
    assert "nothing in a .tflite can refuse a request" in texts(events)
