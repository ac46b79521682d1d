"""The connections between workers, in threads on loopback."""

from __future__ import annotations

import json
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import machine, together
from pipeline.again import Again
from pipeline.artifact import Store
from pipeline.compute import agreement, multi_worker
from pipeline.compute.choose import Choice, Policy
from pipeline.compute.cluster import Workers
from pipeline.compute.devices import Device
from pipeline.compute.meeting import LostError, Meeting, join
from pipeline.errors import InputError, MissingError, RunError
from pipeline.events import Error, Event
from pipeline.fit.execution import Execution
from pipeline.walk import Walk
from tests.pipeline.compute.ports import free


def both(addresses: tuple[str, ...], act: Callable[[Meeting], Any]) -> list[Future[Any]]:
    """Let each worker join and act, each in a thread."""

    def one(index: int) -> Any:
        return act(join(Workers(addresses, index, "test"), wait_s=20))

    with ThreadPoolExecutor(len(addresses)) as pool:
        return [pool.submit(one, index) for index in range(len(addresses))]


def test_workers_gather_values_in_their_order_and_leave() -> None:
    def act(meeting: Meeting) -> Any:
        mine = meeting.workers.index
        found = [meeting.gather(mine), meeting.gather({"epochs": [mine] * 3})]
        meeting.leave()
        time.sleep(0.2)
        assert meeting.lost is None
        return found

    expected = [[0, 1, 2], [{"epochs": [0] * 3}, {"epochs": [1] * 3}, {"epochs": [2] * 3}]]
    assert [done.result() for done in both(free(3), act)] == [expected] * 3


def test_port_of_worker_0_is_free_again_while_the_connections_stay() -> None:
    addresses = free(2)

    def act(meeting: Meeting) -> None:
        if meeting.workers.first:
            with closing(socket.create_server(("", int(addresses[0].rpartition(":")[2])))):
                meeting.gather(0)
        else:
            meeting.gather(1)

    for done in both(addresses, act):
        done.result()


def test_everyone_is_told_at_once_who_is_lost_and_why() -> None:
    told = [threading.Event() for _ in range(3)]

    def act(meeting: Meeting) -> Any:
        mine = meeting.workers.index
        meeting.watch(lambda _: told[mine].set())
        if mine == 2:
            meeting.leave("the disk is full")
            return None
        with pytest.raises(LostError) as caught:
            meeting.gather(mine)
        assert told[mine].wait(5)
        return str(caught.value)

    addresses = free(3)
    first, second, _ = (done.result() for done in both(addresses, act))
    assert f"worker 2 ({addresses[2]}) is lost" in first
    assert "the disk is full" in first
    assert "the disk is full" in second
    assert "run the same command on every worker again" in first


def test_worker_that_ends_without_a_word_is_lost() -> None:
    def act(meeting: Meeting) -> Any:
        if not meeting.workers.first:
            meeting._peers[0].shutdown(socket.SHUT_RDWR)
            return ""
        with pytest.raises(LostError) as caught:
            meeting.gather(0)
        return str(caught.value)

    assert "ended without a word" in both(free(2), act)[0].result()


@pytest.mark.parametrize("index", [0, 1])
def test_worker_that_never_comes_is_named_with_its_address(index: int) -> None:
    addresses = free(2)
    with pytest.raises(MissingError) as caught:
        join(Workers(addresses, index, "test"), wait_s=0.5)
    assert f"worker {1 - index} ({addresses[1 - index]}) did not come within 0.5 s" in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("index", [0, 1])
def test_port_in_use_is_told_before_anything_is_waited_for(index: int) -> None:
    addresses = free(2)
    port = int(addresses[index].rpartition(":")[2])
    with closing(socket.create_server(("127.0.0.1", port))), pytest.raises(MissingError) as caught:
        join(Workers(addresses, index, "test"), wait_s=20)
    assert f"worker {index} ({addresses[index]}) cannot listen on its port {port}" in str(caught.value)
    assert "Address already in use" in str(caught.value)


def test_worker_with_other_addresses_is_refused_on_both_sides() -> None:
    addresses = free(3)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(join, Workers(addresses[:2], 0, "test"), wait_s=20)
        other = pool.submit(join, Workers(addresses, 1, "test"), wait_s=20)
    for done in (first, other):
        with pytest.raises(InputError, match="the same addresses"):
            done.result()


def test_worker_that_is_started_again_while_others_are_awaited_is_taken_anew() -> None:
    addresses = free(3)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(join, Workers(addresses, 0, "test"), wait_s=20)
        killed = _hello(addresses, 1)
        time.sleep(0.2)
        killed.close()
        others = [pool.submit(join, Workers(addresses, index, "test"), wait_s=20) for index in (1, 2)]
    assert [done.result().count for done in (first, *others)] == [3] * 3


def test_worker_that_ends_while_others_are_awaited_is_awaited_again() -> None:
    addresses = free(3)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(join, Workers(addresses, 0, "test"), wait_s=1)
        _hello(addresses, 1).close()
        time.sleep(0.2)
        with closing(_hello(addresses, 2)), pytest.raises(MissingError) as caught:
            first.result()
    assert f"worker 1 ({addresses[1]}) did not come within 1 s" in str(caught.value)


def test_second_worker_of_an_index_is_refused_while_the_first_waits() -> None:
    addresses = free(3)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(join, Workers(addresses, 0, "test"), wait_s=20)
        with closing(_hello(addresses, 1)), closing(_hello(addresses, 1)) as second:
            second.settimeout(10)
            assert "worker 1 is there already" in second.recv(1000).decode()
    with pytest.raises(InputError, match="each its own index"):
        first.result()


