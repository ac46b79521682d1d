"""Requests over gRPC with the official stubs."""

from __future__ import annotations

from typing import Any, Self

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)


class Grpc:
    """A channel with both services."""

    def __init__(self, port: int) -> None:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def predict(self, request: Any, timeout_s: float = 30) -> dict[str, np.ndarray]:
        """Return name -> array."""
        response = self.prediction.Predict(request, timeout=timeout_s)
        return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}

    def statuses(self, name: str, version: int | None = None) -> Any:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        if version is not None:
            request.model_spec.version.value = version
        return self.model.GetModelStatus(request, timeout=30).model_version_status

    def metadata(self, name: str) -> Any:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = name
        return self.prediction.GetModelMetadata(request, timeout=30)


def predict_request(model: str | None, signature: str = "", version: int | None = None, **inputs: Any) -> Any:
    """Return a PredictRequest; an input is an array or a TensorProto."""
    request = predict_pb2.PredictRequest()
    if model is not None:
        request.model_spec.name = model
        request.model_spec.signature_name = signature
        if version is not None:
            request.model_spec.version.value = version
    for name, value in inputs.items():
        is_array = isinstance(value, (np.ndarray, np.generic))
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value) if is_array else value)
    return request


def example(**features: Any) -> Any:
    """Return a tf.train.Example; a feature is a float or bytes."""
    found = tf.train.Example()
    for name, value in features.items():
        feature = found.features.feature[name]
        (feature.bytes_list if isinstance(value, bytes) else feature.float_list).value.append(value)
    return found


def classify_request(model: str, signature: str = "", *examples: Any) -> Any:
    """Return a ClassificationRequest."""
    return _examples_request(classification_pb2.ClassificationRequest(), model, signature, examples)


def regress_request(model: str, signature: str = "", *examples: Any) -> Any:
    """Return a RegressionRequest."""
    return _examples_request(regression_pb2.RegressionRequest(), model, signature, examples)


def _examples_request(request: Any, model: str, signature: str, examples: Any) -> Any:
    request.model_spec.name, request.model_spec.signature_name = model, signature
    request.input.example_list.examples.extend(examples)
    return request


def failure(call: Any, request: Any, timeout_s: float = 30) -> tuple[str, str]:
    """Return code and text of a call that fails."""
    try:
        call(request, timeout=timeout_s)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError("the call went well")
