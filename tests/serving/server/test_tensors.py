"""TensorProto to array and back, without a server (3.5, 3.6)."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from serving.server import tensors
from serving.server.status import StatusError
from tests.serving.server.models import DTYPES


@pytest.mark.parametrize("as_content", [True, False], ids=["content", "values"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (2, 3), (3, 100)], ids=str)
@pytest.mark.rule("3.5", "3.6")
def test_an_array_comes_back_the_same_when_it_is_written_and_read(
    dtype: str, shape: tuple[int, ...], *, as_content: bool
) -> None:
    kind = tf.as_dtype(dtype)
    numbers = np.arange(np.prod(shape, dtype=int)).reshape(shape) % 5
    array = numbers.astype(kind.as_numpy_dtype)
    if dtype == "string":
        array = np.array([b"\xff" * (value * 50) for value in numbers.ravel()], object).reshape(shape)
    proto = tensor_pb2.TensorProto()
    tensors.fill(proto, array, kind.as_datatype_enum, as_content=as_content)
    values = [field.name for field, _ in proto.ListFields() if field.name.endswith("_val")]
    assert not (values if as_content else proto.tensor_content)
    again = tensors.to_array(tensor_pb2.TensorProto.FromString(proto.SerializeToString()), "x")
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert np.array_equal(again, array)


@pytest.mark.rule("3.5")
def test_a_tensor_has_rank_0_when_its_rank_is_unknown() -> None:
    """Rule 3.5."""
    proto = tensor_pb2.TensorProto(dtype=1, float_val=[2.5])
    proto.tensor_shape.unknown_rank = True
    found = tensors.to_array(proto, "x")
    assert (found.shape, found.tolist()) == ((), 2.5)


@pytest.mark.parametrize("dtype", [0, 13, 20, 21, 101, 9999])
@pytest.mark.rule("3.3")
def test_a_tensor_is_refused_when_its_dtype_is_none_that_is_carried(dtype: int) -> None:
    """Rule 3.3, check 5: DT_INVALID, quantized types, resources, references."""
    with pytest.raises(StatusError, match="INVALID_ARGUMENT: tensor parsing error: x"):
        tensors.to_array(tensor_pb2.TensorProto(dtype=dtype), "x")


@pytest.mark.rule("3.3")
def test_no_memory_is_taken_when_a_shape_is_absurd() -> None:
    proto = tensor_pb2.TensorProto(dtype=1)
    for _ in range(2):
        proto.tensor_shape.dim.add().size = 1 << 40
    with pytest.raises(StatusError, match="tensor parsing error: x"):
        tensors.to_array(proto, "x")


@pytest.mark.parametrize(
    ("dtype", "name"), [(1, "float"), (2, "double"), (7, "string"), (19, "half"), (14, "bfloat16")]
)
@pytest.mark.rule("3.3")
def test_dtypes_have_tensorflows_names(dtype: int, name: str) -> None:
    """Rule 3.3, check 7."""
    assert tensors.dtype_name(dtype) == name
