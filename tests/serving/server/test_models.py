"""Versions come and go as the disk and the config say, with a loader that needs no TensorFlow (rules 1, 5 and 6)."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorflow_serving.config import model_server_config_pb2

from serving.server.lifecycle import Attempts, Lifecycle
from serving.server.models import Models
from serving.server.registry import Registry, State
from serving.server.status import Code, StatusError
from serving.server.watching import Watcher


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
            assert self.gates[name, version].wait(10)
        if self.failing.get(f"{name}{version}", 0) >= self.calls.count((name, version)):
            raise StatusError(Code.NOT_FOUND, f"nothing in {path.name}") if version else RuntimeError("a surprise")
        return Fake(name, version)


class Server:
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
        from google.protobuf import text_format

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


def within(condition: Callable[[], bool], what: Callable[[], Any] = lambda: "") -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.005)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Makes servers, and ends them."""
    made: list[Server] = []

    def make(loader: Loader | None = None, **options: Any) -> Server:
        made.append(Server(tmp_path, loader or Loader(), **options))
        return made[-1]

    yield make
    for each in made:
        each.stop.set()
        each.models.stop()
        for gate in each.loader.gates.values():
            gate.set()


@pytest.mark.rule("5.3")
def test_a_version_is_tried_again_when_it_fails_and_the_others_serve(server: Callable[..., Server]) -> None:
    one = server(Loader(m2=2, m3=99, m0=99), attempts=3)
    one.add("m", 0, 1, 2, 3)
    one.start("m: model_version_policy { all {} }")
    one.becomes({3: "END", 2: "AVAILABLE", 1: "AVAILABLE", 0: "END"})
    assert [one.loader.calls.count(("m", version)) for version in range(4)] == [3, 1, 3, 3]
    assert one.asked() == 2
    assert [str(status.error) for status in one.registry.statuses("m") if status.error] == [
        "NOT_FOUND: nothing in 3", "INTERNAL: RuntimeError: a surprise"
    ]  # fmt: skip


@pytest.mark.rule("5.3")
def test_a_failed_version_is_tried_again_only_after_it_was_away(server: Callable[..., Server]) -> None:
    one = server(Loader(m2=2), attempts=2)
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
    server: Callable[..., Server],
) -> None:
    one = server(Loader(m2=99), attempts=9, interval_s=60.0)
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
def test_start_fails_with_every_reason_when_a_model_has_no_version_that_loads(server: Callable[..., Server]) -> None:
    one = server(Loader(M1=9, M2=9))
    one.add("good", 1)
    one.add("M", 1, 2)
    reasons = [
        f"{{name: M version: {version}}} due to error: NOT_FOUND: nothing in {version}}}, " for version in (1, 2)
    ]
    expected = f"UNKNOWN: 2 servable(s) did not become available: {{{''.join(reasons)}}}"
    assert one.error(lambda: one.start("good:\nM: model_version_policy { all {} }")) == expected


@pytest.mark.rule("1.2", "1.5")
@pytest.mark.parametrize("poll_s", [0, -1])
def test_start_waits_for_ever_when_it_does_not_look_again(server: Callable[..., Server], poll_s: int) -> None:
    one = server(poll_s=poll_s)
    thread = threading.Thread(target=one.start, args=["m:"])
    thread.start()
    time.sleep(0.2)  # the one look, where there is one, finds nothing
    one.add("m", 1)
    thread.join(0.7)
    assert thread.is_alive()
    one.stop.set()
    thread.join(5)
    assert not thread.is_alive()


def test_start_ends_when_the_server_is_to_stop_between_two_attempts(server: Callable[..., Server]) -> None:
    one = server(Loader(m1=99), attempts=5, interval_s=60.0)
    one.add("m", 1)
    threading.Timer(0.1, one.stop.set).start()
    one.start("m:")
    assert one.loader.calls == [("m", 1)]


