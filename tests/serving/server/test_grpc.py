"""gRPC: lookup (2), Predict (3.3 to 3.7), metadata (3.10) and status (3.11)."""

from __future__ import annotations

import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from tests.serving.server.asking import Grpc, failure, predict_request
from tests.serving.server.models import DTYPES
from tests.serving.server.running import Running

ONE = np.array([1.0], np.float32)
INVALID, NOT_FOUND = "INVALID_ARGUMENT", "NOT_FOUND"


@pytest.mark.rule("2.2", "3.2")
def test_predict_answers_and_echoes_the_model_spec_when_no_version_is_asked(client: Grpc) -> None:
    """Rules 2.2 and 3.2: the highest version that is AVAILABLE; version 3 is broken."""
    response = client.prediction.Predict(predict_request("half", x=np.array([1, 2], np.float32)))
    spec = response.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == ("half", "serving_default", 2)
    assert spec.WhichOneof("version_choice") == "version"
    assert list(response.outputs["y"].float_val) == [3.5, 4.0]


@pytest.mark.rule("2.3", "2.4", "3.2")
def test_predict_answers_by_version_label_and_signature_when_they_are_asked(client: Grpc) -> None:
    """Rules 2.3, 2.4 and 3.2: the label is not echoed."""
    assert client.predict(predict_request("half", version=1, x=ONE))["y"] == [2.5]
    assert client.predict(predict_request("half", "other", x=ONE))["y"] == [10.0]
    request = predict_request("half", x=ONE)
    request.model_spec.version_label = "stable"
    response = client.prediction.Predict(request)
    assert list(response.outputs["y"].float_val) == [2.5]
    assert response.model_spec.WhichOneof("version_choice") == "version"
    assert response.model_spec.version.value == 1


@pytest.mark.parametrize(
    ("model", "version", "label", "expected"),
    [
        (None, None, None, (INVALID, "Missing ModelSpec")),
        ("", None, None, (INVALID, "ModelSpec has no name specified.")),
        ("nope", None, None, (NOT_FOUND, "Servable not found for request: Latest(nope)")),
        ("half", 7, None, (NOT_FOUND, "Servable not found for request: Specific(half, 7)")),
        ("half", 3, None, (NOT_FOUND, "Servable not found for request: Specific(half, 3)")),
        ("half", 0, None, (NOT_FOUND, "Servable not found for request: Specific(half, 0)")),
        ("half", None, "broken", (NOT_FOUND, "Servable not found for request: Specific(half, 3)")),
        ("half", None, "L", (INVALID, "Unrecognized servable version label: L")),
        ("nope", None, "L", (INVALID, "Unrecognized servable version label: L")),
    ],
)  # fmt: skip
@pytest.mark.rule("2.1", "2.2", "2.3", "2.4")
def test_lookup_fails_as_rule_2_says_when_the_version_is_not_there(
    client: Grpc, model: str | None, version: int | None, label: str | None, expected: tuple[str, str]
) -> None:
    request = predict_request(model, version=version, x=ONE)
    if label is not None:
        request.model_spec.version_label = label
    assert failure(client.prediction.Predict, request) == expected


@pytest.mark.rule("3.3")
def test_predict_refuses_in_the_order_of_rule_3_3_when_several_things_are_wrong(client: Grpc) -> None:
    bad = tf.make_tensor_proto(ONE)
    bad.dtype = 0
    request = predict_request("half", "nope", x=bad, z=ONE)
    request.output_filter.append("q")
    texts = []
    for mend in (
        lambda: request.model_spec.ClearField("signature_name"),
        lambda: request.inputs.pop("z"),
        lambda: (request.inputs["z"].CopyFrom(bad), request.inputs.pop("x")),
        lambda: (request.inputs["x"].CopyFrom(bad), request.inputs.pop("z")),
        lambda: request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.array([1.0]))),
        lambda: (request.ClearField("output_filter"), request.output_filter.extend(["y", "y"])),
        lambda: (request.ClearField("output_filter"), request.output_filter.extend(["y"])),
        lambda: None,
    ):
        texts.append(failure(client.prediction.Predict, request))
        mend()
    assert texts == [
        ("FAILED_PRECONDITION", 'Serving signature key "nope" not found.'),
        (INVALID, "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. "
         "Missing but required: {}."),
        (INVALID, "tensor parsing error: x"),
        (INVALID, "Signature input alias: x(feed name: serving_default_x:0) not found in request and no default value "
         "provided. Inputs expected to be in the request {z}, or default input alias set: "),
        (INVALID, "tensor parsing error: x"),
        (INVALID, "output tensor alias not found in signature: q Outputs expected to be in the set {y}."),
        (INVALID, "duplicate output tensor alias: y"),
        (INVALID, "Expects arg[0] to be float but double is provided"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "name"),
    [(np.array([1], np.int32), "int32"), (np.array([b"a"]), "string"), (np.array([1], np.float16), "half"),
     (tf.cast([1.0], tf.bfloat16).numpy(), "bfloat16")],
)  # fmt: skip
@pytest.mark.rule("3.3")
def test_predict_never_casts_when_the_dtype_is_another(client: Grpc, value: np.ndarray, name: str) -> None:
    """Rule 3.3, check 7."""
    code, text = failure(client.prediction.Predict, predict_request("half", x=value))
    assert (code, text) == (INVALID, f"Expects arg[0] to be float but {name} is provided")


