"""Requests over gRPC: right ones, and what can be wrong with them. `KINDS` is the mix."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from tests.benchmarks.malformed import mutations, oracle, samples
from tests.benchmarks.malformed.models import MODELS

PREDICTION, MODEL = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
PREDICT = PREDICTION + "Predict"
_REQUESTS: dict[str, tuple[Any, Callable[[Any], str]]] = {
    PREDICT: (predict_pb2.PredictRequest, oracle.predict),
    PREDICTION + "GetModelMetadata": (get_model_metadata_pb2.GetModelMetadataRequest, oracle.metadata),
    MODEL + "GetModelStatus": (get_model_status_pb2.GetModelStatusRequest, oracle.status),
}
_UNKNOWN = (PREDICTION + "Nope", PREDICTION + "predict", MODEL + "Predict", "/x.Y/Z",
            "/tensorflow.serving.SessionService/SessionRun",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")  # fmt: skip
_BEARABLE = 1 << 21  # elements: more would take time and memory, and show nothing more
_SQUARED = 1 << 20  # their product with themselves finds no memory anywhere


@dataclass(frozen=True)
class GrpcCall:
    """A call.

    Attributes:
        expected: the code of its answer.
        outputs: alias -> array, where the answer is known.
    """

    kind: str
    method: str
    data: bytes
    expected: str
    outputs: dict[str, np.ndarray] | None = None
    headers: tuple[tuple[str, str], ...] = ()


def make(random: Random, kind: str) -> GrpcCall:
    """Return a request of a kind, one that a small machine can bear."""
    while True:
        call = KINDS[kind][1](random, kind)
        if call is not None:
            return call


def _call(kind: str, request: Any) -> GrpcCall | None:
    return _raw(kind, PREDICT, request.SerializeToString())


def _raw(kind: str, method: str, data: bytes) -> GrpcCall | None:
    """Return the call; what the bytes mean is decided here: bytes that are no message are gRPC's INTERNAL."""
    message, expect = _REQUESTS[method]
    try:
        request = message.FromString(data)
    except DecodeError:
        return GrpcCall(kind, method, data, oracle.INTERNAL)
    if method == PREDICT and not all(
        _bearable(proto, 1024 if request.model_spec.name == "outer" else _BEARABLE) for proto in request.inputs.values()
    ):
        return None
    return GrpcCall(kind, method, data, expect(request))


def _bearable(proto: Any, largest: int) -> bool:
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    count = math.prod(sizes)
    return bool(count <= largest or count == _SQUARED or count > oracle.LARGEST_FILLED or min(sizes) < 0)


def _right(random: Random, model: str = "") -> tuple[Any, dict[str, np.ndarray], str, str]:
    model, signature = (model, "serving_default") if model else samples.choose(random)
    given = samples.arrays(random, model, signature)
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for alias, array in given.items():
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(array))
    return request, given, model, signature


def _answered(random: Random, kind: str) -> GrpcCall:
    request, given, model, signature = _right(random)
    return GrpcCall(kind, PREDICT, request.SerializeToString(), oracle.OK, samples.answers(model, signature, given))


def _mutated(*changes: mutations.Mutation) -> Callable[[Random, str], GrpcCall | None]:
    def made(random: Random, kind: str) -> GrpcCall | None:
        request, *_ = _right(random)
        for change in changes:
            change(random, request)
        return _call(kind, request)

    return made


def _several(random: Random, kind: str) -> GrpcCall | None:
    return _mutated(*random.choices(list(mutations.MUTATIONS.values()), k=random.randint(2, 4)))(random, kind)


def _convolved(random: Random, kind: str) -> GrpcCall | None:
    request, *_ = _right(random, random.choice(("convolution", "guarded", "flatten")))
    mutations.reshape(random, request)
    return _call(kind, request)


def _claimed(random: Random, kind: str) -> GrpcCall | None:
    """A tensor of a few bytes that says it has 2^31 elements or more, or a product that finds no memory.

    For memory that it does not find, TensorFlow waits 10 s.
    """
    if random.random() < 0.01:
        request, *_ = _right(random, "outer")
        sizes: tuple[int, ...] = (_SQUARED,)
    else:
        request, *_ = _right(random)
        sizes = random.choice(((2**31,), (2**40,), (2**62,), (2**31, 2**31), (2**40, 2**40), (1, 2**33, 8)))
    proto = mutations.any_input(random, request)
    proto.tensor_shape.ClearField("dim")
    for size in sizes:
        proto.tensor_shape.dim.add().size = size
    proto.tensor_content = b""
    return _call(kind, request)


