"""REST: routes (4.1, 4.2), errors (4.3), status (4.4), metadata (4.5), requests (4.6) and answers (4.7)."""

from __future__ import annotations

import base64
import http.client
import json
import threading
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from tests.serving.server.asking import Grpc, predict_request
from tests.serving.server.running import Running

A, B = {"a": [1, 2], "b": 3}, {"a": [10, 20], "b": 4}
ELEMENT = "Failed to process element: "


@pytest.mark.rule("4.6", "4.7")
@pytest.mark.parametrize(
    ("model", "request_text", "answer"),
    [
        ("half", '{"instances": [1.0, 2.0, 5.0]}', '{\n    "predictions": [3.5, 4.0, 5.5\n    ]\n}'),
        ("half/versions/1", '{"instances": [1.0, 2.0, 5.0]}', '{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'),
        ("half/labels/stable", '{"instances": [1]}', '{\n    "predictions": [2.5\n    ]\n}'),
        ("a%20b", '{"instances": [1]}', '{\n    "predictions": [2.5\n    ]\n}'),
        ("half", '{"instances": [[1, 2], [3, 4]]}', '{\n    "predictions": [[3.5, 4.0], [4.5, 5.0]\n    ]\n}'),
        ("half", '{"instances": [[[1], []]]}'.replace(", []", ""), '{\n    "predictions": [[[3.5]]\n    ]\n}'),
        ("half", '{"instances": [[], []]}', '{\n    "predictions": [[], []\n    ]\n}'),
        ("half", '{"instances": [{"x": 1}]}', '{\n    "predictions": [3.5\n    ]\n}'),
        ("half", '{"inputs": [1, 2]}', '{\n    "outputs": [\n        3.5,\n        4.0\n    ]\n}'),
        ("half", '{"inputs": 1}', '{\n    "outputs": 3.5\n}'),
        ("half", '{"inputs": []}', '{\n    "outputs": []\n}'),
        ("half", '{"inputs": {"x": [[1], [2]], "extra": "ignored"}}',
         '{\n    "outputs": [\n        [\n            3.5\n        ],\n        [\n            4.0\n        ]\n'
         '    ]\n}'),
        ("pair", '{"instances": [{"a": [1, 2], "b": 3}, {"b": 4, "a": [10, 20]}]}',
         '{\n    "predictions": [\n        {\n            "total": [4.0, 5.0],\n            "twice": 6\n        },\n'
         '        {\n            "total": [14.0, 24.0],\n            "twice": 8\n        }\n    ]\n}'),
        ("pair", '{"inputs": {"a": [[1, 2]], "b": [3]}}',
         '{\n    "outputs": {\n        "total": [\n            [\n                4.0,\n                5.0\n'
         '            ]\n        ],\n        "twice": [\n            6\n        ]\n    }\n}'),
        ("text", '{"instances": ["a\\"\\u00e9\\n\\u001f/", {"b64": "/w=="}]}',
         '{\n    "predictions": [\n        {\n            "plain": "a\\"é\\n\\u001F/",\n            "raw_bytes": {\n'
         '                "b64": "YSLDqQofLyE="\n            }\n        },\n        {\n            "plain": "\udcff",\n'
         '            "raw_bytes": {\n                "b64": "/yE="\n            }\n        }\n    ]\n}'),
        ("odd", '{"signature_name": "none", "instances": [1]}', '{\n    "predictions": []\n}'),
    ],
)  # fmt: skip
def test_predict_answers_in_rapidjsons_layout_byte_for_byte(
    server: Running, model: str, request_text: str, answer: str
) -> None:
    """Rules 4.6 and 4.7."""
    assert server.ask("POST", f"/v1/models/{model}:predict", request_text) == (200, answer)