@pytest.mark.rule("3.3")
def test_predict_says_what_is_missing_when_there_are_too_few_inputs(client: Grpc) -> None:
    """Rule 3.3, check 3."""
    code, text = failure(client.prediction.Predict, predict_request("pair", a=np.ones((1, 2), np.float32)))
    assert (code, text) == (
        INVALID,
        "input size does not match signature: 1!=2 len({a}) != len({a,b}). Sent extra: {}. Missing but required: {b}.",
    )


@pytest.mark.rule("3.3")
def test_predict_takes_the_default_when_an_optional_input_is_left_out(client: Grpc) -> None:
    """Rule 3.3, checks 3 and 4."""
    assert client.predict(predict_request("optional", a=ONE))["y"] == [101.0]
    assert client.predict(predict_request("optional", a=ONE, b=ONE))["y"] == [2.0]
    code, text = failure(client.prediction.Predict, predict_request("optional", b=ONE))
    assert code == INVALID
    assert text.endswith("Inputs expected to be in the request {b}, or default input alias set: b")
    code, text = failure(client.prediction.Predict, predict_request("optional", a=ONE, z=ONE))
    assert (code, text) == (
        INVALID, "Inputs contains invalid name. Used request inputs: a, request input: a,z"
    )  # fmt: skip


@pytest.mark.rule("3.6")
def test_predict_answers_exactly_the_outputs_of_the_filter_when_there_is_one(client: Grpc) -> None:
    """Rule 3.6."""
    request = predict_request("pair", a=np.ones((3, 2), np.float32), b=np.arange(3, dtype=np.int32))
    both = client.predict(request)
    assert sorted(both) == ["total", "twice"]
    assert both["total"].tolist() == [[1, 1], [2, 2], [3, 3]]
    request.output_filter.append("twice")
    only = client.predict(request)
    assert list(only) == ["twice"]
    assert only["twice"].tolist() == [0, 2, 4]


@pytest.mark.parametrize("shape", [(2, 2), (), (1, 1, 1), (0,)])
@pytest.mark.rule("3.4", "3.5")
def test_predict_does_not_compare_shapes_with_the_signature_when_the_kernels_do_not_mind(
    client: Grpc, shape: tuple[int, ...]
) -> None:
    """Rules 3.4 and 3.5: the signature says [-1]; batch 0 is legal."""
    found = client.predict(predict_request("half", x=np.full(shape, 2, np.float32)))["y"]
    assert found.shape == shape
    assert (found == 4).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 3, 200])
@pytest.mark.rule("3.5", "3.6", "9.3")
def test_predict_carries_every_dtype_when_it_comes_as_content_or_as_values(
    client: Grpc, dtype: str, count: int
) -> None:
    """Rules 3.5 and 3.6: typed fields, one value per element, come back."""
    kind = tf.as_dtype(dtype)
    values = np.arange(count) % 7
    array = np.array([b"\x00v\xff%d" % v for v in values], object) if dtype == "string" else values.astype(
        kind.as_numpy_dtype)  # fmt: skip
    content = tf.make_tensor_proto(array, kind, shape=[count])
    response = client.prediction.Predict(predict_request("same", dtype, x=content))
    typed = response.outputs["y"]
    assert typed.dtype == kind.as_datatype_enum
    assert not typed.tensor_content
    assert [dim.size for dim in typed.tensor_shape.dim] == [count]
    per_element = 2 if dtype == "complex64" else 1
    lengths = {f.name: len(v) for f, v in typed.ListFields() if f.name.endswith("_val")}
    assert sum(lengths.values()) == count * per_element
    again = client.prediction.Predict(predict_request("same", dtype, x=typed)).outputs["y"]
    assert again == typed
    assert (tf.make_ndarray(typed) == array).all()


