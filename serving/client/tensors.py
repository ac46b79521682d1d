"""numpy arrays as TensorProtos and back, without the detours of tf.make_tensor_proto and tf.make_ndarray.

Importing it loads TensorFlow, where the protocol's messages are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2

_DTYPES = {
    np.dtype(np.float32): types_pb2.DT_FLOAT, np.dtype(np.float64): types_pb2.DT_DOUBLE,
    np.dtype(np.float16): types_pb2.DT_HALF, np.dtype(np.int8): types_pb2.DT_INT8,
    np.dtype(np.int16): types_pb2.DT_INT16, np.dtype(np.int32): types_pb2.DT_INT32,
    np.dtype(np.int64): types_pb2.DT_INT64, np.dtype(np.uint8): types_pb2.DT_UINT8,
    np.dtype(np.uint16): types_pb2.DT_UINT16, np.dtype(np.uint32): types_pb2.DT_UINT32,
    np.dtype(np.uint64): types_pb2.DT_UINT64, np.dtype(np.bool_): types_pb2.DT_BOOL,
}  # fmt: skip
# dtype -> numpy's type of one element, and the field that holds typed values; half_val holds bits, so it is not here
_FIELDS = {
    types_pb2.DT_FLOAT: (np.float32, "float_val"), types_pb2.DT_DOUBLE: (np.float64, "double_val"),
    types_pb2.DT_INT8: (np.int8, "int_val"), types_pb2.DT_INT16: (np.int16, "int_val"),
    types_pb2.DT_INT32: (np.int32, "int_val"), types_pb2.DT_INT64: (np.int64, "int64_val"),
    types_pb2.DT_UINT8: (np.uint8, "int_val"), types_pb2.DT_UINT16: (np.uint16, "int_val"),
    types_pb2.DT_UINT32: (np.uint32, "uint32_val"), types_pb2.DT_UINT64: (np.uint64, "uint64_val"),
    types_pb2.DT_BOOL: (np.bool_, "bool_val"),
}  # fmt: skip


def describe(tensor: Any, array: np.ndarray) -> None:
    """Give a new TensorProto the type and the shape of an array.

    Raises:
        TypeError: no request can hold the type.
    """
    if array.dtype.kind in "SUO":
        tensor.dtype = types_pb2.DT_STRING
    elif array.dtype in _DTYPES:
        tensor.dtype = _DTYPES[array.dtype]
    else:
        raise TypeError(f"no request can hold an array of {array.dtype}")
    for size in array.shape:
        tensor.tensor_shape.dim.add().size = size


def fill(tensor: Any, array: np.ndarray) -> None:
    """Give a described TensorProto the values: strings as string_val, all else as tensor_content."""
    if array.dtype.kind in "SUO":
        values = array.ravel().tolist()
        tensor.string_val.extend(one.encode() if isinstance(one, str) else bytes(one) for one in values)
    else:
        tensor.tensor_content = array.tobytes()


def decode(tensor: Any) -> np.ndarray:
    """Return the values of a TensorProto, from tensor_content or from the typed field, whichever it uses.

    As TensorFlow does it: of too few typed values the last one repeats, none are zeros, surplus ones are dropped.

    Raises:
        ValueError: a type that is neither a number nor a bool, or a content that does not fit the shape.
    """
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.dtype not in _FIELDS:
        raise ValueError(f"a tensor of {types_pb2.DataType.Name(tensor.dtype)}")
    kind, field = _FIELDS[tensor.dtype]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, kind).reshape(shape).copy()  # a buffer's view cannot be written
    # through the buffer protocol, so without an object for each value
    values: np.ndarray = np.array(getattr(tensor, field), kind)
    wanted = math.prod(shape)
    if values.size < wanted:
        values = np.pad(values, (0, wanted - values.size), mode="edge" if values.size else "constant")
    return values[:wanted].reshape(shape)
