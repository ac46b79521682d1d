"""Batching (rules 7 and 9.4): a model that tells how many rows it was run with shows what was put together.

There is one batch thread. A request that does not end keeps it busy, so that others have to wait, and to come together.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf

from tests.serving.server.asking import Grpc, failure, predict_request
from tests.serving.server.running import Running

BUSY_S = 5.0  # how long the batch thread is kept busy
TIMEOUT_MS = 10_000  # of a REST request
# model -> its parameters; each is a copy of the same model
PARAMETERS = {
    "eager": "max_batch_size { value: 8 }",
    "twin": "max_batch_size { value: 8 }",
    "plain": None,
    "waits": "max_batch_size { value: 4 } batch_timeout_micros { value: 60000000 }",
    "soon": "max_batch_size { value: 4 } batch_timeout_micros { value: 2000000 }",
    "tight": "max_batch_size { value: 2 } max_enqueued_batches { value: 1 }",
    "padded": "max_batch_size { value: 8 } allowed_batch_sizes: 4 allowed_batch_sizes: 8",
    "unequal": "max_batch_size { value: 8 } pad_variable_length_inputs: true",
    "split": "max_batch_size { value: 100 } max_enqueued_batches { value: 3 } "
    "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 4 }",
}
WRONG = "max_batch_size { value: 8 } allowed_batch_sizes: 2 allowed_batch_sizes: 4"
INVALID, FAILED, FULL = "INVALID_ARGUMENT", "FAILED_PRECONDITION", "UNAVAILABLE"


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose models bring their own parameters; what is common to them are the threads."""
    folder = tmp_path_factory.mktemp("batching")
    entries = []
    for name, parameters in PARAMETERS.items():
        shutil.copytree(models / "batched" / "1", folder / name / "1")
        if parameters is not None:
            (folder / name / "1" / "batching_params.pbtxt").write_text(parameters)
        entries.append(f'config {{ name: "{name}" base_path: "{folder}/{name}" model_platform: "tensorflow" '
                       "model_version_policy { all {} } }")  # fmt: skip
    shutil.copytree(folder / "eager" / "1", folder / "eager" / "2")
    (folder / "eager" / "2" / "batching_params.pbtxt").write_text(WRONG)
    (folder / "models.config").write_text(f"model_config_list {{ {' '.join(entries)} }}")
    (folder / "batching.config").write_text("max_batch_size { value: 1 } num_batch_threads { value: 1 }")
    running = Running(
        folder / "logs",
        [
            f"--model_config_file={folder}/models.config", "--max_num_load_retries=0", "--grpc_max_threads=32",
            f"--rest_api_timeout_in_ms={TIMEOUT_MS}", "--enable_batching", "--enable_per_model_batching_parameters",
            f"--batching_parameters_file={folder}/batching.config",
        ],
    )  # fmt: skip
    try:
        running.wait_until_ready()
        yield running
        assert running.process.poll() is None, f"the server died:\n{running.err}"
        with Grpc(running.port) as last:  # who waits a minute for a batch is answered when the server stops
            (waiting,) = asked(last, default("waits", [[1]]), timeout_s=20)
            running.process.send_signal(signal.SIGTERM)
            assert outputs(waiting)["rows"] == [1]
        assert running.ended() == 0
    finally:
        running.process.kill()


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[Grpc]:
    """A client for whose requests everything was run once."""
    with Grpc(server.port) as connected:
        for name in ("eager", "twin", "unequal", "padded", "split"):
            connected.predict(default(name, [[1]]))
            connected.predict(default(name, [[1]], "rows"))
        connected.predict(predict_request("eager", "other", x=np.ones((1, 1), np.float32)))
        yield connected


def default(model: str, rows: Any, *outputs: str, signature: str = "") -> Any:
    request = predict_request(model, signature, x=np.array(rows, np.float32))
    request.output_filter.extend(outputs)
    return request


@contextmanager
def busy(client: Grpc, seconds: float = BUSY_S) -> Iterator[None]:
    """Keep the batch thread busy while requests are sent; it is free again at the end of a deadline."""
    request = predict_request("eager", "slow", n=np.array([2**60]))
    running = client.prediction.Predict.future(request, timeout=seconds)
    arrive(client)
    yield
    with pytest.raises(grpc.RpcError):
        running.result()


def asked(client: Grpc, *requests: Any, timeout_s: float = 30) -> list[Any]:
    """Send requests in this order, and return futures of their answers."""
    futures = []
    for request in requests:
        futures.append(client.prediction.Predict.future(request, timeout=timeout_s))
        arrive(client)
    return futures


