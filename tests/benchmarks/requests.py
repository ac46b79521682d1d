"""What is asked: one sample for each model, as both protocols carry it, and the answers that have to come back."""

from __future__ import annotations

import json

import numpy as np
from tensorflow_serving.apis import predict_pb2

from tests.benchmarks.clients import PREDICT, Outcome, Task
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


def wrong(task: Task, outcome: Outcome) -> int:
    """Return how many answers are not the expected one; in a batch, a kernel may round the last bits otherwise."""
    return sum(
        count
        for answer, count in outcome.others.items()
        if not np.allclose(_values(task, bytes.fromhex(answer)), _values(task, task.expected), rtol=1e-4, atol=1e-6)
    )


def _values(task: Task, answer: bytes) -> np.ndarray:
    if task.protocol == "REST":
        return np.array(json.loads(answer)["predictions"], np.float32)
    return np.array(predict_pb2.PredictResponse.FromString(answer).outputs["y"].float_val, np.float32)


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