@pytest.mark.rule("3.5")
def test_predict_fills_or_drops_values_when_their_number_is_not_the_shapes(client: Grpc) -> None:
    """Rule 3.5."""
    for values, expected in (([], [0, 0, 0]), ([5], [5, 5, 5]), ([5, 6], [5, 6, 6]), ([5, 6, 7, 8], [5, 6, 7])):
        tensor = tf.make_tensor_proto(np.zeros(0, np.float32), shape=[0])
        tensor.tensor_shape.dim[0].size = 3
        tensor.float_val.extend(values)
        assert client.predict(predict_request("same", "float", x=tensor))["y"].tolist() == expected


@pytest.mark.rule("3.5")
def test_predict_reads_strings_of_tensor_content_when_they_come_so(client: Grpc) -> None:
    """Rule 3.5: all lengths as varints, then all bytes."""
    tensor = tf.make_tensor_proto(np.array([b"x"], object), tf.string, shape=[1])
    tensor.ClearField("string_val")
    tensor.tensor_shape.dim[0].size = 2
    long = b"y" * 300
    tensor.tensor_content = b"\x01" + b"\xac\x02" + b"x" + long
    assert client.predict(predict_request("same", "string", x=tensor))["y"].tolist() == [b"x", long]
    for wrong in (b"", b"\x01", b"\x01\x01x", b"\x01\x01xyz", b"\xff" * 30):
        tensor.tensor_content = wrong
        if wrong:
            expected = (INVALID, "tensor parsing error: x")
            assert failure(client.prediction.Predict, predict_request("same", "string", x=tensor)) == expected


@pytest.mark.parametrize("sizes", [[-1], [2, -1], [3], [1 << 40, 1 << 40], [1] * 300])
@pytest.mark.rule("3.3")
def test_predict_refuses_a_tensor_when_its_content_does_not_fit_its_shape(client: Grpc, sizes: list[int]) -> None:
    """Rule 3.3, check 5."""
    tensor = tf.make_tensor_proto(np.ones(2, np.float32))
    tensor.ClearField("tensor_shape")
    for size in sizes:
        tensor.tensor_shape.dim.add().size = size
    request = predict_request("half", x=tensor)
    assert failure(client.prediction.Predict, request) == (INVALID, "tensor parsing error: x")


@pytest.mark.rule("2.6")
def test_predict_carries_a_large_tensor_when_it_exceeds_grpcs_default(client: Grpc) -> None:
    """Rule 2.6: 8 MiB, where Python's default is 4."""
    array = np.arange(2 << 20, dtype=np.float32)
    tensor = tf.make_tensor_proto(array)
    found = client.prediction.Predict(predict_request("half", x=tensor)).outputs["y"]
    assert np.array_equal(np.array(found.float_val, np.float32), array / 2 + 3)


@pytest.mark.rule("2.6")
def test_predict_cuts_the_text_when_it_is_longer_than_1024_bytes(client: Grpc) -> None:
    """Rule 2.6."""
    code, text = failure(client.prediction.Predict, predict_request("x" * 5000, x=ONE))
    assert code == NOT_FOUND
    assert len(text) == 1024 + len("...TRUNCATED")
    assert text.startswith("Servable not found for request: Latest(xxx")
    assert text.endswith("x...TRUNCATED")


@pytest.mark.alone
@pytest.mark.rule("3.7", "9.2")
def test_predict_gives_up_when_the_deadline_passes_and_others_are_answered_meanwhile(client: Grpc) -> None:
    """Rules 3.7 and 9.2: runs go on side by side."""
    with ThreadPoolExecutor(2) as pool:
        slow = [
            pool.submit(failure, client.prediction.Predict, predict_request("slow", n=np.int64(2**60)), 2)
            for _ in range(2)
        ]
        for _ in range(20):
            assert client.predict(predict_request("half", x=ONE), timeout_s=10)["y"] == [3.5]
        assert not any(future.done() for future in slow)
        assert [future.result()[0] for future in slow] == ["DEADLINE_EXCEEDED"] * 2


@pytest.mark.rule("9.3")
def test_answers_are_equal_in_every_encoding(server: Running, client: Grpc) -> None:
    array = np.array([0.1, 1 / 3, -7.25e-20, 3e30], np.float32)
    content = tf.make_tensor_proto(array)
    assert content.tensor_content
    typed = tf.make_tensor_proto(np.zeros(0, np.float32), shape=[0])
    typed.tensor_shape.dim[0].size = 4
    typed.float_val.extend(array.tolist())
    expected = (array / 2 + 3).tolist()
    for tensor in (content, typed):
        assert client.predict(predict_request("half", x=tensor))["y"].tolist() == expected
    rest = server.predict("half", {"instances": array.tolist()})["predictions"]
    assert np.array(rest, np.float32).tolist() == expected


