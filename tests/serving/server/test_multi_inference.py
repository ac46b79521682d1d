"""MultiInference (3.9): several classifications and regressions of the same examples in one run."""

from __future__ import annotations

from typing import Any

import pytest
from tensorflow_serving.apis import inference_pb2

from tests.serving.server.asking import Grpc, example, failure
from tests.serving.server.example_models import CLASSIFY, PREDICT, REGRESS

INVALID = "INVALID_ARGUMENT"
GOOD = example(x=1.5, word=b"good")


def multi_request(*tasks: tuple[str, str, str], examples: Any = (GOOD,)) -> Any:
    """Return a request; a task is (model, signature, method)."""
    request = inference_pb2.MultiInferenceRequest()
    for model, signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = model, signature
    request.input.example_list.examples.extend(examples)
    return request


@pytest.mark.rule("3.2", "3.9")
@pytest.mark.parametrize("version", [1, 2])
def test_every_task_is_answered_in_its_order_and_echoes_its_spec(client: Grpc, version: int) -> None:
    """The version is the first task's; what the others say of it does not matter."""
    tasks = [("tf1", "", CLASSIFY), ("tf1", "regress", REGRESS), ("tf1", "scores", CLASSIFY)]
    request = multi_request(*tasks, examples=[GOOD, example(x=0.25)])
    request.tasks[0].model_spec.version.value = version
    request.tasks[1].model_spec.version.value = 99
    results = client.prediction.MultiInference(request).results
    both, values, scores = results
    assert [result.WhichOneof("result") for result in results] == [
        "classification_result", "regression_result", "classification_result"
    ]  # fmt: skip
    assert [[(c.label, c.score) for c in row.classes] for row in both.classification_result.classifications] == [
        [("up", 4.0), ("down", -4.0)], [("up", -0.5), ("down", 0.5)]
    ]  # fmt: skip
    assert [row.value for row in values.regression_result.regressions] == [4.0, -0.5]
    assert [row.classes[0].label for row in scores.classification_result.classifications] == ["", ""]
    specs = [(r.model_spec.name, r.model_spec.signature_name, r.model_spec.version.value) for r in results]
    assert specs == [("tf1", "serving_default", version), ("tf1", "regress", version), ("tf1", "scores", version)]


@pytest.mark.rule("3.9")
def test_a_task_by_itself_is_answered_by_a_model_of_tensorflow_2(client: Grpc) -> None:
    response = client.prediction.MultiInference(multi_request(("tf2", "regress", REGRESS)))
    assert response.results[0].regression_result.regressions[0].value == 4.0


@pytest.mark.rule("3.9")
@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ([], (INVALID, "ModelSpec has no name specified.")),
        ([("", "", CLASSIFY)], (INVALID, "ModelSpec has no name specified.")),
        ([("nope", "", CLASSIFY)], ("NOT_FOUND", "Servable not found for request: Latest(nope)")),
        ([("tf1", "", CLASSIFY), ("", "", CLASSIFY)], (INVALID, "Found ModelSpec with an empty model name.")),
        ([("tf1", "", CLASSIFY), ("tf2", "", CLASSIFY)],
         (INVALID, "All ModelSpecs in a MultiInferenceRequest must access the same model name.")),
        ([("tf1", "", CLASSIFY), ("tf1", "serving_default", REGRESS)],
         (INVALID, "Duplicate evaluation of signature: serving_default")),
        ([("tf1", "nope", "odd")], (INVALID, "Requested signature not found in model graph: nope")),
        ([("tf1", "predict", PREDICT)], ("UNIMPLEMENTED", f"Unsupported signature method_name: {PREDICT}")),
        ([("tf1", "two_inputs", CLASSIFY)], (INVALID, "Expected one input Tensor.")),
        ([("tf1", "two_outputs", REGRESS)], (INVALID, "Expected one output Tensor.")),
        ([("tf2", "", CLASSIFY), ("tf2", "regress", REGRESS)],
         (INVALID, "Input tensor must be the same for all Signatures.")),
        ([("tf1", "", CLASSIFY), ("tf1", "uneven", CLASSIFY)],
         (INVALID, "Tensors class and score should match in dim_size(1). Got 2 vs. 1")),
    ],
)  # fmt: skip
def test_tasks_are_refused_when_they_do_not_go_together(
    client: Grpc, tasks: list[tuple[str, str, str]], expected: tuple[str, str]
) -> None:
    assert failure(client.prediction.MultiInference, multi_request(*tasks)) == expected


@pytest.mark.rule("3.9")
def test_examples_are_looked_at_after_the_tasks(client: Grpc) -> None:
    tasks = [("tf1", "", CLASSIFY), ("tf1", "regress", REGRESS)]
    expected = (INVALID, "Input is empty.")
    assert failure(client.prediction.MultiInference, multi_request(*tasks, examples=())) == expected


@pytest.mark.rule("3.7", "3.9")
def test_the_run_ends_with_the_deadline(client: Grpc) -> None:
    """Three times, so that runs that went on would hold both threads for operations."""
    request = multi_request(("tf1", "endless", CLASSIFY))
    for _ in range(3):
        assert failure(client.prediction.MultiInference, request, timeout_s=0.3)[0] == "DEADLINE_EXCEEDED"
    assert len(client.prediction.MultiInference(multi_request(("tf1", "", CLASSIFY)), timeout=30).results) == 1