def _kernel(random: Random, kind: str) -> GrpcCall | None:
    """Values that a kernel refuses: 12 // 0, text that is no number."""
    request, *_ = _right(random, random.choice(("divide", "number")))
    for proto in request.inputs.values():
        proto.tensor_content = b""
        proto.tensor_shape.dim[0].size = 2
        if proto.dtype == types_pb2.DT_STRING:
            proto.string_val[:] = [b"1", random.choice((b"x", b"", b"1.5", b"1e", b"-7", b"0x", b"--1", b"1" * 400))]
        else:
            proto.int_val[:] = [random.choice((0, 3, -1)), random.choice((0, 5, -(2**31)))]
    return _call(kind, request)


def _cut(random: Random, kind: str) -> GrpcCall | None:
    data = _right(random)[0].SerializeToString()
    return _raw(kind, PREDICT, data[: random.randrange(len(data))])


def _flipped(random: Random, kind: str) -> GrpcCall | None:
    data = bytearray(_right(random)[0].SerializeToString())
    for _ in range(random.randint(1, 3)):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return _raw(kind, PREDICT, bytes(data))


def _noise(random: Random, kind: str) -> GrpcCall | None:
    return _raw(kind, random.choice(list(_REQUESTS)), random.randbytes(random.randint(1, 200)))


def _unknown(random: Random, kind: str) -> GrpcCall:
    method = random.choice(_UNKNOWN)
    return GrpcCall(kind, method, random.randbytes(20), "UNIMPLEMENTED")


def _asked(random: Random, kind: str) -> GrpcCall | None:
    """GetModelMetadata and GetModelStatus."""
    method = random.choice(list(_REQUESTS)[1:])
    request = _REQUESTS[method][0]()
    request.model_spec.name = random.choice(list(MODELS))
    if method.endswith("Metadata"):
        request.metadata_field.extend(random.choice(((), ("signature_def",), ("signature_def", "F"), ("x" * 3000,))))
    if random.random() < 0.7:
        mutations.model_spec(random, request)
    return _raw(kind, method, request.SerializeToString())


def _headers(random: Random, kind: str) -> GrpcCall:
    """Metadata beyond what gRPC reads: 16 KiB at most."""
    data = _right(random, "half")[0].SerializeToString()
    return GrpcCall(kind, PREDICT, data, "RESOURCE_EXHAUSTED", headers=(("x", "y" * random.randint(20_000, 60_000)),))


def _oversized(random: Random, kind: str) -> GrpcCall | None:
    """Megabytes: content or values that do not fit, or that a convolution does not take."""
    request, *_ = _right(random, random.choice(("convolution", "flatten", "half")))
    proto = mutations.any_input(random, request)
    if random.random() < 0.5:
        proto.tensor_content = bytes(random.randint(1 << 20, 8 << 20))
    else:
        proto.CopyFrom(tf.make_tensor_proto(np.zeros((random.randint(1, 9), 7, 1 << 14), np.float32)))
    return _call(kind, request)


# kind -> share of the mix, and what makes it
KINDS: dict[str, tuple[int, Callable[[Random, str], GrpcCall | None]]] = {
    "right": (40, _answered),
    "another shape": (20, _mutated(mutations.reshape)),
    "shape at a convolution": (30, _convolved),
    "sizes of the shape": (20, _mutated(mutations.dims)),
    "unknown rank": (3, _mutated(mutations.unknown_rank)),
    "dtype that lies": (15, _mutated(mutations.dtype)),
    "another dtype": (15, _mutated(mutations.retype)),
    "tensor_content": (20, _mutated(mutations.content)),
    "values": (30, _mutated(mutations.values)),
    "memory claimed": (10, _claimed),
    "values a kernel refuses": (10, _kernel),
    "names of inputs": (15, _mutated(mutations.names)),
    "1,000 inputs and filters": (1, _mutated(mutations.many)),
    "output_filter": (15, _mutated(mutations.output_filter)),
    "model_spec": (25, _mutated(mutations.model_spec)),
    "several at once": (40, _several),
    "truncated": (30, _cut),
    "bits flipped": (50, _flipped),
    "random bytes": (20, _noise),
    "unknown method": (10, _unknown),
    "metadata and status": (20, _asked),
    "headers too long": (2, _headers),
    "oversized": (1, _oversized),
}
