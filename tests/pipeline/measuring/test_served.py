"""One server for the SavedModels of a run: readiness, death in the middle, models that it cannot load."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from pipeline.errors import MissingError, RunError
from pipeline.events import Event, Note
from pipeline.isolate import Child
from pipeline.measuring import runtimes
from pipeline.measuring.latency_config import LatencyConfig
from pipeline.measuring.runtimes import Source
from pipeline.measuring.served import DiedError, Served, Supply
from serving.client.endpoint import Endpoint
from serving.config import ServingConfig
from serving.layout import Deployment
from serving.target import binary, embedded, remote
from serving.target.interface import LaunchError, Server, Target
from tests.pipeline.formats import text, tiny
from tests.serving.target import programs

EMBEDDED = ServingConfig(target="embedded")
EVENTS: list[Event] = []
SAMPLES = tiny.samples(20, seed=1)


class Watched:
    """The embedded target, which remembers the folders that it worked in."""

    name = embedded.EmbeddedTarget.name
    ours = True

    def __init__(self) -> None:
        self.works: list[Path] = []

    def decisive(self) -> dict[str, str | None]:
        return {}

    def start(self, deployment: Deployment, work: Path) -> AbstractContextManager[Server]:
        self.works.append(work)
        return embedded.find(EMBEDDED).start(deployment, work)

    def processes(self) -> list[psutil.Process]:
        """Return the running servers, not their supervisors."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            words = " ".join(process.info["cmdline"] or [])
            if any(str(work) in words for work in self.works) and "supervisor" not in words:
                found.append(process)
        return found


class Picky:
    """The embedded target, but one that does not start at all with a model that it cannot load, as TF Serving may."""

    name = embedded.EmbeddedTarget.name
    ours = True

    def __init__(self) -> None:
        self.served: list[list[int]] = []

    def decisive(self) -> dict[str, str | None]:
        return {}

    def start(self, deployment: Deployment, work: Path) -> AbstractContextManager[Server]:
        self.served.append(sorted(deployment.versions))
        if any((path / "saved_model.pb").read_bytes() == b"no protobuf" for path in deployment.versions.values()):
            config = ServingConfig(binary=str(programs.program(work, "leaves")))
            return binary.BinaryTarget(config, config.binary, "").start(deployment, work)
        return embedded.find(EMBEDDED).start(deployment, work)


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    with Child(deadline_s=120, memory_mb=None, threads=1) as child:
        yield child


