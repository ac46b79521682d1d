"""A model of two operations in TF Serving's layout, and what a client asks about it; loads TensorFlow."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.layout import Deployment
from serving.target.interface import Server

STRANGER = 12345  # a user whom no image knows


def half_plus_two(folder: Path) -> Deployment:
    """Write y = x / 2 + 2, readable by its owner only, and return what serves it as version 3."""
    import tensorflow as tf

    class HalfPlusTwo(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def serve(self, x: Any) -> dict[str, Any]:
            return {"y": x / 2.0 + 2.0}

    module = HalfPlusTwo()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if os.geteuid() == 0:
            os.chown(path, STRANGER, STRANGER)
    return Deployment("half", {3: folder}, 1, 1)


def available(server: Server, deadline_s: float = 60) -> list[int]:
    """Wait until each version of `half` has its last state, and return those that are AVAILABLE."""
    from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "half"

    def states() -> dict[int, int]:
        answer = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=5)
        return {one.version: one.state for one in answer.model_version_status}

    with _channel(server) as channel:
        found = _patiently(states, server, deadline_s)
    return [version for version, state in found.items() if state == get_model_status_pb2.ModelVersionStatus.AVAILABLE]


def predict(server: Server, values: list[float]) -> list[float]:
    """Return y for each x, over gRPC."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "half"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(values, tf.float32))
    with _channel(server) as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=10)
    return [float(value) for value in tf.make_ndarray(answer.outputs["y"])]


def _channel(server: Server) -> Any:
    import grpc

    return grpc.insecure_channel(server.addresses["grpc"].removeprefix("grpc://"))


def _patiently(states: Callable[[], dict[int, int]], server: Server, deadline_s: float) -> dict[int, int]:
    import grpc

    deadline = time.monotonic() + deadline_s
    while True:
        try:
            found = states()
            if found and all(state in (30, 50) for state in found.values()):  # AVAILABLE or END
                return found
        except grpc.RpcError:
            pass  # not listening yet
        assert server.death() is None, server.death()
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.1)
