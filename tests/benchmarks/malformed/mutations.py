"""What can be wrong with a request over gRPC: each function changes a right one in place."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2


def any_input(random: Random, request: Any) -> Any:
    """Return one of the inputs; one that is of no request where there is none."""
    return request.inputs[random.choice(sorted(request.inputs))] if request.inputs else tf.make_tensor_proto(1.0)


def reshape(random: Random, request: Any) -> None:
    """Another rank, or other sizes, of zeros or of as many values as there are."""
    proto = any_input(random, request)
    deepest = random.choice((3, 6, 6, 12, 12, 32, 40, 300))
    rank = random.randint(0, deepest)
    widest = (1, 2, 3, 4, 8) if rank <= 6 else (1,)
    proto.tensor_shape.ClearField("dim")
    for _ in range(rank):
        proto.tensor_shape.dim.add().size = random.choice(widest)
    proto.tensor_content = b""


def dims(random: Random, request: Any) -> None:
    """A size that no tensor has, or another one."""
    sizes = any_input(random, request).tensor_shape.dim
    if sizes:
        random.choice(sizes).size = random.choice((-1, -(2**63), 0, 5, 7, 2**31, 2**40, 2**62, 2**63 - 1))


def unknown_rank(random: Random, request: Any) -> None:
    """A shape that is said to be unknown: a scalar."""
    shape = any_input(random, request).tensor_shape
    shape.ClearField("dim")
    shape.unknown_rank = True


def dtype(random: Random, request: Any) -> None:
    """A dtype that is not that of the values."""
    any_input(random, request).dtype = random.choice((*types_pb2.DataType.values(), 77, -1))


def retype(random: Random, request: Any) -> None:
    """A value of another dtype."""
    array = random.choice((np.array([1], np.int32), np.array([1.0]), np.array([b"x"]), np.array([1j], np.complex64)))
    any_input(random, request).CopyFrom(tf.make_tensor_proto(array))


def content(random: Random, request: Any) -> None:
    """Any bytes as tensor_content."""
    any_input(random, request).tensor_content = random.randbytes(random.choice((1, 3, 4, 8, 16, 64, 1000)))


def values(random: Random, request: Any) -> None:
    """More or fewer values, or values of another field, or none."""
    proto = any_input(random, request)
    proto.tensor_content = b""
    if random.random() < 0.3:
        for field, _ in list(proto.ListFields()):
            if field.name.endswith("_val"):
                proto.ClearField(field.name)
    proto.float_val.extend([1.5] * random.choice((0, 1, 5, 200)))
    proto.int_val.extend([random.choice((1, -(2**31), 2**31 - 1))] * random.choice((0, 1, 5)))
    proto.string_val.extend([random.choice((b"", b"1.5", b"x", b"\xff\x00", b"9" * 400))] * random.choice((0, 1, 5)))


def names(random: Random, request: Any) -> None:
    """An input more, or by another name."""
    name = random.choice(("z", "", "x:0", "é" * 50, "n" * 20_000))
    request.inputs[name].CopyFrom(any_input(random, request))
    if random.random() < 0.5:
        del request.inputs[random.choice(sorted(request.inputs))]


def many(random: Random, request: Any) -> None:
    """Far more inputs and outputs than there are."""
    for number in range(random.choice((50, 1000))):
        request.inputs[f"x{number}"].dtype = 1
        request.output_filter.append(f"y{number}")


def output_filter(random: Random, request: Any) -> None:
    """Outputs: right ones, unknown ones, some twice."""
    request.output_filter.extend(random.choices(("y", "y", "total", "plain", "", "y:0", "é"), k=random.randint(1, 3)))


def model_spec(random: Random, request: Any) -> None:
    """Another model, version, label or signature, or none."""
    spec = request.model_spec
    match random.randrange(7):
        case 0:
            request.ClearField("model_spec")
        case 1:
            spec.name = random.choice(("", "nope", "HALF", "half ", "../half", "m" * 5000, "é"))
        case 2:
            spec.version.value = random.choice((0, 1, 2, -1, 2**63 - 1, -(2**63)))
        case 3:
            spec.version_label = random.choice(("", "stable", "gone", "L" * 3000))
        case 4:
            spec.version.SetInParent()
        case 5:
            spec.name, spec.version_label = "half", random.choice(("stable", "gone"))
        case 6 if request.DESCRIPTOR.name == "PredictRequest":
            spec.signature_name = random.choice(("nope", "other", "S" * 5000, "serving_default"))


Mutation = Callable[[Random, Any], None]
MUTATIONS: dict[str, Mutation] = {
    "shape": reshape, "dims": dims, "unknown_rank": unknown_rank, "dtype": dtype, "retype": retype,
    "content": content, "values": values, "names": names, "filter": output_filter, "spec": model_spec,
}  # fmt: skip
