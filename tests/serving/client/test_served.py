"""Both clients and the guard's check against a real server: the embedded one, in a process of its own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import RejectedError, UnavailableError
from pipeline.isolate import Child
from pipeline.measuring import guard
from pipeline.predictor import FormatError, Spec
from serving import layout
from serving.client import endpoint
from serving.client.endpoint import Endpoint, State, connect
from serving.client.grpc import GrpcPredictor
from serving.client.rest import RestPredictor
from tests.pipeline.formats import text, tiny
from tests.serving.client import models

PROTOCOLS = ("grpc", "rest")
NAME = "digits"
READY_S = 60
# what is served: version -> the architecture and the data that it is for
SERVED = {
    1: ("cnn", models.DIGITS),
    2: ("mlp", models.DIGITS),
    3: ("rnn", models.DIGITS),
    4: ("text_transformer", models.TEXTS),
    5: ("mlp", models.COLUMNS),
    6: ("resnet", models.DIGITS),
    7: ("ds_cnn", models.DIGITS),
}


@dataclass
class Server:
    """A running server, and the folders of its versions."""

    process: subprocess.Popen[bytes]
    ports: dict[str, int]
    versions: dict[int, Path]

    def endpoint(
        self,
        protocol: str,
        version: int | None = 1,
        label: str | None = None,
        *,
        model: str = NAME,
        deadline_s: float = 20,
    ) -> Endpoint:
        scheme = "grpc" if protocol == "grpc" else "http"
        return Endpoint(f"{scheme}://127.0.0.1:{self.ports[protocol]}", model, version, label, deadline_s)


@contextlib.contextmanager
def serve(versions: dict[int, Path], work: Path) -> Iterator[Server]:
    """Serve version -> folder with `1/` until the block ends."""
    folders = {version: folder / "1" for version, folder in versions.items()}
    flags = layout.write(layout.Deployment(NAME, folders, 1, 1), work, str(work))
    ports = dict(zip(PROTOCOLS, _free_ports(), strict=True))
    command = [sys.executable, "-m", "serving.server", f"--port={ports['grpc']}", f"--rest_api_port={ports['rest']}"]
    with (
        (work / "log.txt").open("wb") as log,
        subprocess.Popen([*command, *flags], stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        server = Server(process, ports, versions)
        try:
            _wait(server, work / "log.txt")
            yield server
        finally:
            process.kill()


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _wait(server: Server, log: Path) -> None:
    until = time.monotonic() + READY_S
    for protocol in PROTOCOLS:
        while True:
            assert server.process.poll() is None, log.read_text()
            with contextlib.suppress(UnavailableError):
                states = endpoint.status(server.endpoint(protocol))
                found = {state.name for state in states.values()}
                # as TF Serving's, the ports open when one version of each model is there, and others may still load
                assert "AVAILABLE" in found
                assert found <= {"START", "LOADING", "AVAILABLE"}
                if found == {"AVAILABLE"}:
                    break
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    with Child(deadline_s=120, memory_mb=None, threads=1, log=tmp_path_factory.mktemp("log") / "log.txt") as child:
        yield child


@pytest.fixture(scope="module")
def server(child: Child, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    versions = {version: tmp_path_factory.mktemp(f"version-{version}") for version in SERVED}
    for version, (architecture, spec) in SERVED.items():
        child.call(models.write, versions[version], architecture, spec)
    with serve(versions, tmp_path_factory.mktemp("served")) as server:
        yield server


def _samples(spec: Spec, count: int) -> np.ndarray:
    if spec.input.vectorizer is not None:
        return text.SAMPLES[np.arange(count) % len(text.SAMPLES)]
    low, high = spec.input.value_range
    return np.random.default_rng(5).uniform(low, high, (count, *spec.input.shape)).astype(np.float32)


@pytest.mark.parametrize("version", SERVED, ids=lambda version: f"{SERVED[version][0]}-{version}")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_served_model_answers_as_it_does_in_process(server: Server, child: Child, protocol: str, version: int) -> None:
    spec = SERVED[version][1]
    batch = _samples(spec, 300)
    predictor = connect(server.endpoint(protocol, version), spec)
    expected = child.call(models.answer, server.versions[version], spec, batch)
    for part in (batch, batch[:1], batch[7:2:-2]):
        found = predictor.predict(part)
        rows = {len(batch): slice(None), 1: slice(1), 3: slice(7, 2, -2)}[len(part)]
        for name in ("logits", "probabilities"):
            assert found[name].dtype == np.float32
            assert found[name].shape == (len(part), len(spec.head.classes))
            assert np.abs(found[name] - expected[name][rows]).max() < 1e-5
        assert np.array_equal(found["logits"].argmax(1), expected["logits"][rows].argmax(1))
    predictor.close()


def test_both_protocols_answer_with_the_same_bits(server: Server) -> None:
    batch = _samples(models.DIGITS, 50)
    over_grpc, over_rest = (connect(server.endpoint(one), models.DIGITS).predict(batch) for one in PROTOCOLS)
    assert np.array_equal(over_grpc["logits"], over_rest["logits"])
    assert np.array_equal(over_grpc["probabilities"], over_rest["probabilities"])


@pytest.mark.parametrize("version", SERVED, ids=lambda version: f"{SERVED[version][0]}-{version}")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_exported_model_survives_malformed_requests(server: Server, protocol: str, version: int) -> None:
    spec = SERVED[version][1]
    found = guard.check(connect(server.endpoint(protocol, version), spec), spec, _samples(spec, 16), protocol)
    assert found.problems == ()
    assert not found.died
    numbers = 4 if spec.input.vectorizer is None else 3
    left_out = numbers + sum(0 in request.shape for request in guard.malformed(spec)) if protocol == "rest" else 0
    assert found.requests == len(guard.malformed(spec)) - left_out


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_states_of_all_versions_are_told_whatever_version_is_named(server: Server, protocol: str) -> None:
    expected = dict.fromkeys(SERVED, State("AVAILABLE", "OK", ""))
    assert endpoint.status(server.endpoint(protocol, version=99)) == expected
    assert endpoint.status(server.endpoint(protocol, None, "no-such-label")) == expected


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_newest_version_is_asked_when_the_endpoint_names_none(server: Server, protocol: str) -> None:
    connect(server.endpoint(protocol, version=None), SERVED[max(SERVED)][1]).close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_model_is_refused_with_both_shapes_when_it_is_for_other_data(server: Server, protocol: str) -> None:
    place = server.endpoint(protocol, version=1)
    with pytest.raises(FormatError) as caught:
        connect(place, models.COLUMNS)
    assert str(caught.value) == (
        f"digits version 1 at {place.address} is not a model for this data\n"
        "  expected: input features [30] per sample, outputs logits and probabilities\n"
        "  found: input image [8, 8, 1] per sample, outputs logits and probabilities\n"
        "  what to do: export it again from the model that was trained on this data"
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("version", "label", "model", "found"),
    [
        (1, None, "cats", "NOT_FOUND: Servable not found for request: Specific(cats, 1)"),
        (None, None, "cats", "NOT_FOUND: Servable not found for request: Latest(cats)"),
        (99, None, NAME, "NOT_FOUND: Servable not found for request: Specific(digits, 99)"),
        (None, "canary", NAME, "INVALID_ARGUMENT: Unrecognized servable version label: canary"),
    ],
    ids=["model", "newest", "version", "label"],
)
def test_server_refuses_with_its_own_words_when_it_does_not_have_what_is_named(
    server: Server, protocol: str, version: int | None, label: str | None, model: str, found: str
) -> None:
    place = server.endpoint(protocol, version, label, model=model)
    with pytest.raises(RejectedError) as caught:
        connect(place, models.DIGITS)
    assert (caught.value.what, caught.value.found) == (f"{place.address} refuses the request", found)
    assert caught.value.code == found.partition(":")[0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_server_has_no_states_when_it_does_not_have_the_model(server: Server, protocol: str) -> None:
    with pytest.raises(RejectedError, match="NOT_FOUND: Could not find any versions of model cats"):
        endpoint.status(server.endpoint(protocol, model="cats"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_request_is_refused_with_the_servers_words_when_its_shape_is_wrong(server: Server, protocol: str) -> None:
    predictor = connect(server.endpoint(protocol), models.DIGITS)
    with pytest.raises(RejectedError) as caught:
        predictor.predict(np.zeros((2, 8, 8, 3), np.float32))
    assert caught.value.code == "INVALID_ARGUMENT"
    assert "[2,8,8,3] is not compatible with expected shape [?,8,8,1]" in caught.value.found
    assert "\n" not in caught.value.found


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_request_is_given_up_at_its_deadline(server: Server, protocol: str) -> None:
    place = server.endpoint(protocol, deadline_s=0.02)
    predictor = GrpcPredictor(place, models.DIGITS) if protocol == "grpc" else RestPredictor(place, models.DIGITS)
    batch = np.ones((20_000, 8, 8, 1), np.float32)
    with pytest.raises(UnavailableError) as caught:
        predictor.predict(batch)
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert caught.value.what == f"{place.address} does not answer"
    predictor.close()


def test_server_is_unavailable_at_once_when_it_is_killed(server: Server, tmp_path: Path) -> None:
    with serve({1: server.versions[1]}, tmp_path) as own:
        predictors = [connect(own.endpoint(protocol), models.DIGITS) for protocol in PROTOCOLS]
        batch = _samples(models.DIGITS, 1)
        for predictor in predictors:
            predictor.predict(batch)
        own.process.kill()
        own.process.wait()
        start = time.monotonic()
        for predictor in predictors * 2:
            with pytest.raises(UnavailableError, match="does not answer") as caught:
                predictor.predict(batch)
            assert caught.value.code == "UNAVAILABLE"
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_model_without_a_guard_is_found_out(child: Child, tmp_path: Path, protocol: str) -> None:
    """A pooling over all pixels takes images of any size; the server itself refuses the wrong ranks."""
    child.call(tiny.write_pooling, tmp_path / "unguarded")
    (tmp_path / "served").mkdir()
    with serve({1: tmp_path / "unguarded"}, tmp_path / "served") as own:
        predictor = connect(own.endpoint(protocol), tiny.SPEC)
        found = guard.check(predictor, tiny.SPEC, tiny.samples(4, seed=0), protocol)
        assert not found.died
        for shape, name in (([2, 7, 8, 1], "dimension 1 less"), ([2, 8, 16, 1], "dimension 2 twice as much")):
            assert f"a request of shape {shape} ({name}) was answered" in found.problems
