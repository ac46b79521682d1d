""":classify and :regress over REST: requests (4.6) and answers (4.7)."""

from __future__ import annotations

import pytest

from tests.serving.server.running import Running

CLASSIFY, REGRESS = "/v1/models/{}:classify", "/v1/models/{}:regress"
TWO = '"examples": [{"x": 1.5, "word": "good"}, {"x": [0.25]}]'


@pytest.mark.rule("4.7")
@pytest.mark.parametrize("model", ["tf1", "tf1/versions/1", "tf2"])
def test_answers_are_in_rapidjsons_layout_byte_for_byte(server: Running, model: str) -> None:
    assert server.ask("POST", CLASSIFY.format(model), f"{{{TWO}}}") == (
        200, '{\n    "results": [[["up", 4.0], ["down", -4.0]], [["up", -0.5], ["down", 0.5]]\n    ]\n}'
    )  # fmt: skip
    answer = server.ask("POST", REGRESS.format(model), f'{{"signature_name": "regress", {TWO}}}')
    assert answer == (200, '{\n    "results": [4.0, -0.5]\n}')


@pytest.mark.rule("4.7")
@pytest.mark.parametrize(
    ("signature", "answer"),
    [
        ("classes", '{\n    "results": [[["up", 0.0], ["down", 0.0]]\n    ]\n}'),
        ("scores", '{\n    "results": [[["", 4.0], ["", -4.0]]\n    ]\n}'),
        ("narrow", '{\n    "results": [[]\n    ]\n}'),
        ("bytes", '{\n    "results": [[["\udcff", 0.1]]\n    ]\n}'),
    ],
)
def test_classify_answers_what_the_signature_has(server: Running, signature: str, answer: str) -> None:
    body = f'{{"signature_name": "{signature}", "examples": [{{"x": 1.5, "word": "good"}}]}}'
    assert server.ask("POST", CLASSIFY.format("tf1"), body) == (200, answer)


@pytest.mark.rule("4.6")
@pytest.mark.parametrize(
    ("request_text", "results"),
    [
        ('"context": {"word": "good"}, "examples": [{"x": 1.5}, {"x": 2.5}]', "4.0, 6.0"),
        ('"context": {"word": {"b64": "YmFk"}}, "examples": [{"x": 1.5}]', "3.0"),
        ('"examples": [{"x": 1.5, "word": [{"b64": "Z29vZA"}]}], "other": 1', "4.0"),
        ('"examples": [{"x": 1.5, "no": 1, "no2": [true, 1], "no3": [], "no4": ["a", {"b64": ""}]}]', "2.0"),
        ('"examples": [{"x": NaN}, {"x": -Infinity}, {"x": 1e100}]', "NaN, -Infinity, Infinity"),
        ('"examples": [{"x": 18446744073709551616}]', "3.68934881e+19"),
    ],
)
def test_features_are_read_by_the_kind_of_their_tokens(server: Running, request_text: str, results: str) -> None:
    answer = server.ask("POST", REGRESS.format("tf1"), f'{{"signature_name": "regress", {request_text}}}')
    assert answer == (200, f'{{\n    "results": [{results}]\n}}')


@pytest.mark.rule("4.6")
@pytest.mark.parametrize("token", ["2", "true", '"2"', "[1, false]"])
def test_the_parser_in_the_model_refuses_a_feature_when_it_is_of_another_kind(server: Running, token: str) -> None:
    body = f'{{"signature_name": "regress", "examples": [{{"x": {token}}}]}}'
    status, text = server.error("POST", REGRESS.format("tf1"), body)
    assert status == 400
    kind = "string" if '"' in token else "int64"
    assert f"Key: x, Index: 0.  Data types don't match. Data type: {kind} but expected type: float" in text


@pytest.mark.rule("4.6")
@pytest.mark.parametrize("url", [CLASSIFY, REGRESS])
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", "JSON Parse error: The document is empty"),
        ('{"signature_name": 1}', "'signature_name' key must be a string value."),
        ('{"context": [1]}', "Example must be JSON object but got JSON Array"),
        ("{}", "When method is classify, key 'examples' is expected and was not found"),
        ('{"examples": {}}', "Expecting 'examples' value to be an list/array"),
        ('{"examples": []}', "'examples' value is an empty array"),
        ('{"examples": [{}, 1]}', "Example must be JSON object but got JSON Number"),
        ('{"examples": [{"x": [1, 1.0]}]}', "Unexpected element type in feature: x expecting type: int64"),
        ('{"examples": [{"x": [1.0, 1]}]}', "Unexpected element type in feature: x expecting type: float"),
        ('{"examples": [{"x": [1.0, true]}]}', "Unexpected element type in feature: x expecting type: float"),
        ('{"examples": [{"x": ["a", 1]}]}', "Unexpected element type in feature: x expecting type: bytes"),
        ('{"examples": [{"x": [10, null]}]}', "Feature: x has element with unexpected JSON type: Null"),
        ('{"examples": [{"x": [[1]]}]}', "Feature: x has element with unexpected JSON type: Array"),
        ('{"examples": [{"x": {"b64": 1}}]}', "Feature: x has element with unexpected JSON type: Object"),
        ('{"examples": [{"x": {"b64": "!"}}]}', "Unable to base64 decode"),
        ('{"examples": [{"x": 1%s}]}' % ("0" * 400), "JSON Parse error: Number too big to be stored in double."),
        ('{"examples": [{"x": 9223372036854775808}]}', "Feature: x has uint64_t element. Only int64_t is supported."),
    ],
)
def test_a_request_is_read_whole_before_the_model_is_looked_up(server: Running, url: str, body: str, text: str) -> None:
    """So every fault of it is 400, even where there is no such model."""
    for model in ("tf1", "nope"):
        status, found = server.error("POST", url.format(model), body)
        assert status == 400
        assert found.endswith(text)


@pytest.mark.rule("3.8", "4.6")
def test_the_rest_of_the_checks_is_that_of_grpc(server: Running) -> None:
    one = '"examples": [{"x": 1.5}]'
    assert server.error("POST", CLASSIFY.format("nope"), f"{{{one}}}") == (
        404, "Servable not found for request: Latest(nope)"
    )  # fmt: skip
    assert server.error("POST", CLASSIFY.format("tf1/labels/L"), f"{{{one}}}") == (
        400, "Unrecognized servable version label: L"
    )  # fmt: skip
    assert server.error("POST", REGRESS.format("tf1"), f'{{"signature_name": "nope", {one}}}') == (
        400, "No signature was found with the name: nope"
    )  # fmt: skip
    assert server.error("POST", REGRESS.format("tf1"), f"{{{one}}}") == (400, "Expected one output Tensor.")


@pytest.mark.rule("4.6")
def test_names_and_texts_that_are_no_unicode_fail_nothing(server: Running) -> None:
    body = b'{"examples": [{"x": 1.5, "\xff": 1, "word": "\xff"}]}'
    assert server.ask("POST", CLASSIFY.format("tf1"), body)[0] == 200
    status, text = server.error("POST", CLASSIFY.format("tf1"), '{"examples": [{"word": "\\ud800"}]}')
    assert (status, text) == (400, "JSON Parse error: The surrogate pair in string is invalid.")
    assert server.error("POST", CLASSIFY.format("tf1"), '{"examples": [{"\\ud800": 1}]}')[0] == 400