@pytest.mark.alone
@pytest.mark.rule("9.4")
def test_a_request_does_not_wait_for_others_without_batching(server: Running, client: Grpc) -> None:
    """A queue's time limit, or an acknowledgement that is put off, would show as 40 ms and more for each."""
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)

    def over_rest() -> None:
        connection.request("POST", "/v1/models/half:predict", b'{"instances": [1.0]}')
        connection.getresponse().read()

    request = predict_request("half", x=ONE)
    for ask in (lambda: client.prediction.Predict(request), over_rest):
        times = []
        for _ in range(20):
            started = time.monotonic()
            ask()
            times.append(time.monotonic() - started)
        assert min(times) < 0.03
    connection.close()


@pytest.mark.rule("3.2", "3.10")
def test_metadata_holds_every_signature_as_it_is_stored(client: Grpc, models: Path) -> None:
    """Rule 3.10."""
    response = client.metadata("half")
    assert (response.model_spec.name, response.model_spec.version.value) == ("half", 2)
    assert response.model_spec.signature_name == ""
    found = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(found)
    proto = saved_model_pb2.SavedModel.FromString((models / "half" / "2" / "saved_model.pb").read_bytes())
    assert dict(found.signature_def) == dict(proto.meta_graphs[0].signature_def)
    assert {"__saved_model_init_op", "serving_default", "other"} == set(found.signature_def)
    assert found.signature_def["serving_default"].inputs["x"].name == "serving_default_x:0"


@pytest.mark.rule("3.10")
@pytest.mark.parametrize(
    ("fields", "model", "expected"),
    [
        ([], "half", (INVALID, "GetModelMetadataRequest must specify at least one metadata_field")),
        (["signature_def", "F"], "nope", (INVALID, "Metadata field F is not supported")),
        (["signature_def"], "nope", (NOT_FOUND, "Servable not found for request: Latest(nope)")),
        (["signature_def"], None, (INVALID, "Missing ModelSpec")),
    ],
)
def test_metadata_fails_as_rule_3_10_says_when_it_is_asked_wrongly(
    client: Grpc, fields: list[str], model: str | None, expected: tuple[str, str]
) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    if model:
        request.model_spec.name = model
    assert failure(client.prediction.GetModelMetadata, request) == expected


def test_predict_answers_an_error_when_the_signature_names_no_tensor(client: Grpc) -> None:
    request = predict_request("half", "__saved_model_init_op")
    assert failure(client.prediction.Predict, request)[0] == INVALID


@pytest.mark.rule("3.11", "5.3")
def test_status_lists_every_version_when_one_could_not_be_loaded(client: Grpc) -> None:
    """Rule 3.11: descending; a failed load is END with its code and text, the others serve on (5.3)."""
    found = client.statuses("half")
    assert [(entry.version, entry.state) for entry in found] == [(3, 50), (2, 30), (1, 30)]
    assert (found[0].status.error_code, found[1].status.error_code, found[1].status.error_message) == (15, 0, "")
    assert "saved_model.pb as binary proto" in found[0].status.error_message
    assert [entry.version for entry in client.statuses("half", 1)] == [1]
    assert [entry.version for entry in client.statuses("pair")] == [7]


@pytest.mark.rule("3.11")
def test_status_ignores_the_label_and_fails_as_rule_3_11_says_when_nothing_is_there(client: Grpc) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    assert failure(client.model.GetModelStatus, request) == (INVALID, "Missing ModelSpec")
    request.model_spec.name = "half"
    request.model_spec.version_label = "no such label"
    assert len(client.model.GetModelStatus(request).model_version_status) == 3
    request.model_spec.version.value = 9
    expected = (NOT_FOUND, "Could not find version 9 of model half")
    assert failure(client.model.GetModelStatus, request) == expected
    request.model_spec.ClearField("version")
    request.model_spec.name = "nope"
    expected = (NOT_FOUND, "Could not find any versions of model nope")
    assert failure(client.model.GetModelStatus, request) == expected


def test_server_goes_on_when_a_request_is_no_protobuf(server: Running, client: Grpc) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        assert failure(call, b"\xff\xff\xff")[0] == "INTERNAL"
    assert client.predict(predict_request("half", x=ONE))["y"] == [3.5]


def test_server_says_what_it_ignores_when_a_flag_is_not_implemented(server: Running) -> None:
    assert "--mixed_precision is not implemented by this server, ignored" in server.err
    assert "Version 8 of servable pair, which was requested to be served as a 'specific' version" in server.err
    assert server.err.index("Running gRPC ModelServer at 127.0.0.1") < server.err.index("Exporting HTTP/REST API at:")
