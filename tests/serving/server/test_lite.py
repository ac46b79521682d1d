"""--prefer_tflite_model: a version with a model.tflite is run in LiteRT, and told by nothing else."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.server import flags
from serving.server.sessions import lite as lite_session
from serving.server.sessions.runtime import Runtime
from serving.server.status import Code, StatusError
from tests.serving.server.asking import Grpc, failure, predict_request
from tests.serving.server.offline import within
from tests.serving.server.running import Running

INVALID = "INVALID_ARGUMENT"
WEIGHTS = np.arange(8, dtype=np.float32).reshape(4, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the models that are served."""
    return tmp_path_factory.mktemp("lite")


@pytest.fixture(scope="module")
def server(models: Path, folder: Path) -> Iterator[Running]:
    """A server with .tflite models, one without, one that is broken, and one whose requests are batched."""
    for name in ("lite", "lite_unsigned", "lite_int8"):
        shutil.copytree(models / name / "1", folder / name / "1")
    shutil.copytree(models / "half" / "1", folder / "lite" / "2")
    (folder / "lite" / "2" / "model.tflite").write_bytes(b"no model")
    shutil.copytree(models / "half" / "1", folder / "half" / "1")
    shutil.copytree(models / "lite" / "1", folder / "batched" / "1")
    (folder / "batched" / "1" / "batching_params.pbtxt").write_text(
        "max_batch_size { value: 4 } batch_timeout_micros { value: 60000000 }"
    )
    names = ("lite", "lite_unsigned", "lite_int8", "half", "batched")
    configs = " ".join(f'config {{ name: "{name}" base_path: "{folder}/{name}" model_platform: "tensorflow" '
                       "model_version_policy { all {} } }" for name in names)  # fmt: skip
    shutil.copytree(models / "lite_unsigned" / "1", folder / "swapped" / "1")
    configs += f' config {{ name: "swapped" base_path: "{folder}/swapped" model_platform: "tensorflow" }}'
    (folder / "models.config").write_text(f"model_config_list {{ {configs} }}")
    running = Running(
        folder / "logs",
        [
            f"--model_config_file={folder}/models.config", "--max_num_load_retries=0", "--prefer_tflite_model",
            "--num_tflite_pools=2", "--enable_batching", "--enable_per_model_batching_parameters",
            "--file_system_poll_wait_seconds=1",
        ],
    )  # fmt: skip
    try:
        running.wait_until_ready()
        yield running
        assert running.process.poll() is None, f"the server died:\n{running.err}"
    finally:
        running.process.kill()


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[Grpc]:
    with Grpc(server.port) as connected:
        yield connected