@pytest.mark.rule("6.2", "2.2")
def test_the_new_version_is_ready_before_the_old_one_goes(server: Callable[..., Server]) -> None:
    one = server()
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
    server: Callable[..., Server], threads: int
) -> None:
    one = server(load_threads=threads, unload_threads=threads)
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
def test_the_old_version_serves_on_when_the_new_one_fails(server: Callable[..., Server]) -> None:
    one = server(Loader(m2=99), attempts=2)
    one.add("m", 1)
    one.start("m:")
    one.add("m", 2)
    one.look()
    one.becomes({2: "END", 1: "AVAILABLE"})
    assert one.asked() == 1
    assert str(one.registry.statuses("m", 2)[0].error) == "NOT_FOUND: nothing in 2"


@pytest.mark.rule("6.4")
def test_the_next_lower_version_is_loaded_before_the_removed_one_goes(server: Callable[..., Server]) -> None:
    one = server()
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
def test_a_model_is_unloaded_without_versions_but_not_without_its_base_path(server: Callable[..., Server]) -> None:
    one = server()
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
def test_an_unload_waits_for_the_requests_that_run_and_then_closes_the_session(server: Callable[..., Server]) -> None:
    one = server()
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
def test_an_unload_is_not_held_up_by_a_failed_request_that_is_still_in_a_cycle(server: Callable[..., Server]) -> None:
    one = server()
    one.add("m", 1)
    one.start("m:")

    def failed_request() -> None:
        holder = [one.registry.find("m")]
        holder.append(holder)  # type: ignore[arg-type]

    failed_request()
    one.add("m", 2)
    one.look()
    one.becomes({2: "AVAILABLE", 1: "END"})


def test_a_version_that_comes_back_while_it_goes_is_loaded_anew(server: Callable[..., Server]) -> None:
    one = server()
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


@pytest.mark.rule("5.2", "6.1")
def test_a_policy_that_changes_is_applied_at_once_and_not_waited_for(server: Callable[..., Server]) -> None:
    one = server()
    one.add("m", 1, 2, 3)
    one.start("m:")
    one.loader.gates["m", 1] = threading.Event()
    one.reload("m: model_version_policy { specific { versions: 1 versions: 2 versions: 9 } }")  # returns
    one.look()
    one.becomes({3: "END", 2: "AVAILABLE", 1: "LOADING"})
    one.loader.gates["m", 1].set()
    one.becomes({3: "END", 2: "AVAILABLE", 1: "AVAILABLE"})
    one.reload("m: model_version_policy { latest { num_versions: 2 } }")
    one.look()
    one.becomes({3: "AVAILABLE", 2: "AVAILABLE", 1: "END"})


@pytest.mark.rule("3.12")
def test_a_reload_waits_for_new_models_and_unloads_those_that_are_left_out(server: Callable[..., Server]) -> None:
    one = server(poll_s=1)
    one.add("m", 1)
    one.add("new", 1)
    one.start("m:")
    one.loader.gates["new", 1] = threading.Event()
    reload = threading.Thread(target=one.reload, args=["new:"])
    reload.start()
    one.becomes({1: "END"})
    reload.join(0.1)
    assert reload.is_alive()
    one.loader.gates["new", 1].set()
    reload.join(5)
    assert not reload.is_alive()
    assert one.asked("new") == 1
    one.reload("m:\nnew:")  # waits for m, which is new again, though it has ended before
    assert one.asked("m") == 1


@pytest.mark.rule("3.12")
def test_a_reload_says_why_a_new_model_failed_and_the_others_stay(server: Callable[..., Server]) -> None:
    one = server(Loader(bad1=99), poll_s=1)
    one.add("m", 1)
    one.add("bad", 1)
    one.start("m:")
    reason = "{name: bad version: 1} due to error: NOT_FOUND: nothing in 1}, "
    expected = f"UNKNOWN: 1 model(s) did not become available: {{{reason}}}"
    assert one.error(lambda: one.reload("m:\nbad:")) == expected
    assert one.asked("m") == 1
    one.reload("m:\nbad:")  # it is no new one by now


@pytest.mark.rule("3.12")
def test_later_reloads_wait_while_one_waits_for_a_model_without_versions(server: Callable[..., Server]) -> None:
    one = server(poll_s=1)
    one.add("m", 1)
    one.start("m:")
    gone = one.error(lambda: one.models.reload(one.config("m:\nempty:"), lambda: False))
    assert gone == "CANCELLED: nobody waits for the config to be applied"
    later = threading.Thread(target=one.reload, args=["m:"])
    later.start()
    later.join(0.5)
    assert later.is_alive()
    one.add("empty", 1)
    later.join(5)
    assert not later.is_alive()
    assert one.loader.calls.count(("empty", 1)) == 1


