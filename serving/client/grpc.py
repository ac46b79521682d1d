"""A served model over gRPC, as a Predictor. Importing it loads TensorFlow, where the protocol's messages are."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from pipeline.predictor import Ends, Samples
from serving.client import errors, tensors
from serving.client.endpoint import Endpoint

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    # channels with equal options share a connection, and with it the pause after a failure
    ("grpc.use_local_subchannel_pool", 1),
    # a server that was started again at the same address is found at once, not after minutes
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
)
_TEMPLATES = 64  # shapes whose request is kept


class GrpcPredictor:
    """A served model over one channel; requests carry `tensor_content`. See `endpoint.connect`.

    Args:
        endpoint: where it is.
        ends: names of the inputs and outputs in the signature.
    """

    def __init__(self, endpoint: Endpoint, ends: Ends) -> None:
        self._endpoint, self._given, self._outputs = endpoint, ends.named, ends.outputs
        scheme, _, host = endpoint.address.partition("://")
        if scheme == "grpcs":
            self._channel = grpc.secure_channel(host, grpc.ssl_channel_credentials(), options=_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(host, options=_OPTIONS)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._spec = model_pb2.ModelSpec(name=endpoint.model)
        if endpoint.version is not None:
            self._spec.version.value = endpoint.version
        if endpoint.label is not None:
            self._spec.version_label = endpoint.label
        self._templates: dict[tuple[tuple[np.dtype[Any], tuple[int, ...]], ...], Any] = {}

    def predict(self, batch: Samples) -> dict[str, np.ndarray]:
        """Ask for raw samples; see `Predictor.predict`.

        Any other shape and type is sent as it is: to refuse it is the server's part.

        Raises:
            RejectedError: the server refuses the request.
            UnavailableError: it is overloaded, too slow or gone.
            ServerError: it failed, or answered without these outputs.
        """
        given = self._given(batch)
        request = predict_pb2.PredictRequest()
        request.CopyFrom(self._template(given))
        for name, array in given.items():
            tensors.fill(request.inputs[name], array)
        outputs = self._call(self._predictions.Predict, request).outputs
        if any(name not in outputs for name in self._outputs):
            expected = f"outputs {' and '.join(self._outputs)}"
            found = f"outputs {' and '.join(sorted(outputs)) or 'none'}"
            raise errors.of_answer(self._endpoint.address, expected, found)
        try:
            return {name: tensors.decode(outputs[name]) for name in self._outputs}
        except ValueError as error:
            raise errors.of_answer(self._endpoint.address, "tensors of numbers", str(error)) from error

    def metadata(self) -> Any:
        """Return the answer of GetModelMetadata, in the form of the REST API."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._spec, metadata_field=["signature_def"]
        )
        answer = self._call(self._predictions.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        return {"model_spec": _as_json(answer.model_spec), "metadata": {"signature_def": _as_json(signatures)}}

    def status(self) -> Any:
        """Return the answer of GetModelStatus for all versions, in the form of the REST API."""
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=model_pb2.ModelSpec(name=self._spec.name))
        return _as_json(self._call(self._models.GetModelStatus, request))

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _template(self, given: dict[str, np.ndarray]) -> Any:
        """Return a request with all but the values, made once for all inputs of these types and shapes."""
        key = tuple((array.dtype, array.shape) for array in given.values())
        template = self._templates.get(key)
        if template is None:
            template = predict_pb2.PredictRequest(model_spec=self._spec)
            for name, array in given.items():
                tensors.describe(template.inputs[name], array)
            if len(self._templates) >= _TEMPLATES:
                self._templates.clear()
            self._templates[key] = template
        return template

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._endpoint.deadline_s, wait_for_ready=False)
        except grpc.RpcError as error:
            raise errors.of_call(self._endpoint.address, error) from error


def _as_json(message: Any) -> Any:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