def test_who_only_looks_at_the_port_is_no_worker() -> None:
    addresses = free(2)
    host, _, port = addresses[0].rpartition(":")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(join, Workers(addresses, 0, "test"), wait_s=20)
        for said in (b"GET / HTTP/1.1\r\n\r\n", b""):
            with closing(_connected(host, int(port))) as stranger:
                stranger.sendall(said)
        second = pool.submit(join, Workers(addresses, 1, "test"), wait_s=20)
    assert first.result().count == second.result().count == 2


def _hello(addresses: tuple[str, ...], index: int) -> socket.socket:
    """Return the connection of a worker that has come, and waits."""
    host, _, port = addresses[0].rpartition(":")
    peer = _connected(host, int(port))
    peer.sendall(json.dumps({"worker": index, "addresses": list(addresses)}).encode() + b"\n")
    return peer


def _connected(host: str, port: int) -> socket.socket:
    for _ in range(100):
        try:
            return socket.create_connection((host, port))
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nobody listens on {port}")


def test_newest_epoch_that_all_have_is_agreed_on() -> None:
    have = ([3, 2], [2, 1])

    def act(meeting: Meeting) -> list[int]:
        with agreement.entered(meeting):
            return agreement.common(have[meeting.workers.index])

    assert [done.result() for done in both(free(2), act)] == [[2], [2]]
    assert agreement.common([5, 4]) == [5, 4]


def test_epoch_is_cut_alike_on_workers_whose_steps_take_different_times() -> None:
    class Paced(Execution):
        """What has no graph: a worker whose clock allows so many steps at once."""

        def __init__(self, pace: int) -> None:
            self.model = SimpleNamespace(_steps_per_execution=SimpleNamespace(numpy=lambda: 100))
            self.told, self.xla, self.ended, self.pace = lambda *_: None, False, False, pace
            self.counts: list[int] = []

        def chunk(self) -> int:
            return self.pace

        def run(self, iterator: Any, count: int, *, timed: bool = True) -> Mapping[str, Any]:  # noqa: ARG002
            self.counts.append(count)
            return {}

    def act(meeting: Meeting) -> list[int]:
        with agreement.entered(meeting):
            execution = Paced(24 + meeting.workers.index)
            execution(iter(()))
        return execution.counts

    assert [done.result(20) for done in both(free(2), act)] == [[24, 24, 24, 24, 4]] * 2


def test_workers_that_would_compute_in_different_precisions_are_told() -> None:
    cpu = Device("cpu", "cpu", "CPU:0")

    def act(meeting: Meeting) -> str:
        policy: Policy = "float32" if meeting.workers.first else "mixed_bfloat16"
        choice = Choice("cpu", "multi_worker", (cpu,), policy, (), 2)
        with pytest.raises(RunError) as caught:
            multi_worker.require_alike(choice, meeting)
        return str(caught.value)

    for done in both(free(2), act):
        assert "compute in different precisions" in done.result()
        assert "1 x cpu in mixed_bfloat16" in done.result()


def test_workers_with_other_processors_are_told_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    here = threading.local()
    monkeypatch.setattr(machine, "cpu", lambda: here.cpu)

    def act(meeting: Meeting) -> str:
        here.cpu = f"processor {meeting.workers.index}"
        walk: Any = SimpleNamespace(meeting=meeting)
        with pytest.raises(RunError) as caught:
            together.all_have(walk, "train", {"surroundings": {}}, {}, False, False)
        return str(caught.value)

    for done in both(free(2), act):
        assert "the processor, devices, or what else surrounds the stage (train) differ" in done.result()


def test_worker_that_a_lost_one_keeps_waiting_reports_it_before_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = queue.SimpleQueue[Any]()
    monkeypatch.setattr(together, "_ENDED_S", 0.1)
    monkeypatch.setattr(os, "_exit", said.put)
    addresses, told = free(2), threading.Event()

    def stuck() -> None:
        walk = Walk(Store(tmp_path), Again(tmp_path / "again", None))
        joint = together.Joint(Workers(addresses, 0, "test"), wait_s=20)

        def emit(event: Event) -> None:
            if isinstance(event, Error):
                said.put(event)

        with together.met(joint, walk, emit, lambda lost: said.put(("report", lost.exit_code))):
            assert told.wait(20)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(stuck)
        join(Workers(addresses, 1, "test"), wait_s=20).leave("the disk is full")
        assert said.get(timeout=20) == ("report", 4)
        error, code = said.get(timeout=20), said.get(timeout=20)
        told.set()
    first.result()
    assert code == error.exit_code == 4
    assert f"worker 1 ({addresses[1]}) is lost" in error.message


def test_result_is_reused_only_when_all_have_it() -> None:
    def act(meeting: Meeting) -> list[bool]:
        mine = meeting.workers.index
        return [agreement.all_have(meeting, "train", {"code": "a"}, have) for have in (True, mine == 0)]

    assert [done.result() for done in both(free(2), act)] == [[True, False]] * 2


def test_workers_with_other_settings_or_data_are_told_what_differs() -> None:
    addresses = free(2)

    def act(meeting: Meeting) -> str:
        with pytest.raises(RunError) as caught:
            agreement.all_have(meeting, "prune", {"settings": "s", "content": f"{meeting.workers.index}"}, False)
        return str(caught.value)

    for done in both(addresses, act):
        assert "the data's content (prune) differ" in done.result()
        assert f"worker 1 ({addresses[1]})" in done.result()


def test_different_weights_are_told() -> None:
    def act(meeting: Meeting) -> str:
        with pytest.raises(RunError) as caught:
            agreement.require_same(meeting, "train", {"model.keras": f"{meeting.workers.index}", "data.json": "d"})
        return str(caught.value)

    assert "different results in train" in both(free(2), act)[1].result()