def floats(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("rows", [1, 3, 1, 40, 0])
def test_predict_answers_when_the_batch_size_changes(client: Grpc, rows: int) -> None:
    """An empty batch too (rule 3.5)."""
    x = floats(rows, 4)
    found = client.predict(predict_request("lite", x=x))
    np.testing.assert_allclose(found["y"], x @ WEIGHTS)
    assert (found["y"].shape, found["rows"].tolist()) == ((rows, 2), [rows] * rows)


def test_every_signature_answers_over_rest_as_well(server: Running, client: Grpc) -> None:
    assert client.predict(predict_request("lite", "other", x=floats(3)))["y"].tolist() == [0, 10, 20]
    rest = {"signature_name": "other", "instances": [1.5, 2]}
    assert server.predict("lite", rest) == {"predictions": [15.0, 20.0]}
    request = predict_request("lite", x=floats(1, 4))
    request.output_filter.append("rows")
    assert list(client.predict(request)) == ["rows"]
    spec = client.prediction.Predict(request).model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == ("lite", "serving_default", 1)


def test_strings_go_through_as_they_are(client: Grpc) -> None:
    words = np.array([b"a", b"b\x00", b"", b"\xff"], object)
    found = client.predict(predict_request("lite", "text", s=words))["backwards"]
    assert found.tolist() == words[::-1].tolist()


def test_quantized_ends_are_int8(client: Grpc) -> None:
    found = client.predict(predict_request("lite_int8", "single", x=np.array([[-128, 127]], np.int8)))["y"]
    assert found.dtype == np.int8
    assert found[0, 0] < -100 < 100 < found[0, 1]
    expected = (INVALID, "Expects arg[0] to be int8 but float is provided")
    assert failure(client.prediction.Predict, predict_request("lite_int8", "single", x=floats(1, 2))) == expected


def test_rows_run_one_after_another_when_the_file_is_made_for_one(client: Grpc) -> None:
    x = np.array([[1, 3], [10, 20], [5, 5]], np.float32)
    found = client.predict(predict_request("lite", "single", x=x))["y"]
    assert found.tolist() == [[-1, 1], [-5, 5], [0, 0]]


def test_a_file_without_signatures_is_served_by_its_tensors_names(client: Grpc) -> None:
    metadata = get_model_metadata_pb2.SignatureDefMap()
    client.metadata("lite_unsigned").metadata["signature_def"].Unpack(metadata)
    (signature,) = metadata.signature_def.values()
    assert list(metadata.signature_def) == ["serving_default"]
    assert (list(signature.inputs), list(signature.outputs)) == (["x"], ["Identity"])
    for rows in (2, 3):
        found = client.predict(predict_request("lite_unsigned", x=floats(rows, 2)))["Identity"]
        assert found.tolist() == (floats(rows, 2) * 2).tolist()


@pytest.mark.rule("3.10")
def test_metadata_is_the_files(client: Grpc) -> None:
    """And not the SavedModel's, which is beside it."""
    metadata = get_model_metadata_pb2.SignatureDefMap()
    client.metadata("lite").metadata["signature_def"].Unpack(metadata)
    assert set(metadata.signature_def) == {"serving_default", "other", "text", "single", "fixed", "pair"}
    signature = metadata.signature_def["serving_default"]
    info = signature.inputs["x"]
    assert signature.method_name == "tensorflow/serving/predict"
    assert (info.dtype, [dim.size for dim in info.tensor_shape.dim]) == (1, [-1, 4])
    assert metadata.signature_def["text"].inputs["s"].dtype == 7
    expected = ("FAILED_PRECONDITION", 'Serving signature key "only_in_tensorflow" not found.')
    request = predict_request("lite", "only_in_tensorflow", x=floats(1))
    assert failure(client.prediction.Predict, request) == expected


@pytest.mark.rule("3.3")
@pytest.mark.parametrize(
    ("signature", "inputs", "text"),
    [
        ("", {"x": np.ones((1, 4))}, "Expects arg[0] to be float but double is provided"),
        ("", {"x": np.ones((1, 4), np.int32)}, "Expects arg[0] to be float but int32 is provided"),
        ("text", {"s": floats(1)}, "Expects arg[0] to be string but float is provided"),
        ("", {"x": floats(2, 5)}, "Input x has shape [2,5] but the model takes [?,4]"),
        ("", {"x": floats(4)}, "Input x has shape [4] but the model takes [?,4]"),
        ("", {"x": floats(2, 2, 4)}, "Input x has shape [2,2,4] but the model takes [?,4]"),
        ("", {"x": np.float32(1)}, "Input x has shape [] but the model takes [?,4]"),
        ("", {"x": floats(2, 0)}, "Input x has shape [2,0] but the model takes [?,4]"),
        ("fixed", {"x": floats(4)}, "Input x has shape [4] but the model takes [3]"),
        ("pair", {"a": floats(2, 2), "b": floats(2, 3)}, "LiteRT cannot run the request: "),
        ("pair", {"a": floats(2, 0), "b": floats(2, 3)}, "Input a has shape [2,0] but the model takes [?,?]"),
    ],
)  # fmt: skip
def test_a_request_is_refused_when_it_does_not_fit_the_file(
    client: Grpc, signature: str, inputs: dict[str, Any], text: str
) -> None:
    """What LiteRT would compute something from too; and the model answers as before."""
    code, said = failure(client.prediction.Predict, predict_request("lite", signature, **inputs))
    assert (code, said[: len(text)]) == (INVALID, text)
    assert client.predict(predict_request("lite", "fixed", x=floats(3)))["y"].tolist() == [1, 3, 5]
    found = client.predict(predict_request("lite", "pair", a=floats(2, 2), b=floats(2, 2)))["y"]
    assert found.tolist() == (floats(2, 2) * 2).tolist()


def test_many_callers_get_their_own_answers_when_interpreters_are_fewer(client: Grpc) -> None:
    def ask(caller: int) -> None:
        for turn in range(25):
            x = np.full((1 + (caller + turn) % 4, 4), caller * 100 + turn, np.float32)
            np.testing.assert_allclose(client.predict(predict_request("lite", x=x))["y"], x @ WEIGHTS)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(ask, caller) for caller in range(8)]:
            done.result()


@pytest.mark.rule("7")
def test_requests_to_a_tflite_model_are_batched(client: Grpc) -> None:
    """Until the batch is full nobody is answered: the timeout is a minute."""
    futures = [
        client.prediction.Predict.future(predict_request("batched", x=floats(rows, 4)), timeout=20) for rows in (1, 3)
    ]
    for rows, future in zip((1, 3), futures, strict=True):
        outputs = future.result().outputs
        assert list(outputs["rows"].int_val) == [4] * rows
        np.testing.assert_allclose(list(outputs["y"].float_val), (floats(rows, 4) @ WEIGHTS).ravel())


