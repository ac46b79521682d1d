"""The gRPC services: PredictionService and ModelService; an RPC that is not here answers UNIMPLEMENTED."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.server.grpc.call import Call, Method
from serving.server.grpc.inference import GrpcInference
from serving.server.inference import Inference
from serving.server.servable import METADATA_FIELD, Servable
from serving.server.status import Code, StatusError, invalid
from serving.server.versions.reply import status_response


class Services:
    """Answers the RPCs.

    Args:
        reload: answers ModelService.HandleReloadConfigRequest.
    """

    def __init__(self, inference: Inference, *, outputs_as_content: bool, reload: Callable[[Any, Any], Any]) -> None:
        self._registry, self._inference = inference.registry, GrpcInference(inference, outputs_as_content)
        self.reload, self.metrics = reload, inference.metrics

    def predict(self, request: Any, context: Any) -> Any:
        """Answer PredictionService.Predict (rule 3.3)."""
        return self._inference.predict(self._find(request), request, _timeout_ms(context))

    def classify(self, request: Any, context: Any) -> Any:
        """Answer PredictionService.Classify (rule 3.8)."""
        return self._inference.classify(self._find(request), request, _timeout_ms(context))

    def regress(self, request: Any, context: Any) -> Any:
        """Answer PredictionService.Regress (rule 3.8)."""
        return self._inference.regress(self._find(request), request, _timeout_ms(context))

    def multi_inference(self, request: Any, context: Any) -> Any:
        """Answer PredictionService.MultiInference; the first task says the model (rule 3.9)."""
        spec = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
        return self._inference.multi_inference(self._meant(spec), request, _timeout_ms(context))

    def metadata(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """Answer PredictionService.GetModelMetadata (rule 3.10)."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != METADATA_FIELD:
                raise invalid(f"Metadata field {field} is not supported")
        return self._find(request).metadata

    def status(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """Answer ModelService.GetModelStatus; a label is ignored (rule 3.11)."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        return status_response(self._registry.statuses(spec.name, version))

    def _find(self, request: Any) -> Servable:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        return self._meant(request.model_spec)

    def _meant(self, spec: Any) -> Servable:
        choice = spec.WhichOneof("version_choice")
        return self._registry.find(
            spec.name,
            spec.version.value if choice == "version" else None,
            spec.version_label if choice == "version_label" else None,
        )


def methods(services: Services) -> dict[str, Method]:
    """Return what answers each path (rule 3.1)."""
    counted = services.metrics.counted
    prediction, model = "/tensorflow.serving.PredictionService", "/tensorflow.serving.ModelService"
    return {
        f"{prediction}/Predict": _method(counted("Predict", services.predict), predict_pb2.PredictRequest),
        f"{prediction}/Classify": _method(
            counted("Classify", services.classify), classification_pb2.ClassificationRequest
        ),
        f"{prediction}/Regress": _method(counted("Regress", services.regress), regression_pb2.RegressionRequest),
        f"{prediction}/MultiInference": _method(services.multi_inference, inference_pb2.MultiInferenceRequest),
        f"{prediction}/GetModelMetadata": _method(services.metadata, get_model_metadata_pb2.GetModelMetadataRequest),
        f"{model}/GetModelStatus": _method(services.status, get_model_status_pb2.GetModelStatusRequest),
        f"{model}/HandleReloadConfigRequest": _method(
            services.reload, model_management_pb2.ReloadConfigRequest, waits=True
        ),
    }


def _method(function: Callable[[Any, Any], Any], request_type: Any, *, waits: bool = False) -> Method:
    parse = request_type.FromString

    def answer(data: bytes, call: Call) -> bytes:
        try:
            request = parse(data)
        except DecodeError:
            raise StatusError(Code.INTERNAL, f"the request is no {request_type.__name__}") from None
        found: bytes = function(request, call).SerializeToString()
        return found

    return Method(answer, waits=waits)


def _timeout_ms(context: Any) -> int | None:
    """Return what is left of the caller's deadline (rule 3.7).

    Raises:
        StatusError: nothing is left.
    """
    left_s = context.time_remaining()
    if left_s is None:
        return None
    if left_s <= 0:
        raise StatusError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
    return max(1, min(int(left_s * 1000), 2**31 - 1))