@pytest.fixture(scope="module")
def model(child: Child, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    child.call(tiny.write_saved_model, folder)
    return folder / "1"


@pytest.fixture(scope="module")
def broken(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken") / "1"
    shutil.copytree(model, folder)
    (folder / "saved_model.pb").write_bytes(b"no protobuf")
    return folder


def answer() -> Callable[[Mapping[str, Source]], dict[str, dict[str, np.ndarray]]]:
    return partial(runtimes.answer, spec=tiny.SPEC, samples=SAMPLES, threads=1, batch_size=8)


def served_clients() -> int:
    return sum(isinstance(source, Endpoint) for source, *_ in runtimes._loaded)


def kill_and_answer(sources: Mapping[str, Source], pid: int) -> dict[str, dict[str, np.ndarray]]:
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    return answer()(sources)


def test_models_are_answered_over_both_protocols_as_in_process(child: Child, model: Path, tmp_path: Path) -> None:
    expected = child.call(runtimes.answer, {"x": runtimes.File("saved_model", model.parent)}, tiny.SPEC, SAMPLES, 1, 8)
    with Supply(
        embedded.find(EMBEDDED), {"a": model, "b": model}, EMBEDDED, 1, child, tmp_path, EVENTS.append
    ) as supply:
        for protocol in ("grpc", "rest"):
            found = supply.call(["a", "b"], protocol, answer())
            assert np.abs(found["a"]["logits"] - expected["x"]["logits"]).max() < 1e-5
            assert np.array_equal(found["a"]["logits"], found["b"]["logits"])
        facts = Served(supply, "rest").described()
    assert facts["server"]["implementation"] == "modelmill"
    assert (facts["runtime"], facts["target"], facts["protocol"], facts["threads"]) == ("served", "embedded", "rest", 1)
    assert "JSON" in facts["encoding"]


def test_server_that_was_launched_ahead_is_the_one_that_answers(child: Child, model: Path, tmp_path: Path) -> None:
    target = Watched()
    with Supply(target, {"a": model}, EMBEDDED, 1, child, tmp_path, EVENTS.append) as supply:
        supply.launch()
        assert len(target.works) == 1
        assert supply.call(["a"], "grpc", answer())["a"]["logits"].shape == (20, 4)
        assert len(target.works) == 1
        assert len(target.processes()) == 1
        supply.end()
        assert target.processes() == []


def test_launch_that_cannot_be_is_told_by_the_first_call(child: Child, model: Path, tmp_path: Path) -> None:
    config = ServingConfig(binary=str(tmp_path / "nothing"))
    target = binary.BinaryTarget(config, config.binary, "")
    with Supply(target, {"a": model}, EMBEDDED, 1, child, tmp_path / "work", EVENTS.append) as supply:
        supply.launch()
        with pytest.raises(LaunchError):
            supply.call(["a"], "grpc", answer())


def test_death_in_the_middle_is_told_and_the_next_call_has_a_new_server(
    child: Child, model: Path, tmp_path: Path
) -> None:
    target = Watched()
    with Supply(target, {"a": model}, EMBEDDED, 1, child, tmp_path, EVENTS.append) as supply:
        supply.call(["a"], "grpc", answer())
        (server,) = target.processes()
        with pytest.raises(DiedError) as caught:
            supply.call(["a"], "grpc", partial(kill_and_answer, pid=server.pid))
        assert caught.value.what.startswith("the server died: killed by SIGKILL (killed) from outside")
        assert caught.value.transient
        assert supply.call(["a"], "rest", answer())["a"]["logits"].shape == (20, 4)
        told = "the server died (killed by SIGKILL (killed) from outside, most often the system that ran out of memory)"
        assert EVENTS[-1] == Note("measure", f"{told}: it is started again", "warning")
        (second,) = target.processes()
        assert second.pid != server.pid
    assert target.processes() == []


def test_model_that_cannot_be_loaded_is_refused_and_the_others_are_served(
    child: Child, model: Path, broken: Path, tmp_path: Path
) -> None:
    with Supply(
        embedded.find(EMBEDDED), {"bad": broken, "good": model}, EMBEDDED, 1, child, tmp_path, EVENTS.append
    ) as supply:
        assert supply.call(["good"], "grpc", answer())["good"]["logits"].shape == (20, 4)
        with pytest.raises(RunError, match=r"the server cannot load it: .*saved_model\.pb"):
            supply.call(["bad"], "grpc", answer())


def test_server_that_ends_before_it_is_ready_is_told_at_once_with_its_words(child: Child, model: Path,
                                                                            tmp_path: Path) -> None:  # fmt: skip
    config = ServingConfig(binary=str(programs.program(tmp_path, "leaves")))
    with (
        Supply(binary.find(config), {"a": model}, config, 1, child, tmp_path / "work", EVENTS.append) as supply,
        pytest.raises(LaunchError) as caught,
    ):
        supply.call(["a"], "grpc", answer())
    expected = "the binary server ended before the model was loaded: ended with exit status 255"
    assert caught.value.what == expected
    assert caught.value.found.startswith("Failed to start server. Error: UNKNOWN: 1 servable(s) did not become avail")
    assert not caught.value.transient  # it names the model


def test_server_that_cannot_start_for_another_reason_is_no_word_on_the_model(child: Child, model: Path,
                                                                             tmp_path: Path) -> None:  # fmt: skip
    config = ServingConfig(binary=str(programs.program(tmp_path, "cannot_listen")))
    with (
        Supply(
            binary.find(config), {"a": model, "b": model}, config, 1, child, tmp_path / "work", EVENTS.append
        ) as supply,
        pytest.raises(LaunchError) as caught,
    ):
        supply.call(["a"], "grpc", answer())
    assert caught.value.found == "Failed to start server. Error: UNKNOWN: cannot listen"
    assert caught.value.transient
    assert "a flag, or the server itself, is at fault" in str(caught.value.todo)


def test_server_that_ends_by_itself_is_not_of_the_moment_when_nothing_is_stored_of_it(
    child: Child, model: Path, tmp_path: Path
) -> None:
    config = ServingConfig(binary=str(programs.program(tmp_path, "cannot_listen")))
    target, work = binary.find(config), tmp_path / "work"
    with (
        Supply(target, {"a": model}, config, 1, child, work, EVENTS.append, stored=False) as supply,
        pytest.raises(LaunchError) as caught,
    ):
        supply.call(["a"], "grpc", answer())
    assert not caught.value.transient


def test_all_models_are_refused_when_a_server_can_load_none(child: Child, model: Path, tmp_path: Path) -> None:
    config = ServingConfig(binary=str(programs.program(tmp_path, "leaves")))
    with Supply(
        binary.find(config), {"a": model, "b": model}, config, 1, child, tmp_path / "work", EVENTS.append
    ) as supply:
        for name in ("a", "b"):
            with pytest.raises(RunError, match="the server can") as caught:
                supply.call([name], "grpc", answer())
            assert not caught.value.transient


def test_server_that_accepts_and_never_answers_is_given_up_at_the_deadline(child: Child, model: Path,
                                                                           tmp_path: Path) -> None:  # fmt: skip
    config = ServingConfig(binary=str(programs.program(tmp_path, "mute")), ready_deadline_s=2)
    started = time.monotonic()
    with (
        Supply(binary.find(config), {"a": model}, config, 1, child, tmp_path / "work", EVENTS.append) as supply,
        pytest.raises(LaunchError, match="was not ready in time"),
    ):
        supply.call(["a"], "grpc", answer())
    assert time.monotonic() - started < 2 + 5


def test_another_server_on_our_port_is_never_taken_for_ours(child: Child, model: Path, tmp_path: Path) -> None:
    with Supply(embedded.find(EMBEDDED), {"a": model}, EMBEDDED, 1, child, tmp_path / "other", EVENTS.append) as other:
        other.call(["a"], "grpc", answer())
        assert other._server is not None
        address = other._server.addresses["grpc"]

        class Mistaken(Watched):
            @contextmanager
            def start(self, deployment: Deployment, work: Path) -> Iterator[Server]:
                with super().start(deployment, work) as server:
                    server.addresses["grpc"] = address
                    yield server

        config = ServingConfig(target="embedded", ready_deadline_s=3)
        with (
            Supply(Mistaken(), {"a": model}, config, 1, child, tmp_path / "work", EVENTS.append) as supply,
            pytest.raises(LaunchError, match="was not ready in time"),
        ):
            supply.call(["a"], "grpc", answer())


def test_clients_hang_up_when_the_server_ends(child: Child, model: Path, tmp_path: Path) -> None:
    with Supply(embedded.find(EMBEDDED), {"a": model}, EMBEDDED, 1, child, tmp_path, EVENTS.append) as supply:
        supply.call(["a"], "grpc", answer())
        assert child.call(served_clients) == 1
    assert child.call(served_clients) == 0


def test_models_are_tried_alone_when_a_server_ends_over_one_of_them(
    child: Child, model: Path, broken: Path, tmp_path: Path
) -> None:
    target = Picky()
    with Supply(target, {"bad": broken, "good": model}, EMBEDDED, 1, child, tmp_path, EVENTS.append) as supply:
        assert supply.call(["good"], "grpc", answer())["good"]["logits"].shape == (20, 4)
        with pytest.raises(RunError) as caught:
            supply.call(["bad"], "grpc", answer())
    assert caught.value.what.startswith("the server cannot load it: the embedded server ended before the model was")
    one, two = target.served[0]
    assert target.served == [[one, two], [one], [two], [two]]


def test_server_that_is_never_ready_is_given_up_at_the_deadline_with_its_words(
    child: Child, model: Path, tmp_path: Path
) -> None:
    config = ServingConfig(binary=str(programs.program(tmp_path, "waits")), ready_deadline_s=1)
    with (
        Supply(binary.find(config), {"a": model}, config, 1, child, tmp_path / "work", EVENTS.append) as supply,
        pytest.raises(LaunchError) as caught,
    ):
        supply.call(["a"], "grpc", answer())
    assert caught.value.what == "the binary server was not ready in time"
    assert caught.value.expected == "the model AVAILABLE after 1 s"
    assert caught.value.found.startswith("no answer; its last words:\nserving with --port=")
    assert caught.value.transient


@pytest.fixture(scope="module")
def running(child: Child, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The addresses of a server that somebody else runs."""
    work = tmp_path_factory.mktemp("running")
    with Supply(embedded.find(EMBEDDED), {"a": model}, EMBEDDED, 1, child, work, EVENTS.append) as supply:
        supply.call(["a"], "grpc", answer())
        assert supply._server is not None
        yield dict(supply._server.addresses)


def remotely(child: Child, work: Path, model: Path, **keys: object) -> Supply:
    name = keys.pop("model_name", "model")
    config = ServingConfig.model_validate({"target": "remote", "remote": keys, "model_name": name})
    target: Target = remote.find(config)
    return Supply(target, {"a": model}, config, 1, child, work, EVENTS.append)


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_remote_server_is_asked_over_the_protocols_that_it_has(
    child: Child, model: Path, tmp_path: Path, running: dict[str, str], protocol: str
) -> None:
    with remotely(child, tmp_path, model, addresses=[running[protocol]]) as supply:
        assert supply.protocols == (protocol,)
        assert supply.call(["a"], protocol, answer())["a"]["logits"].shape == (20, 4)
        facts = Served(supply, protocol).described()
    assert (facts["target"], facts["threads"], facts["server"]["implementation"]) == ("remote", None, "unknown")
    assert (facts["server"]["address"], facts["server"]["model"]) == (running[protocol], "model")
    assert facts["server"]["model_version"].isdigit()


@pytest.mark.parametrize(
    ("keys", "what", "found"),
    [
        ({"model_name": "nobody"}, "there is no model nobody at grpc://127.0.0.1:", "of model nobody"),
        ({"version": 7}, "the model model at grpc://127.0.0.1:", "AVAILABLE"),
        ({"addresses": ["grpc://127.0.0.1:1"]}, "there is no server at grpc://127.0.0.1:1", "Connection refused"),
    ],
)
def test_remote_model_that_is_not_there_is_told_with_what_to_do(
    child: Child, model: Path, tmp_path: Path, running: dict[str, str], keys: dict[str, object], what: str, found: str
) -> None:
    keys = {"addresses": [running["grpc"]]} | keys
    with (
        pytest.raises(MissingError, match=re.escape(what)) as caught,
        remotely(child, tmp_path, model, **keys) as supply,
    ):
        supply.call(["a"], "grpc", answer())
    assert found in caught.value.found
    assert caught.value.todo


@pytest.fixture(scope="module")
def files(child: Child, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    child.call(tiny.write_all, folder)
    return folder


@pytest.fixture(scope="module")
def texts(child: Child, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    child.call(text.write_all, folder)
    return folder


@contextmanager
def both(child: Child, folder: Path, work: Path) -> Iterator[Supply]:
    """A SavedModel and an int8 .tflite behind one server."""
    models = {"model": folder / "saved_model" / "1", "lite": folder / "int8.tflite"}
    with Supply(embedded.find(EMBEDDED), models, EMBEDDED, 1, child, work, EVENTS.append) as supply:
        yield supply


def test_tflite_beside_a_saved_model_is_served_from_litert_and_refuses_what_is_malformed(
    child: Child, files: Path, tmp_path: Path
) -> None:
    alone = {"lite": runtimes.File("tflite", files / "int8.tflite")}
    expected = child.call(runtimes.answer, alone, tiny.SPEC, SAMPLES, 1, 8)["lite"]["logits"]
    with both(child, files, tmp_path) as supply:
        for protocol in ("grpc", "rest"):
            found = supply.call(["model", "lite"], protocol, answer())
            assert np.array_equal(found["lite"]["logits"], expected)  # the integers of LiteRT, and no others
            assert not np.array_equal(found["model"]["logits"], expected)
            survive = partial(runtimes.survive, spec=tiny.SPEC, samples=SAMPLES, threads=1)
            told = supply.call(["lite"], protocol, survive)["lite"]
            assert (told.problems, told.died) == ((), False)
            assert told.requests > 20


def test_texts_go_as_strings_to_a_saved_model_and_as_token_ids_to_a_tflite_that_takes_turns_with_it(
    child: Child, texts: Path, tmp_path: Path
) -> None:
    alone = {"lite": runtimes.File("tflite", texts / "int8.tflite")}
    how = {"spec": text.SPEC, "samples": text.SAMPLES, "threads": 1}
    expected = child.call(partial(runtimes.answer, alone, batch_size=8, **how))["lite"]["logits"]
    with both(child, texts, tmp_path) as supply:
        for protocol in ("grpc", "rest"):
            found = supply.call(["model", "lite"], protocol, partial(runtimes.answer, batch_size=8, **how))
            assert np.array_equal(found["lite"]["logits"], expected)
            assert np.array_equal(found["model"]["logits"].argmax(1), expected.argmax(1))
            told = supply.call(["model", "lite"], protocol, partial(runtimes.survive, **how))
            assert [one.problems for one in told.values()] == [(), ()]
        short = LatencyConfig(min_block_ms=10, percentile=0.5, warmup_queries=2)
        timed = supply.call(["model", "lite"], "grpc", partial(runtimes.time, config=short, batch=1, **how))
        assert {name: len(one.block_p50_ms) for name, one in timed.items()} == {"model": 5, "lite": 5}
