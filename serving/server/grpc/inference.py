"""The RPCs that run a model, each on a version that was found already: warm-up makes the same calls.

A request's model spec says the signature here, and what is echoed (rule 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from tensorflow_serving.apis import classification_pb2, inference_pb2, predict_pb2, regression_pb2

from serving.server import examples, tensors
from serving.server.inference import Inference, check_inputs, chosen_outputs
from serving.server.servable import DEFAULT_SIGNATURE, Servable
from serving.server.status import Code, StatusError, invalid


@dataclass(frozen=True)
class GrpcInference:
    """Answers the requests of PredictionService that run a model.

    Attributes:
        outputs_as_content: Predict answers in tensor_content.
    """

    inference: Inference
    outputs_as_content: bool = False

    def predict(self, servable: Servable, request: Any, timeout_ms: int | None) -> Any:
        """Answer a Predict; the checks are in the order of rule 3.3.

        Raises:
            StatusError: the request does not fit the signature, or the run fails.
        """
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        signature = servable.signature(name)
        if signature is None:
            raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        self.inference.check_method(signature)
        check_inputs(signature, request.inputs)
        inputs = {
            alias: tensors.to_array(request.inputs[alias], alias)
            if alias in request.inputs
            else signature.defaults[alias]
            for alias in signature.inputs
        }
        outputs = chosen_outputs(signature, request.output_filter)
        arrays = self.inference.run(servable, signature, inputs, outputs, timeout_ms)
        response = predict_pb2.PredictResponse()
        _echo(response, request.model_spec, servable)
        for alias, array in zip(outputs, arrays, strict=True):
            dtype = signature.outputs[alias].dtype
            tensors.fill(response.outputs[alias], array, dtype, as_content=self.outputs_as_content)
        return response

    def classify(self, servable: Servable, request: Any, timeout_ms: int | None) -> Any:
        """Answer a Classify (rule 3.8).

        Raises:
            StatusError: the signature is none of a classification, there are no examples, or the run fails.
        """
        response = classification_pb2.ClassificationResponse()
        return self._answer(servable, request, response, examples.CLASSIFY, timeout_ms)

    def regress(self, servable: Servable, request: Any, timeout_ms: int | None) -> Any:
        """Answer a Regress; see `classify`."""
        return self._answer(servable, request, regression_pb2.RegressionResponse(), examples.REGRESS, timeout_ms)

    def _answer(self, servable: Servable, request: Any, response: Any, method: str, timeout_ms: int | None) -> Any:
        spec, listed = request.model_spec, examples.serialized(request.input)
        outputs = examples.run(self.inference, servable, spec.signature_name, method, listed, timeout_ms)
        _FILL[method](response.result, outputs, len(listed))
        _echo(response, spec, servable)
        return response

    def multi_inference(self, servable: Servable, request: Any, timeout_ms: int | None) -> Any:
        """Answer a MultiInference, all tasks in one run (rule 3.9).

        Raises:
            StatusError: the tasks do not go together, there are no examples, or the run fails.
        """
        tasks = self._tasks(servable, request.tasks)
        listed = examples.vector(examples.serialized(request.input))
        fetches = sorted({name for task in tasks for name in task.fetches.values()})
        arrays = servable.session.run({tasks[0].feed: listed}, fetches, timeout_ms)
        fetched = dict(zip(fetches, arrays, strict=True))
        response = inference_pb2.MultiInferenceResponse()
        for asked, task in zip(request.tasks, tasks, strict=True):
            result = response.results.add()
            part = result.classification_result if task.method == examples.CLASSIFY else result.regression_result
            _FILL[task.method](part, {alias: fetched[name] for alias, name in task.fetches.items()}, len(listed))
            _echo(result, asked.model_spec, servable)
        return response

    def _tasks(self, servable: Servable, tasks: Sequence[Any]) -> list[_Task]:
        """Return what the tasks need of the run, checked one after another."""
        found: list[_Task] = []
        seen: set[str] = set()
        for task in tasks:
            spec = task.model_spec
            if not spec.name:
                raise invalid("Found ModelSpec with an empty model name.")
            if spec.name != tasks[0].model_spec.name:
                raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
            name = spec.signature_name or DEFAULT_SIGNATURE
            if name in seen:
                raise invalid(f"Duplicate evaluation of signature: {name}")
            seen.add(name)
            signature = servable.signature(name)
            if signature is None:
                raise invalid(f"Requested signature not found in model graph: {name}")
            if task.method_name not in _FILL:
                raise StatusError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
            check = self.inference.check_method_names
            outputs = examples.fetched(signature, task.method_name, check_method_name=check)
            fetches = {alias: signature.outputs[alias].name for alias in outputs}
            found.append(_Task(task.method_name, signature.inputs[examples.INPUTS].name, fetches))
            if found[-1].feed != found[0].feed:
                raise invalid("Input tensor must be the same for all Signatures.")
        return found


@dataclass(frozen=True)
class _Task:
    """One task of a MultiInference: its method, the tensor to feed, and alias -> tensor to fetch."""

    method: str
    feed: str
    fetches: dict[str, str]


def _echo(answer: Any, spec: Any, servable: Servable) -> None:
    """Write what was asked for and what served it; a label is not echoed (rule 3.2)."""
    echo = answer.model_spec
    echo.name, echo.signature_name = spec.name, spec.signature_name or DEFAULT_SIGNATURE
    echo.version.value = servable.version


def _fill_classification(result: Any, outputs: Mapping[str, np.ndarray], count: int) -> None:
    classes, scores = examples.classified(outputs, count)
    for row in range(count):
        labels = () if classes is None else map(_text, classes[row])
        numbers = () if scores is None else scores[row].tolist()
        result.classifications.add().classes.extend(
            classification_pb2.Class(label=label, score=score) for label, score in zip_longest(labels, numbers)
        )


def _text(label: bytes) -> str:
    """Return a label as a protobuf string, which has to be Unicode."""
    return label.decode("utf-8", "replace")


def _fill_regression(result: Any, outputs: Mapping[str, np.ndarray], count: int) -> None:
    for value in examples.regressed(outputs, count).tolist():
        result.regressions.add(value=value)


_FILL = {examples.CLASSIFY: _fill_classification, examples.REGRESS: _fill_regression}
