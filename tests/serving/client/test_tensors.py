from __future__ import annotations

import numpy as np
import pytest
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.client import tensors

DTYPES = ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]


def _proto(array: np.ndarray) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto()
    tensors.describe(proto, array)
    tensors.fill(proto, array)
    return proto


@pytest.mark.parametrize("dtype", [*DTYPES, "float16", "S3", "U3", "object"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3), (1, 2, 2, 1)])
def test_array_is_what_tensorflow_itself_reads_from_the_request(dtype: str, shape: tuple[int, ...]) -> None:
    from tensorflow import make_ndarray

    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype("S3" if dtype == "object" else dtype)
    read = make_ndarray(_proto(array.astype(dtype)))
    assert read.shape == shape
    expected = (
        [str(value).encode() for value in array.ravel().astype(str)] if array.dtype.kind in "SU" else array.ravel()
    )
    assert np.array_equal(read.ravel(), np.asarray(expected, read.dtype))


def test_array_keeps_its_values_when_it_is_a_view_in_another_order() -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1)[::2]
    assert np.array_equal(tensors.decode(_proto(array)), array)


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]", ">f4"])
def test_array_is_refused_when_no_request_can_hold_its_type(dtype: str) -> None:
    with pytest.raises(TypeError, match="no request can hold an array of"):
        tensors.describe(tensor_pb2.TensorProto(), np.zeros(2, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_answer_is_decoded_from_its_content_and_from_typed_fields_alike(dtype: str, shape: tuple[int, ...]) -> None:
    import tensorflow as tf

    array = (np.arange(np.prod(shape, dtype=int)).reshape(shape) - (3 if dtype[0] in "if" else 0)).astype(dtype)
    typed = tensor_pb2.TensorProto(dtype=tf.as_dtype(dtype).as_datatype_enum)
    tensors.describe(typed, array)
    field = {"float32": "float_val", "float64": "double_val", "int64": "int64_val", "uint32": "uint32_val",
             "uint64": "uint64_val", "bool": "bool_val"}.get(dtype, "int_val")  # fmt: skip
    getattr(typed, field).extend(array.ravel().tolist())
    for proto in (typed, _proto(array)):
        found = tensors.decode(proto)
        assert (found.dtype, found.shape) == (array.dtype, shape)
        assert np.array_equal(found, array)
        assert found.flags.writeable


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], [0, 0, 0, 0]), ([7], [7, 7, 7, 7]), ([1, 2], [1, 2, 2, 2]), ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4])],
)
def test_answer_is_filled_up_as_tensorflow_does_when_it_has_another_number_of_typed_values(
    values: list[float], expected: list[float]
) -> None:
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=values)
    for size in (2, 2):
        proto.tensor_shape.dim.add().size = size
    assert tensors.decode(proto).ravel().tolist() == expected


def test_answer_is_refused_when_its_content_does_not_fit_the_shape() -> None:
    proto = _proto(np.zeros(4, np.float32))
    proto.tensor_shape.dim[0].size = 5
    with pytest.raises(ValueError, match="cannot reshape array of size 4"):
        tensors.decode(proto)


def test_answer_is_refused_when_it_holds_neither_numbers_nor_bools() -> None:
    with pytest.raises(ValueError, match="a tensor of DT_STRING"):
        tensors.decode(_proto(np.array([b"a"])))