def test_a_reload_that_waits_ends_when_the_server_stops(server: Callable[..., Server]) -> None:
    one = server(poll_s=1)
    one.add("m", 1)
    one.start("m:")
    threading.Timer(0.1, one.models.stop).start()
    assert one.error(lambda: one.reload("empty:")) == "UNAVAILABLE: the server stops"


UNAVAILABLE = "FAILED_PRECONDITION: Request to assign label to version {} of model m, which is not currently available "


@pytest.mark.rule("6.7", "2.4")
def test_a_label_goes_only_to_a_version_that_is_available(server: Callable[..., Server]) -> None:
    one = server(poll_s=1)
    one.add("m", 1, 2)
    both = "m: model_version_policy {{ all {{}} }} version_labels {{ key: 'stable' value: {} }}"
    assert one.error(lambda: one.start(both.format(1))).startswith(UNAVAILABLE.format(1))
    one.start("m: model_version_policy { all {} }")
    one.becomes({2: "AVAILABLE", 1: "AVAILABLE"})
    one.reload(both.format(1))
    assert one.asked(label="stable") == 1
    assert one.error(lambda: one.reload(both.format(3))).startswith(UNAVAILABLE.format(3))
    assert one.asked(label="stable") == 1
    one.reload(both.format(2))
    assert one.asked(label="stable") == 2
    one.reload("m:")
    assert one.error(lambda: one.asked(label="stable")) == (
        "INVALID_ARGUMENT: Unrecognized servable version label: stable"
    )


@pytest.mark.rule("6.7", "1.2")
def test_a_new_label_may_be_early_with_the_flag_but_an_old_one_may_not_move(server: Callable[..., Server]) -> None:
    one = server(early_labels=True, poll_s=1)
    one.add("m", 1)
    early = "m: version_labels {{ key: 'stable' value: 1 }} version_labels {{ key: 'early' value: {} }}"
    one.start(early.format(7))
    error = one.error(lambda: one.asked(label="early"))
    assert error == "NOT_FOUND: Servable not found for request: Specific(m, 7)"
    one.reload(early.format(7))  # the same again
    assert one.error(lambda: one.reload(early.format(8))).startswith(UNAVAILABLE.format(8))
    one.reload(early.format(1))
    assert one.asked(label="early") == 1


@pytest.mark.rule("6.7", "3.12")
def test_a_rejected_config_counts_as_the_one_before_the_next(server: Callable[..., Server]) -> None:
    one = server(poll_s=1)
    one.add("m", 1)
    one.add("p", 1)
    one.start("m:")
    error = one.error(lambda: one.reload("m:\np: model_platform: 'P'"))
    assert error == "INVALID_ARGUMENT: Model p requests unsupported platform P"
    changed = "INVALID_ARGUMENT: Illegal to change a model's platform. For model p platform was P and new platform "
    assert one.error(lambda: one.reload("m:\np:")).startswith(changed)
    one.reload("m:")
    one.reload("m:\np:")
    assert one.asked("p") == 1


@pytest.mark.rule("3.12")
def test_an_empty_config_is_the_first_but_never_a_later_one(server: Callable[..., Server]) -> None:
    one = server(poll_s=1)
    empty = model_server_config_pb2.ModelServerConfig()
    assert one.models.accept(empty) is None
    one.add("m", 1)
    one.reload("m:")
    assert one.asked() == 1
    error = one.error(lambda: one.models.reload(empty, lambda: True))
    assert error.startswith("FAILED_PRECONDITION: Cannot transition to requested config.")
    one.reload("")
    one.becomes({1: "END"})


def test_nothing_is_waited_for_when_no_model_is_configured(server: Callable[..., Server]) -> None:
    one = server()
    one.start("")
    assert one.error(one.asked) == "NOT_FOUND: Servable not found for request: Latest(m)"


def test_states_have_the_numbers_of_the_api() -> None:
    from tensorflow_serving.apis import get_model_status_pb2

    states = get_model_status_pb2.ModelVersionStatus.State.items()
    assert {state.name: int(state) for state in State} == {name: number for name, number in states if number}