@pytest.mark.rule("4.6", "4.7")
@pytest.mark.parametrize(
    ("dtype", "given", "answered"),
    [
        ("float", "[1, 2.5, 1e100, -1e100, 1e-100, NaN, Inf, -Inf, Infinity, -Infinity, 0.1, 9e6, -0]",
         "[1.0, 2.5, Infinity, -Infinity, 0.0, NaN, Infinity, -Infinity, Infinity, -Infinity, 0.1, 9e+06, 0.0]"),
        ("double", "[1, 0.1, 1e100, 123456789.25]", "[1.0, 0.1, 1e+100, 123456789.25]"),
        ("int8", "[1, 300, -129]", "[1, 44, 127]"),
        ("uint8", "[-1, 256]", "[255, 0]"),
        ("int16", "[65537]", "[1]"),
        ("int32", "[-2147483648, 2147483647]", "[-2147483648, 2147483647]"),
        ("int64", "[-9223372036854775808, 9223372036854775807]", "[-9223372036854775808, 9223372036854775807]"),
        ("uint32", "[4294967295]", "[4294967295]"),
        ("uint64", "[18446744073709551615]", "[18446744073709551615]"),
        ("bool", "[true, false]", "[true, false]"),
        ("string", '["a", "\\ud83d\\ude00"]', '["a", "\U0001f600"]'),
    ],
)  # fmt: skip
def test_predict_reads_and_writes_every_dtype_that_json_has(
    server: Running, dtype: str, given: str, answered: str
) -> None:
    """Rules 4.6 and 4.7: too large for float is infinite, too small is 0, small integers wrap."""
    status, text = server.ask(
        "POST", "/v1/models/same:predict", f'{{"signature_name": "{dtype}", "instances": {given}}}'
    )
    assert (status, text) == (200, f'{{\n    "predictions": {answered[:-1]}\n    ]\n}}')


@pytest.mark.rule("4.6")
@pytest.mark.parametrize(
    ("dtype", "value", "shown", "type_name"),
    [
        ("float", '"x"', '"x"', "String"), ("float", "true", "true", "True"), ("float", "null", "null", "Null"),
        ("float", '{"b64": "YQ=="}', '{\n    "b64": "YQ=="\n}', "Object"), ("double", "false", "false", "False"),
        ("int32", "1.0", "1.0", "Number"), ("int32", "1e2", "100.0", "Number"),
        ("int32", "2147483648", "2147483648", "Number"), ("int64", "1.5", "1.5", "Number"),
        ("int64", "9223372036854775808", "9223372036854775808", "Number"), ("uint32", "-1", "-1", "Number"),
        ("uint32", "4294967296", "4294967296", "Number"), ("uint64", "-1", "-1", "Number"),
        ("uint8", "2147483648", "2147483648", "Number"), ("bool", "1", "1", "Number"),
        ("bool", '"true"', '"true"', "String"), ("string", "1", "1", "Number"), ("string", "true", "true", "True"),
    ],
)  # fmt: skip
def test_predict_refuses_a_value_when_it_is_of_another_type(
    server: Running, dtype: str, value: str, shown: str, type_name: str
) -> None:
    """Rule 4.6: 400 in both forms."""
    text = f"JSON Value: {shown} Type: {type_name} is not of expected type: {dtype}"
    column = f'{{"signature_name": "{dtype}", "inputs": [{value}]}}'
    assert server.predict_error("same", column) == (400, text)
    row = f'{{"signature_name": "{dtype}", "instances": [[{value}]]}}'
    expected = f"{ELEMENT}0 of 'instances' list. Error: INVALID_ARGUMENT: {text}"
    assert server.predict_error("same", row) == (400, expected)


@pytest.mark.rule("4.6")
@pytest.mark.parametrize("dtype", ["half", "bfloat16", "complex64", "uint16"])
def test_predict_answers_unimplemented_when_the_dtype_has_no_json(server: Running, dtype: str) -> None:
    """Rule 4.6: 501 in column form, 400 in row form."""
    text = f"Conversion of JSON Value: 1 to type: {dtype}"
    assert server.predict_error("same", {"signature_name": dtype, "inputs": [1]}) == (501, text)
    assert server.predict_error("same", {"signature_name": dtype, "instances": [1]}) == (
        400, f"{ELEMENT}0 of 'instances' list. Error: UNIMPLEMENTED: {text}"
    )  # fmt: skip