def arrive(client: Grpc) -> None:
    """Let what was sent arrive: other calls, which are not batched, come after it; they take longer under load, too."""
    for _ in range(10):
        client.statuses("eager")


def outputs(future: Any) -> dict[str, list[Any]]:
    return {name: tf.make_ndarray(tensor).tolist() for name, tensor in future.result().outputs.items()}


def error(future: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        future.result()
    return caught.value.code().name, caught.value.details()


@pytest.mark.rule("7", "9.4")
def test_requests_run_together_when_they_come_while_the_thread_is_busy(server: Running, client: Grpc) -> None:
    """Over both protocols; each gets its own rows back."""
    with ThreadPoolExecutor(1) as pool, busy(client):
        futures = asked(client, default("eager", [[1, 2]]), default("eager", [[3, 4], [5, 6]]))
        rest = pool.submit(server.predict, "eager", {"instances": [[7, 8]]})
    found = [outputs(future) for future in futures]
    assert [answer["rows"] for answer in found] == [[4], [4, 4]]
    assert [answer["own"] for answer in found] == [[3.0], [7.0, 11.0]]
    assert [(row["rows"], row["own"]) for row in rest.result()["predictions"]] == [(4, 15.0)]


@pytest.mark.rule("7")
def test_requests_are_not_mixed_when_model_signature_or_outputs_differ(client: Grpc) -> None:
    kinds = [
        default("eager", [[1]]),
        default("eager", [[1]], "rows"),
        default("eager", [[1]], signature="other"),
        default("twin", [[1]]),
    ]
    with busy(client):
        futures = asked(client, *kinds, default("eager", [[1]], "own", "total", "rows", "columns"), *kinds[1:])
    assert [outputs(future)["rows"] for future in futures] == [[2]] * 8


@pytest.mark.rule("7")
def test_a_batch_waits_its_timeout_when_it_is_not_full(client: Grpc) -> None:
    started = time.monotonic()
    assert outputs(*asked(client, default("soon", [[1]])))["rows"] == [1]
    assert time.monotonic() - started >= 2
    futures = asked(client, default("soon", [[1]]), default("soon", [[2]]))
    assert [outputs(future)["rows"] for future in futures] == [[2], [2]]


@pytest.mark.rule("7", "9.4")
def test_a_batch_runs_at_once_when_it_is_full(client: Grpc) -> None:
    """The timeout is a minute."""
    futures = asked(client, default("waits", [[1]]), default("waits", [[2], [3], [4]]), timeout_s=20)
    assert [outputs(future)["rows"] for future in futures] == [[4], [4, 4, 4]]
    assert outputs(*asked(client, default("waits", [[1]] * 4), timeout_s=20))["rows"] == [4] * 4


@pytest.mark.rule("7")
@pytest.mark.parametrize(
    ("signature", "inputs", "text"),
    [
        ("", {"x": np.ones((10, 1), np.float32)}, "Task size 10 is larger than maximum input batch size 8"),
        ("slow", {"n": np.int64(1)}, "Batching Run() input tensors must have at least one dimension"),
        ("pair", {"a": np.ones(1, np.float32), "b": np.ones(2, np.float32)},
         "Batching Run() input tensors must have equal 0th-dimension size"),
        ("", {"x": np.ones((1, 1))}, "Expects arg[0] to be float but double is provided"),
    ],
)  # fmt: skip
def test_a_request_is_refused_when_it_cannot_be_batched(
    client: Grpc, signature: str, inputs: dict[str, Any], text: str
) -> None:
    assert failure(client.prediction.Predict, predict_request("eager", signature, **inputs)) == (INVALID, text)


@pytest.mark.rule("7")
@pytest.mark.parametrize(
    ("signature", "text"),
    [
        ("scalar", "Batched output tensor has 0 dimensions"),
        ("uneven", "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
         "input tensors"),
    ],
)  # fmt: skip
def test_a_request_fails_when_an_output_lacks_the_batch_dimension(client: Grpc, signature: str, text: str) -> None:
    """A model without parameters is not batched, and answers."""
    assert failure(client.prediction.Predict, default("eager", [1, 2], signature=signature)) == (FAILED, text)
    assert np.sum(client.predict(default("plain", [1, 2], signature=signature))["y"]) in (3, 6)


@pytest.mark.rule("7")
def test_a_request_is_shed_when_the_queue_is_full(client: Grpc) -> None:
    with busy(client):
        first, second, third = asked(client, *[default("tight", [[1]], "rows")] * 3)
        assert error(third) == (FULL, "The batch scheduling queue to which this task was submitted is full; currently "
                                "1 batches enqueued and max_enqueued_batches is 1")  # fmt: skip
    assert [outputs(future) for future in (first, second)] == [{"rows": [2]}] * 2


@pytest.mark.rule("7")
def test_all_of_a_batch_fail_when_inner_shapes_or_dtypes_differ(client: Grpc) -> None:
    with busy(client):
        shapes = asked(client, default("eager", [[1, 2]]), default("eager", [[1, 2, 3]]))
        dtypes = asked(client, default("twin", [[1]]), predict_request("twin", x=np.ones((1, 1))))
    for future in shapes:
        code, text = error(future)
        assert code == FAILED
        assert text.startswith("Tensors with name 'serving_default_x:0' from different tasks have different shapes")
    for future in dtypes:
        code, text = error(future)
        assert (code, "Got float and double." in text) == ("INTERNAL", True)
    assert client.predict(default("eager", [[1]]))["rows"] == [1]


@pytest.mark.rule("7")
def test_inner_shapes_are_padded_with_the_first_value_when_the_parameters_say_so(client: Grpc) -> None:
    with busy(client):
        futures = asked(client, default("unequal", [[5, 6]]), default("unequal", [[1, 2, 3]]))
    found = [outputs(future) for future in futures]
    assert [(answer["columns"], answer["own"]) for answer in found] == [([3], [16.0]), ([3], [6.0])]


@pytest.mark.rule("7")
def test_a_batch_is_padded_with_row_0_of_its_last_task_when_sizes_are_given(client: Grpc) -> None:
    with busy(client):
        futures = asked(client, default("padded", [[1]]), default("padded", [[10], [100]]))
    found = [outputs(future) for future in futures]
    assert [answer["rows"] for answer in found] == [[4], [4, 4]]
    assert [answer["total"] for answer in found] == [[121.0], [121.0, 121.0]]
    assert outputs(*asked(client, default("padded", [[1]] * 5)))["rows"] == [8] * 5


@pytest.mark.rule("7")
def test_a_large_request_is_split_when_the_parameters_say_so(client: Grpc) -> None:
    """Into the room that is left in the open batch, then in whole batches; its rows come back in order."""
    rows = [[float(row)] for row in range(10)]
    answer = outputs(*asked(client, default("split", rows)))
    assert (answer["rows"], answer["own"]) == ([4] * 8 + [2] * 2, list(range(10)))
    with busy(client):
        small, large = asked(client, default("split", [[0]] * 3), default("split", rows[:6]))
        full = failure(client.prediction.Predict, default("split", rows[:4]))
    assert full[0] == FULL
    assert "is full; task size is 4 but scheduling capacity is only 3" in full[1]
    assert [outputs(future)["rows"] for future in (small, large)] == [[4] * 3, [4] * 5 + [1]]
    code, text = failure(client.prediction.Predict, default("split", [[0]] * 101))
    assert (code, text) == (INVALID, "Task size 101 is larger than maximum input batch size 100")


@pytest.mark.rule("7", "3.5")
def test_strings_and_empty_batches_are_answered_when_requests_are_batched(client: Grpc) -> None:
    text = client.predict(predict_request("eager", "text", s=np.array([b"a", b"b\xff"], object)))
    assert text["y"].tolist() == [b"a!", b"b\xff!"]
    for model in ("eager", "padded"):
        assert client.predict(default(model, np.zeros((0, 2))))["own"].shape == (0,)


@pytest.mark.rule("7")
def test_a_request_is_exhausted_when_it_waits_past_its_deadline(server: Running, client: Grpc) -> None:
    with busy(client, TIMEOUT_MS / 1000 + 3):
        found = server.predict_error("eager", {"instances": [[1]]})
    assert found == (429, "Run() timeout exceeded while waiting in batching queue")


@pytest.mark.rule("7", "5.3")
def test_a_version_is_not_loaded_when_its_parameters_are_wrong(client: Grpc) -> None:
    status, good = client.statuses("eager")
    assert (status.version, status.state, good.state) == (2, 50, 30)
    assert (status.status.error_code, status.status.error_message) == (
        3, "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8"
    )  # fmt: skip


@pytest.mark.rule("9.4")
def test_a_lone_caller_pays_next_to_nothing_when_requests_are_batched(client: Grpc) -> None:
    """The same model in the same process, asked in turns; what else the machine does shows least in the quick ones."""
    requests = {name: default(name, [[1]]) for name in ("plain", "eager")}
    seconds: dict[str, list[float]] = {name: [] for name in requests}
    for turn in range(800):
        for name, request in requests.items():
            started = time.perf_counter()
            client.prediction.Predict(request)
            if turn >= 100:
                seconds[name].append(time.perf_counter() - started)
    plain, batched = (np.percentile(seconds[name], 25) for name in requests)
    assert batched < 1.5 * plain
