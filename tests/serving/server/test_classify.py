"""Classify and Regress over gRPC (3.8), by models that TensorFlow 1 and TensorFlow 2 wrote."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.serving.server.asking import Grpc, classify_request, example, failure, predict_request, regress_request
from tests.serving.server.running import Running

INVALID = "INVALID_ARGUMENT"
GOOD, PLAIN = example(x=1.5, word=b"good"), example(x=0.25)
MODELS = pytest.mark.parametrize(("model", "version"), [("tf1", 1), ("tf1", 2), ("tf2", 1)])


def classes(response: Any) -> list[list[tuple[str, float]]]:
    return [[(entry.label, entry.score) for entry in row.classes] for row in response.result.classifications]


def values(response: Any) -> list[float]:
    return [row.value for row in response.result.regressions]


@pytest.mark.rule("3.2", "3.8")
@MODELS
def test_classify_answers_labels_and_scores_and_echoes_the_spec(client: Grpc, model: str, version: int) -> None:
    """A variable, a table whose words are an asset, and the operation that fills it: main or legacy."""
    request = classify_request(model, "", GOOD, PLAIN)
    request.model_spec.version.value = version
    response = client.prediction.Classify(request)
    assert classes(response) == [[("up", 4.0), ("down", -4.0)], [("up", -0.5), ("down", 0.5)]]
    spec = response.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == (model, "serving_default", version)
    assert spec.WhichOneof("version_choice") == "version"


@pytest.mark.rule("3.2", "3.8")
@MODELS
def test_regress_answers_a_value_per_example_and_echoes_the_spec(client: Grpc, model: str, version: int) -> None:
    request = regress_request(model, "regress", GOOD, PLAIN)
    request.model_spec.version.value = version
    response = client.prediction.Regress(request)
    assert values(response) == [4.0, -0.5]
    spec = response.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == (model, "regress", version)


@pytest.mark.rule("3.8")
def test_a_result_has_what_the_signature_has_when_that_is_less(client: Grpc) -> None:
    assert classes(client.prediction.Classify(classify_request("tf1", "classes", GOOD))) == [
        [("up", 0.0), ("down", 0.0)]
    ]
    assert classes(client.prediction.Classify(classify_request("tf1", "scores", GOOD))) == [[("", 4.0), ("", -4.0)]]
    assert values(client.prediction.Regress(regress_request("tf1", "flat", GOOD))) == [4.0]


@pytest.mark.rule("3.8")
@pytest.mark.parametrize("model", ["tf1", "tf2"])
def test_the_context_is_merged_into_every_example(client: Grpc, model: str) -> None:
    request = regress_request(model, "regress")
    listed = request.input.example_list_with_context
    listed.context.CopyFrom(example(word=b"good"))
    listed.examples.extend([example(x=1.0), example(x=2.0)])
    assert values(client.prediction.Regress(request)) == [3.0, 5.0]
    listed.ClearField("examples")
    assert failure(client.prediction.Regress, request) == (INVALID, "Input is empty.")


NO_CLASSIFICATION = "No classification inputs found in SignatureDef: inputs {"


@pytest.mark.rule("3.8")
@pytest.mark.parametrize(
    ("signature", "text"),
    [
        ("nope", "No signature was found with the name: nope"),
        ("two_inputs", "Expected one input Tensor."),
        ("three_outputs", "Expected one or two output Tensors, found 3"),
        ("predict", NO_CLASSIFICATION),
        ("regress", 'Expected classification signature outputs to contain at least one of "classes" or "scores". Sig'),
        ("float_inputs", "Expects arg[0] to be float but string is provided"),
        ("rank", "Expected Tensor shape: [batch_size num_classes] but got [1]"),
        ("dtype", "Expected classes Tensor of DT_STRING. Got: DT_INT64"),
        ("double", "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        ("batch", "Expected scores output batch size of 1. Got: 0"),
        ("uneven", "Tensors class and score should match in dim_size(1). Got 2 vs. 1"),
    ],
)
def test_classify_fails_as_rule_3_8_says_when_the_signature_is_none(client: Grpc, signature: str, text: str) -> None:
    code, found = failure(client.prediction.Classify, classify_request("tf1", signature, GOOD))
    assert code == INVALID
    assert found.startswith(text)


@pytest.mark.rule("3.8")
@pytest.mark.parametrize(
    ("signature", "text"),
    [
        ("nope", "No signature was found with the name: nope"),
        ("two_inputs", "Expected one input Tensor."),
        ("two_outputs", "Expected one output Tensor."),
        ("serving_default", "Expected one output Tensor."),
        ("predict", "No regression inputs found in SignatureDef: inputs {"),
        ("scores", "No regression outputs found in SignatureDef: inputs {"),
        ("regress_rank", "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [1,2]"),
        ("regress_batch", "Input batch size did not match output batch size: 1 vs. 0"),
        ("regress_double", "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"),
    ],
)
def test_regress_fails_as_rule_3_8_says_when_the_signature_is_none(client: Grpc, signature: str, text: str) -> None:
    code, found = failure(client.prediction.Regress, regress_request("tf1", signature, GOOD))
    assert code == INVALID
    assert found.startswith(text)


@pytest.mark.rule("2.1", "2.2", "2.3", "2.4", "3.8")
@pytest.mark.parametrize("kind", ["Classify", "Regress"])
def test_the_checks_come_in_order_when_several_things_are_wrong(client: Grpc, kind: str) -> None:
    """Lookup, signature, examples, and only then the run."""
    call, made = getattr(client.prediction, kind), {"Classify": classify_request, "Regress": regress_request}[kind]
    signature = "regress" if kind == "Regress" else ""

    def found(model: str, signature: str, *examples: Any, **which: Any) -> tuple[str, str]:
        request = made(model, signature, *examples)
        if "version" in which:
            request.model_spec.version.value = which["version"]
        if "label" in which:
            request.model_spec.version_label = which["label"]
        return failure(call, request)

    nameless = made("", "")
    nameless.ClearField("model_spec")
    assert failure(call, nameless) == (INVALID, "Missing ModelSpec")
    assert found("", "nope") == (INVALID, "ModelSpec has no name specified.")
    assert found("absent", "nope") == ("NOT_FOUND", "Servable not found for request: Latest(absent)")
    assert found("tf1", "nope", version=0) == ("NOT_FOUND", "Servable not found for request: Specific(tf1, 0)")
    assert found("tf1", "nope", label="L") == (INVALID, "Unrecognized servable version label: L")
    assert found("tf1", "nope") == (INVALID, "No signature was found with the name: nope")
    assert found("tf1", signature) == (INVALID, "Input is empty.")
    code, text = found("tf1", signature, example(word=b"good"))
    assert code == INVALID
    assert "Feature: x (data type: float) is required but could not be found." in text


@pytest.mark.rule("3.7", "3.8")
def test_a_classification_ends_with_its_deadline_so_that_others_are_answered(client: Grpc, server: Running) -> None:
    """The server has two threads for operations: were a run to go on, nobody would be answered any more."""
    request = classify_request("tf1", "endless", GOOD)
    with ThreadPoolExecutor(3) as pool:
        slow = [pool.submit(failure, client.prediction.Classify, request, timeout_s) for timeout_s in (0.5, 0.5)]
        body = {"signature_name": "endless", "examples": [{"x": 1.0}]}
        rest = pool.submit(server.error, "POST", "/v1/models/tf1:classify", body)
        assert [future.result()[0] for future in slow] == ["DEADLINE_EXCEEDED"] * 2
        assert rest.result()[0] == 504
    assert client.predict(predict_request("half", x=np.ones(1, np.float32)))["y"] == [3.5]


@pytest.mark.rule("9.2")
def test_examples_are_answered_side_by_side(client: Grpc) -> None:
    """Eight clients, each with its own examples: no answer is another's."""

    def ask(number: float) -> bool:
        request = regress_request("tf1", "regress", example(x=number, word=b"good"), example(x=-number, word=b"bad"))
        return values(client.prediction.Regress(request)) == [2 * number + 1, -2 * number]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(100)))