@pytest.mark.rule("4.6")
@pytest.mark.parametrize(
    ("model", "body", "code", "text"),
    [
        ("half", "", 400, "JSON Parse error: The document is empty"),
        ("half", "  \n", 400, "JSON Parse error: The document is empty. at offset: 3"),
        ("half", "x", 400, "JSON Parse error: Invalid value. at offset: 0"),
        ("nope", "x", 400, "JSON Parse error: Invalid value. at offset: 0"),
        ("half", '{"instances": [1', 400, "error: Missing a comma or ] after an array element. at offset: 16"),
        ("half", '{"instances": [1]', 400, "error: Missing a comma or } after an object member. at offset: 17"),
        ("half", "{1: 2}", 400, "JSON Parse error: Missing a name for object member. at offset: 1"),
        ("half", '{"a" 2}', 400, "JSON Parse error: Missing a colon after a name of object member. at offset: 5"),
        ("half", '{"instances": ' + "[" * 100_000, 400, "JSON Parse error: "),
        ("half", '{"instances": [' + "9" * 10_000 + "]}", 400, "Number too big to be stored in double."),
        ("half", '{"instances": [1' + "0" * 400 + "]}", 400, "Number too big to be stored in double."),
        ("text", '{"instances": ["\\ud800"]}', 400, "The surrogate pair in string is invalid."),
        ("half", "[1]", 400, " Is not object"),
        ("half", {"signature_name": 1, "instances": [1]}, 400, "'signature_name' key must be a string value."),
        ("nope", {"signature_name": 1}, 400, "'signature_name' key must be a string value."),
        ("nope", {"instances": "x"}, 404, "Servable not found for request: Latest(nope)"),
        ("half/versions/9", {"instances": "x"}, 404, "Servable not found for request: Specific(half, 9)"),
        ("half/labels/L", {"instances": "x"}, 400, "Unrecognized servable version label: L"),
        ("half", {"signature_name": "S", "instances": "x"}, 400,
         'Serving signature name: "S" not found in signature def'),
        ("half", {"instances": [1], "inputs": [1]}, 400,
         "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"),
        ("half", {"x": 1}, 400, "Missing 'inputs' or 'instances' key"),
        ("half", {"instances": 1}, 400, "Expecting 'instances' to be an list/array"),
        ("half", {"instances": []}, 400, "No values in 'instances' array"),
        ("half", {"instances": [1, [2]]}, 400,
         f"{ELEMENT}1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [] but got: [1]"),
        ("half", {"instances": [[1, 2], [1, 2, 3]]}, 400,
         f"{ELEMENT}1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 2 but got: 3"),
        ("half", {"instances": [[1, 2], [[1], [2]]]}, 400, "Expecting shape [2] but got: [2,1]"),
        ("half", {"instances": [{"x": 1}, 2]}, 400, "Expecting object but got list at item 1 of input list"),
        ("half", {"instances": [1, {"x": 1}]}, 400, "Expecting value/list but got object at item 1 of input list"),
        ("half", {"instances": [{"z": 1}]}, 400,
         f"{ELEMENT}0 key: z of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have named input: z"),
        ("pair", {"instances": [A, {"a": [1, 2]}]}, 400,
         f"{ELEMENT}1 of 'instances' list. JSON object: "
         '{\n    "a": [\n        1,\n        2\n    ]\n} keys must be equal to: a,b'),
        ("pair", {"instances": [{**A, "b": 1.5}]}, 400,
         f"{ELEMENT}0 key: b of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: 1.5 "),
        ("pair", {"instances": [1]}, 400, "instances is a plain list, but expecting list of objects as multiple input "
         "tensors required as per tensorinfo_map"),
        ("pair", {"inputs": [1]}, 400, "inputs is a plain value/list, but expecting an object as multiple input "
         "tensors required as per tensorinfo_map"),
        ("pair", {"inputs": {"b": [1]}}, 400, "Missing named input: a in 'inputs' object."),
        ("half", {"inputs": [[1], [1, 2]]}, 400, "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
        ("half", {"inputs": [1, [2]]}, 400, "Encountered list at unexpected level: 1 expected < 1"),
        ("half", {"inputs": [[1], 2]}, 400,
         "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ("text", {"instances": [{"b64": "a"}]}, 400, "Unable to base64 decode"),
        ("text", {"instances": [{"b64": "YQ="}]}, 400, "Unable to base64 decode"),
        ("text", {"instances": [{"b64": "-_-_"}]}, 400, "Unable to base64 decode"),
        ("text", {"inputs": [{"b64": "YQ==", "c": 1}]}, 400, "not formatted correctly for base64 data"),
        ("odd", {"signature_name": "scalar", "instances": [1]}, 400, "Tensor name: y has no shape information "),
        ("odd", {"signature_name": "uneven", "instances": [1, 2]}, 400,
         "Tensor name: b has inconsistent batch size: 4 expecting: 2"),
        ("pair", {"inputs": {"a": [[1, 2, 3]], "b": [3, 4]}}, 200, ""),
    ],
)  # fmt: skip
def test_predict_fails_as_rule_4_6_says_when_the_request_is_wrong(
    server: Running, model: str, body: Any, code: int, text: str
) -> None:
    status, answer = server.ask("POST", f"/v1/models/{model}:predict", body)
    assert status == code
    if code != 200:
        assert text in json.loads(answer)["error"]


@pytest.mark.rule("4.6", "4.7")
@pytest.mark.parametrize("style", [(",", ":"), (", ", ": "), (" , ", " : ")])
def test_predict_reads_and_refuses_long_arrays_as_short_ones(server: Running, style: tuple[str, str]) -> None:
    rows = [[0.5 * number, number] for number in range(500)]

    def ask(model: str, key: str, value: Any) -> tuple[int, Any]:
        code, answer = server.ask("POST", f"/v1/models/{model}:predict", json.dumps({key: value}, separators=style))
        return code, json.loads(answer)

    answered = [[3 + 0.5 * one for one in row] for row in rows]
    assert ask("half", "instances", rows) == (200, {"predictions": answered})
    assert ask("half", "inputs", rows) == (200, {"outputs": answered})
    code, answer = ask("half", "instances", [*rows, [1]])
    assert (code, "Expecting tensor size: 2 but got: 1" in answer["error"]) == (400, True)
    code, answer = ask("half", "inputs", [*rows, [True, 1]])
    assert (code, "JSON Value: true " in answer["error"]) == (400, True)
    code, answer = ask("pair", "instances", rows)
    assert (code, "instances is a plain list, but expecting list of objects" in answer["error"]) == (400, True)
    assert ask("nope", "instances", rows)[0] == 404


@pytest.mark.rule("4.6")
def test_predict_reads_on_when_what_follows_is_not_json(server: Running) -> None:
    """Rule 4.6: bytes after the closing brace are ignored, of equal keys the first counts, others are ignored."""
    body = b' \xef\xbb\xbf{"z": {}, "instances": [1], "instances": "x", "signature_name": ""} garbage \xff'
    assert server.predict("half", body.lstrip()) == {"predictions": [3.5]}


@pytest.mark.rule("4.7")
def test_predict_passes_bytes_through_when_they_are_no_utf8(server: Running) -> None:
    """Rule 4.7: a JSON string of the raw bytes."""
    status, text = server.ask("POST", "/v1/models/text:predict", b'{"instances": ["\xff\xfe"]}')
    assert status == 200
    assert '"plain": "\udcff\udcfe"' in text


@pytest.mark.rule("4.6")
@pytest.mark.parametrize("text", ["YWI=", "YWI", " Y\nW I = "])
def test_predict_decodes_base64_when_the_padding_is_left_out(server: Running, text: str) -> None:
    answer = server.predict("text", {"inputs": [{"b64": text}]})
    assert answer["outputs"]["plain"] == ["ab"]
    assert base64.b64decode(answer["outputs"]["raw_bytes"][0]["b64"]) == b"ab!"


@pytest.mark.rule("1.2", "9.2")
def test_predict_answers_gateway_timeout_when_the_run_takes_too_long(server: Running) -> None:
    """Rule 1.2: rest_api_timeout_in_ms; others are answered meanwhile (9.2)."""
    answers: list[tuple[int, str]] = []
    thread = threading.Thread(target=lambda: answers.append(server.predict_error("slow", {"inputs": 2**60})))
    thread.start()
    for _ in range(20):
        assert server.predict("half", {"instances": [1]}) == {"predictions": [3.5]}
    assert thread.is_alive()
    thread.join()
    assert answers[0][0] == 504


@pytest.mark.rule("4.2")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models/half/metadata"), ("POST", "/v1/models/half"), ("GET", "/v1/models/half:predict"),
        ("POST", "/v1/models/half:predict/"), ("POST", "/v1/models/half:predict?x=1"),
        ("POST", "/v1/models/half:PREDICT"),
        ("GET", "/v1/models/half/version/1"), ("GET", "/v1/models/half/"), ("GET", "/v1/models/half/versions/x"),
        ("GET", "/v1/models/half/versions/1/labels/L"), ("PUT", "/v1/models/half"), ("DELETE", "/v1/models/half"),
        ("GET", "/v1/nothing"), ("POST", "/v1/models/half:frobnicate"),
    ],
)  # fmt: skip
def test_requests_are_malformed_when_no_route_fits(server: Running, method: str, path: str) -> None:
    """Rule 4.2."""
    assert server.error(method, path, "{}") == (400, f"Malformed request: {method} {path}")


