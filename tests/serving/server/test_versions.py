"""Versions are loaded, tried again, swapped and unloaded as the disk says (rules 1.4, 1.5, 5.3 and 6.1 to 6.5)."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from serving.server.versions.registry import State
from tests.serving.server.offline import Loader, Offline, within


@pytest.mark.rule("5.3")
def test_a_version_is_tried_again_when_it_fails_and_the_others_serve(make: Callable[..., Offline]) -> None:
    one = make(Loader(m2=2, m3=99, m0=99), attempts=3)
    one.add("m", 0, 1, 2, 3)
    one.start("m: model_version_policy { all {} }")
    one.becomes({3: "END", 2: "AVAILABLE", 1: "AVAILABLE", 0: "END"})
    assert [one.loader.calls.count(("m", version)) for version in range(4)] == [3, 1, 3, 3]
    assert one.asked() == 2
    assert [str(status.error) for status in one.registry.statuses("m") if status.error] == [
        "NOT_FOUND: nothing in 3", "INTERNAL: RuntimeError: a surprise"
    ]  # fmt: skip


@pytest.mark.rule("5.3")
def test_a_failed_version_is_tried_again_only_after_it_was_away(make: Callable[..., Offline]) -> None:
    one = make(Loader(m2=2), attempts=2)
    one.add("m", 1)
    one.start("m:")
    one.add("m", 2)
    one.look()
    one.becomes({2: "END", 1: "AVAILABLE"})
    (one.root / "m" / "2" / "touched").mkdir()
    one.look()
    one.look()
    time.sleep(0.05)
    assert one.loader.calls == [("m", 1), ("m", 2), ("m", 2)]
    one.remove("m", 2)
    one.look()
    one.add("m", 2)
    one.look()
    one.becomes({2: "AVAILABLE", 1: "END"})


@pytest.mark.rule("5.3")
def test_attempts_end_when_the_version_is_removed_and_another_is_loaded_meanwhile(
    make: Callable[..., Offline],
) -> None:
    one = make(Loader(m2=99), attempts=9, interval_s=60.0)
    one.add("m", 1)
    one.add("other", 1)
    one.start("m:\nother:")
    one.add("m", 2)
    one.look()
    within(lambda: ("m", 2) in one.loader.calls)
    assert one.states()[2] == "LOADING"
    one.add("other", 2)  # the failing one waits for its next attempt: loads go on, one at a time
    one.look()
    one.becomes({2: "AVAILABLE", 1: "END"}, "other")
    one.remove("m", 2)
    one.look()
    one.becomes({2: "END", 1: "AVAILABLE"})
    assert one.loader.calls.count(("m", 2)) == 1


@pytest.mark.rule("1.4")
def test_start_fails_with_every_reason_when_a_model_has_no_version_that_loads(make: Callable[..., Offline]) -> None:
    one = make(Loader(M1=9, M2=9))
    one.add("good", 1)
    one.add("M", 1, 2)
    reasons = [
        f"{{name: M version: {version}}} due to error: NOT_FOUND: nothing in {version}}}, " for version in (1, 2)
    ]
    expected = f"UNKNOWN: 2 servable(s) did not become available: {{{''.join(reasons)}}}"
    assert one.error(lambda: one.start("good:\nM: model_version_policy { all {} }")) == expected


@pytest.mark.rule("1.2", "1.5")
@pytest.mark.parametrize("poll_s", [0, -1])
def test_start_waits_for_ever_when_it_does_not_look_again(make: Callable[..., Offline], poll_s: int) -> None:
    one = make(poll_s=poll_s)
    thread = threading.Thread(target=one.start, args=["m:"])
    thread.start()
    time.sleep(0.2)  # the one look, where there is one, finds nothing
    one.add("m", 1)
    thread.join(0.7)
    assert thread.is_alive()
    one.stop.set()
    thread.join(60)
    assert not thread.is_alive()


def test_start_ends_when_the_server_is_to_stop_between_two_attempts(make: Callable[..., Offline]) -> None:
    one = make(Loader(m1=99), attempts=5, interval_s=60.0)
    one.add("m", 1)
    stopping = threading.Thread(target=lambda: within(lambda: one.loader.calls != []) or one.stop.set())
    stopping.start()
    one.start("m:")
    stopping.join()
    assert one.loader.calls == [("m", 1)]


@pytest.mark.rule("6.2", "2.2")
def test_the_new_version_is_ready_before_the_old_one_goes(make: Callable[..., Offline]) -> None:
    one = make()
    one.add("m", 1)
    one.start("m:")
    one.loader.gates["m", 2] = threading.Event()
    one.add("m", 2)
    one.look()
    one.becomes({2: "LOADING", 1: "AVAILABLE"})
    assert one.asked() == 1
    one.loader.gates["m", 2].set()
    one.becomes({2: "AVAILABLE", 1: "END"})
    assert one.asked() == 2


@pytest.mark.rule("1.2")
@pytest.mark.parametrize("threads", [1, 2])
def test_as_many_versions_as_there_are_threads_are_loaded_and_unloaded_at_the_same_time(
    make: Callable[..., Offline], threads: int
) -> None:
    one = make(load_threads=threads, unload_threads=threads)
    names = ("a", "b", "c")
    for name in names:
        one.add(name, 1)
    one.start("a:\nb:\nc:")
    held = {name: one.registry.find(name) for name in names}
    for name in names:
        one.loader.gates[name, 2] = threading.Event()
        one.add(name, 2)
    one.look()

    def count(state: str) -> int:
        return sum(list(one.states(name).values()).count(state) for name in names)

    within(lambda: count("LOADING") == threads)
    time.sleep(0.05)
    assert count("LOADING") == threads
    for name in names:
        one.loader.gates[name, 2].set()
    within(lambda: count("UNLOADING") == threads and count("LOADING") == 0)
    time.sleep(0.05)
    assert (count("UNLOADING"), count("AVAILABLE")) == (threads, 6 - threads)
    held.clear()
    for name in names:
        one.becomes({2: "AVAILABLE", 1: "END"}, name)


@pytest.mark.rule("6.3")
def test_the_old_version_serves_on_when_the_new_one_fails(make: Callable[..., Offline]) -> None:
    one = make(Loader(m2=99), attempts=2)
    one.add("m", 1)
    one.start("m:")
    one.add("m", 2)
    one.look()
    one.becomes({2: "END", 1: "AVAILABLE"})
    assert one.asked() == 1
    assert str(one.registry.statuses("m", 2)[0].error) == "NOT_FOUND: nothing in 2"


@pytest.mark.rule("6.4")
def test_the_next_lower_version_is_loaded_before_the_removed_one_goes(make: Callable[..., Offline]) -> None:
    one = make()
    one.add("m", 1, 2)
    one.start("m:")
    assert one.states() == {2: "AVAILABLE"}
    one.loader.gates["m", 1] = threading.Event()
    one.remove("m", 2)
    one.look()
    one.becomes({2: "AVAILABLE", 1: "LOADING"})
    one.loader.gates["m", 1].set()
    one.becomes({2: "END", 1: "AVAILABLE"})


@pytest.mark.rule("6.4", "3.11")
def test_a_model_is_unloaded_without_versions_but_not_without_its_base_path(make: Callable[..., Offline]) -> None:
    one = make()
    one.add("m", 1)
    one.add("gone", 1)
    one.start("m:\ngone:")
    shutil.rmtree(one.root / "gone")
    one.remove("m", 1)
    one.look()
    one.becomes({1: "END"})
    assert one.error(one.asked) == "NOT_FOUND: Servable not found for request: Latest(m)"
    assert one.states("gone") == {1: "AVAILABLE"}
    assert one.registry.statuses("m")[0].error is None


@pytest.mark.rule("2.5", "6.5")
def test_an_unload_waits_for_the_requests_that_run_and_then_closes_the_session(make: Callable[..., Offline]) -> None:
    one = make()
    one.add("m", 1)
    one.start("m:")
    held = one.registry.find("m")  # as a request does
    session: Any = held.session
    one.add("m", 2)
    one.look()
    one.becomes({2: "AVAILABLE", 1: "UNLOADING"})
    error = one.error(lambda: one.asked(version=1))
    assert error == "NOT_FOUND: Servable not found for request: Specific(m, 1)"
    time.sleep(0.2)
    assert session.closed == 0
    del held
    one.becomes({2: "AVAILABLE", 1: "END"})
    assert session.closed == 1


@pytest.mark.rule("2.5")
def test_an_unload_is_not_held_up_by_a_failed_request_that_is_still_in_a_cycle(make: Callable[..., Offline]) -> None:
    one = make()
    one.add("m", 1)
    one.start("m:")

    def failed_request() -> None:
        holder = [one.registry.find("m")]
        holder.append(holder)  # type: ignore[arg-type]

    failed_request()
    one.add("m", 2)
    one.look()
    one.becomes({2: "AVAILABLE", 1: "END"})


def test_a_version_that_comes_back_while_it_goes_is_loaded_anew(make: Callable[..., Offline]) -> None:
    one = make()
    one.add("m", 1, 2)
    one.start("m:")
    held = one.registry.find("m")
    one.remove("m", 2)
    one.look()
    one.becomes({2: "UNLOADING", 1: "AVAILABLE"})
    one.add("m", 2)
    one.look()
    time.sleep(0.05)
    assert one.states() == {2: "UNLOADING", 1: "AVAILABLE"}
    del held
    one.becomes({2: "AVAILABLE", 1: "END"})
    assert one.loader.calls.count(("m", 2)) == 2


def test_states_have_the_numbers_of_the_api() -> None:
    from tensorflow_serving.apis import get_model_status_pb2

    states = get_model_status_pb2.ModelVersionStatus.State.items()
    assert {state.name: int(state) for state in State} == {name: number for name, number in states if number}
