"""What is asked: one sample for each model, as both protocols carry it, and the answers that have to come back."""

from __future__ import annotations

import json

import numpy as np
from tensorflow_serving.apis import predict_pb2

from tests.benchmarks.clients import PREDICT, Task
from tests.benchmarks.models import SHAPES
from tests.serving.server.running import Running


def sample(model: str) -> np.ndarray:
    """Return a batch of one."""
    return np.random.default_rng(1).random((1, *SHAPES[model]), np.float32)


def task(protocol: str, model: str, running: Running) -> Task:
    """Return what clients of a server ask; its first answer is the one that is expected of all."""
    if protocol == "gRPC":
        found = Task(protocol, running.port, PREDICT, _predict_request(model), b"")
    else:
        body = json.dumps({"instances": sample(model).tolist()}).encode()
        found = Task(protocol, running.rest_port, f"/v1/models/{model}:predict", body, b"")
    client = found.connect()
    found.expected = client.ask(found.request)
    client.close()
    return found


def _predict_request(model: str) -> bytes:
    """Return it with tensor_content, as modelmill's own client sends it."""
    array = sample(model)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    tensor = request.inputs["x"]
    tensor.dtype = 1
    for size in array.shape:
        tensor.tensor_shape.dim.add().size = size
    tensor.tensor_content = array.tobytes()
    data: bytes = request.SerializeToString()
    return data