@pytest.mark.rule("4.2")
def test_routes_answer_as_rule_4_2_says_when_they_are_unusual(server: Running) -> None:
    assert server.error("GET", "/v1/models") == (400, "Missing model name in request.")
    assert server.error("GET", "/v1/models/m?x=1") == (404, "Could not find any versions of model m?x=1")
    assert server.ask("GET", f"/v1/models/half/versions/{2**63}") == (400, "")
    assert server.ask("POST", f"/v1/models/half/versions/{2**63}:predict", "x") == (400, "")
    assert server.ask("GET", f"/v1/models/half/versions/{2**63 - 1}")[0] == 404
    assert server.ask("HEAD", "/v1/models/half") == (400, "")
    assert server.ask("GET", "/V1/MODELS/half")[0] == 200


@pytest.mark.rule("4.1")
@pytest.mark.parametrize("path", ["/", "/v1", "/v2/models/half", "/monitoring/prometheus/metrics/"])
def test_paths_outside_of_v1_answer_a_page(server: Running, path: str) -> None:
    """Rule 4.1."""
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    assert (response.status, response.getheader("Content-Type")) == (404, "text/html")
    assert b"<H1>Not Found</H1>" in response.read()


@pytest.mark.rule("4.3")
def test_an_error_is_one_key_in_json(server: Running) -> None:
    """Rule 4.3."""
    answer = server.ask("GET", "/v1/models/%22%5C")
    assert answer == (404, '{\n    "error": "Could not find any versions of model \\"\\\\"\n}')


