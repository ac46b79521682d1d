"""Warm-up: what is replayed, what fails a load (8), and that it spares clients the slow first call (9.1)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.server.versions.warmup import warm_up
from tests.serving.server.asking import Grpc, classify_request, example, failure, predict_request, regress_request
from tests.serving.server.running import READY_S, Running

INVALID_ARGUMENT, UNIMPLEMENTED, DATA_LOSS = 3, 12, 15
AVAILABLE, END = 30, 50
ONE = np.ones(1, np.float32)
RUNS = 2 * 4  # of warm/1, which comes with a request of every kind: the server replays each of them twice


def runs(client: Grpc, version: int | None = None) -> float:
    """Return how often the model has run."""
    return float(client.predict(predict_request("warm", "runs", version, inputs=np.array([b""])))["y"][0])


@pytest.mark.rule("8")
def test_a_version_has_run_its_requests_when_it_is_available(client: Grpc) -> None:
    """Predict, Classify, Regress and MultiInference, each twice; an empty log is skipped, the model's name ignored."""
    assert runs(client, 1) == RUNS


@pytest.mark.rule("8")
def test_a_version_is_not_served_when_one_of_its_requests_fails(client: Grpc) -> None:
    deadline = time.monotonic() + READY_S
    while not all(status.state in (AVAILABLE, END) for status in client.statuses("warm")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    found = {status.version: status for status in client.statuses("warm")}
    assert [status.state for status in found.values()] == [END] * 8 + [AVAILABLE]
    framing = ". Please verify your warmup data is in TFRecord format."
    for version, code, text in (
        (2, DATA_LOSS, framing),
        (3, DATA_LOSS, framing),
        (4, INVALID_ARGUMENT, "Number of warmup records exceeds the maximum (1000) at "),
        (5, UNIMPLEMENTED, "Unsupported log_type for warmup: 5"),
        (6, UNIMPLEMENTED, "Unsupported log_type for warmup: 7"),
        (7, INVALID_ARGUMENT, "Expects arg[0] to be string but float is provided"),
        (8, INVALID_ARGUMENT, "Failed to parse warmup record: no record from "),
        (9, INVALID_ARGUMENT, "Expected classification signature outputs to contain at least one of"),
    ):
        assert found[version].status.error_code == code
        assert text in found[version].status.error_message
    assert "corrupted record at 12" in found[2].status.error_message
    assert "corrupted record at 0" in found[3].status.error_message
    assert runs(client) == RUNS


@pytest.mark.rule("9.1")
def test_the_first_call_is_quick_only_for_the_outputs_that_warm_up_asked_for(client: Grpc) -> None:
    """Constants of the other output are folded now: the work that warm-up did before for its own.

    In three versions, as each has but one first call; a call that was held up does not count.
    """

    def seconds(output: str, version: int) -> float:
        request = predict_request("folding", version=version, x=ONE)
        request.output_filter.append(output)
        started = time.perf_counter()
        client.predict(request)
        return time.perf_counter() - started

    client.predict(predict_request("half", x=ONE))  # the channel is connected
    warmed, cold, again = (
        min(seconds(output, version) for version in (1, 2, 3)) for output in ("warmed", "cold", "cold")
    )
    assert cold > 4 * warmed
    assert cold > 4 * again


class Recorder:
    """Takes the calls of a warm-up instead of a model; it is servable and inference in one."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.calls.append(name)


@pytest.mark.rule("8")
@pytest.mark.parametrize(("iterations", "times"), [(-1, 1), (0, 1), (1, 1), (3, 3)])
def test_a_request_is_replayed_at_least_once_and_before_the_next(models: Path, iterations: int, times: int) -> None:
    recorder: Any = Recorder()
    warm_up(recorder, models / "warm" / "1", recorder, iterations)
    calls = ("predict", "classify", "regress", "multi_inference")
    assert recorder.calls == [name for name in calls for _ in range(times)]


@pytest.mark.rule("8")
def test_a_version_without_requests_is_ready(tmp_path: Path) -> None:
    recorder: Any = Recorder()
    warm_up(recorder, tmp_path, recorder, 1)
    assert recorder.calls == []


@pytest.fixture(scope="module")
def checked(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grpc]:
    """A server that checks method names and does not warm up: it serves a version whose warm-up would fail, too."""
    folder = tmp_path_factory.mktemp("checked")
    config = folder / "models.config"
    one = 'model_platform: "tensorflow" model_version_policy {{ specific {{ versions: {} }} }}'
    config.write_text(
        f'model_config_list {{ config {{ name: "warm" base_path: "{models}/warm" {one.format(2)} }} '
        f'config {{ name: "tf1" base_path: "{models}/tf1" {one.format(1)} }} }}'
    )
    flags = [f"--model_config_file={config}", "--enable_model_warmup=false", "--enable_signature_method_name_check"]
    server = Running(folder, flags)
    try:
        server.wait_until_ready()
        with Grpc(server.port) as client:
            yield client
    finally:
        server.process.kill()


@pytest.mark.rule("1.2", "8")
def test_nothing_is_replayed_when_the_flag_says_so(checked: Grpc) -> None:
    assert runs(checked) == 0


@pytest.mark.rule("1.2")
def test_method_names_are_checked_when_the_flag_says_so(checked: Grpc) -> None:
    """Predict takes the three known ones, Classify and Regress their own."""
    call = checked.prediction
    one = example(x=1.5)
    assert len(call.Classify(classify_request("tf1", "", one)).result.classifications) == 1
    assert len(call.Regress(regress_request("tf1", "regress", one)).result.regressions) == 1
    for signature, alias in (("predict", "examples"), ("regress", "inputs")):
        request = predict_request("tf1", signature, **{alias: np.array([one.SerializeToString()])})
        assert len(checked.predict(request)) == 1
    code, text = failure(call.Predict, predict_request("tf1", "odd_method"))
    assert code == "INTERNAL"
    assert text.startswith("Expected prediction signature method_name to be one of {")
    assert text.endswith("Was: odd")
    assert failure(call.Classify, classify_request("tf1", "regress", one)) == (
        "INVALID_ARGUMENT",
        "Expected classification signature method_name to be tensorflow/serving/classify. "
        "Was: tensorflow/serving/regress",
    )
    assert failure(call.Regress, regress_request("tf1", "", one)) == (
        "INVALID_ARGUMENT",
        "Expected regression signature method_name to be tensorflow/serving/regress. Was: tensorflow/serving/classify",
    )