@pytest.mark.rule("6.2", "6.4")
def test_nothing_fails_when_a_tflite_version_gives_way_to_a_batched_saved_model_and_back(
    client: Grpc, models: Path, folder: Path, tmp_path: Path
) -> None:
    base = folder / "swapped"
    x, answers, done = floats(1, 2), [], threading.Event()
    lite, saved_model = {"Identity": [[0.0, 2.0]]}, {"y": [[2.0, 2.5]]}

    def ask() -> None:
        while not done.is_set():
            answers.append({name: y.tolist() for name, y in client.predict(predict_request("swapped", x=x)).items()})

    def wait_for(*states: tuple[int, int]) -> None:
        deadline = time.monotonic() + 120
        while [(status.version, status.state) for status in client.statuses("swapped")] != list(states):
            assert time.monotonic() < deadline, client.statuses("swapped")
            time.sleep(0.05)

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        within(lambda: answers != [])
        shutil.copytree(models / "half" / "1", tmp_path / "2")
        (tmp_path / "2" / "batching_params.pbtxt").write_text("max_batch_size { value: 4 }")
        (tmp_path / "2").rename(base / "2")
        wait_for((2, 30), (1, 50))
        within(lambda: answers[-1] == saved_model)
        shutil.rmtree(base / "2")
        wait_for((2, 50), (1, 30))
        within(lambda: answers[-1] == lite)
        done.set()
        for future in asking:
            future.result()
    assert all(answer in (lite, saved_model) for answer in answers)
    assert (answers[0], answers[-1], saved_model in answers) == (lite, lite, True)


@pytest.mark.rule("3.11")
def test_status_tells_a_file_that_is_no_model(client: Grpc) -> None:
    """The SavedModel beside it does not stand in: the flag prefers the file."""
    broken, good = client.statuses("lite")
    assert (broken.version, broken.state, good.version, good.state) == (2, 50, 1, 30)
    assert broken.status.error_code == 3
    assert broken.status.error_message.startswith("Cannot build FlatBufferModel from buffer.")


def test_a_saved_model_is_served_when_there_is_no_tflite_file(client: Grpc) -> None:
    assert client.predict(predict_request("half", x=floats(2)))["y"].tolist() == [2.0, 2.5]


def test_the_saved_model_is_served_when_nothing_is_preferred(models: Path) -> None:
    _, signatures = Runtime(flags.parse([]).values, None).open(models / "lite" / "1")
    assert "only_in_tensorflow" in signatures


def test_a_large_request_is_split_when_a_pool_has_several_interpreters(models: Path) -> None:
    """For two: in halves of TF Serving's 500 rows."""
    values = flags.parse(["--prefer_tflite_model", "--num_tflite_interpreters_per_pool=2"]).values
    session, signatures = Runtime(values, None).open(models / "lite" / "1")
    definition = signatures["serving_default"]
    feed, fetch = definition.inputs["x"].name, definition.outputs["rows"].name
    (rows,) = session.run({feed: floats(300, 4)}, [fetch], None)
    assert rows.tolist() == [250] * 250 + [50] * 50
    with pytest.raises(StatusError, match="Task size 501 is larger than maximum input batch size 500"):
        session.run({feed: floats(501, 4)}, [fetch], None)


def test_a_file_is_refused_when_one_requests_state_would_reach_the_next(models: Path, tmp_path: Path) -> None:
    model = schema.ModelT.InitFromPackedBuf((models / "lite" / "1" / "model.tflite").read_bytes(), 0)
    model.subgraphs[1].tensors[-1].isVariable = True
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "model.tflite").write_bytes(bytes(builder.Output()))
    with pytest.raises(StatusError, match="UNIMPLEMENTED: one request's state would reach the next"):
        lite_session.load(tmp_path / "model.tflite", 1)


def test_a_request_ends_at_its_deadline_when_no_interpreter_is_idle(models: Path) -> None:
    session, signatures = lite_session.load(models / "lite" / "1" / "model.tflite", 1)
    definition = signatures["other"]
    feeds, fetches = {definition.inputs["x"].name: floats(1)}, [definition.outputs["y"].name]
    busy = session._idle.get()
    with pytest.raises(StatusError) as caught:
        session.run(feeds, fetches, 10)
    assert caught.value.code == Code.DEADLINE_EXCEEDED
    session._idle.put(busy)
    assert session.run(feeds, fetches, 10)[0].tolist() == [0.0]


def test_pools_are_as_many_as_cpus_when_nothing_is_said() -> None:
    """One interpreter runs one request, so less would leave cores idle."""
    assert flags.parse([]).values.num_tflite_pools == len(os.sched_getaffinity(0))