@pytest.mark.rule("4.4")
def test_status_is_protobufs_json(server: Running) -> None:
    """Rule 4.4."""
    status, text = server.ask("GET", "/v1/models/half")
    assert status == 200
    entries = json.loads(text)["model_version_status"]
    assert [(entry["version"], entry["state"]) for entry in entries] == [
        ("3", "END"), ("2", "AVAILABLE"), ("1", "AVAILABLE")
    ]  # fmt: skip
    assert entries[0]["status"]["error_code"] == "DATA_LOSS"
    assert entries[1]["status"] == {"error_code": "OK", "error_message": ""}
    for path in ("half/versions/1", "a%20b", "a%20b/labels/nothing"):
        one = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        assert json.loads(server.ask("GET", f"/v1/models/{path}")[1]) == {"model_version_status": [one]}
    assert server.error("GET", "/v1/models/half/versions/9") == (404, "Could not find version 9 of model half")


@pytest.mark.rule("4.5")
def test_metadata_is_protobufs_json_with_defaults(server: Running) -> None:
    """Rule 4.5."""
    status, text = server.ask("GET", "/v1/models/half/versions/1/metadata")
    document = json.loads(text)
    assert status == 200
    assert document["model_spec"] == {"name": "half", "signature_name": "", "version": "1"}
    signature = document["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["defaults"] == {}
    assert signature["inputs"]["x"] == {
        "dtype": "DT_FLOAT", "name": "serving_default_x:0",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
    }  # fmt: skip
    expected = (404, "Servable not found for request: Latest(nope)")
    assert server.error("GET", "/v1/models/nope/metadata") == expected


@pytest.mark.rule("9.3")
def test_the_same_numbers_are_answered_in_every_encoding(server: Running, client: Grpc) -> None:
    """Rows and columns over REST, typed values and tensor_content over gRPC."""
    given = np.random.default_rng(0).normal(size=(3, 700)).astype(np.float32)
    typed = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=given.ravel().tolist())
    typed.tensor_shape.CopyFrom(tf.TensorShape(given.shape).as_proto())
    body = {"signature_name": "float"}
    answers = [
        server.predict("same", {**body, "instances": given.tolist()})["predictions"],
        server.predict("same", {**body, "instances": [{"x": row} for row in given.tolist()]})["predictions"],
        server.predict("same", {**body, "inputs": {"x": given.tolist()}})["outputs"],
        client.predict(predict_request("same", "float", x=given))["y"],
        client.predict(predict_request("same", "float", x=typed))["y"],
    ]
    for answer in answers:
        assert np.array_equal(np.array(answer, np.float32), given)
