"""The arithmetic of batching: inputs of several requests to one batch, and its outputs back to them (rule 7)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from serving.server.status import Code, StatusError, invalid
from serving.server.tensors import DTYPE_NAMES

_LARGEST_PADDED_RANK = 6
_LARGEST_PADDED_BYTES = 2**31 - 1  # as a request: two small ones must not make what the machine cannot hold


def batch_size(tensors: Iterable[np.ndarray]) -> int:
    """Return the rows of a request: the size of dimension 0, the same for every input.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    size = None
    for tensor in tensors:
        if tensor.ndim == 0:
            raise invalid("Batching Run() input tensors must have at least one dimension")
        if size not in (None, tensor.shape[0]):
            raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
        size = tensor.shape[0]
    if size is None:
        raise invalid("Batching Run() must have at least one input tensor")
    return int(size)


def allowed_size(rows: int, allowed: Sequence[int]) -> int:
    """Return the smallest allowed size that holds so many rows; without one, the rows themselves."""
    return next((size for size in allowed if size >= rows), rows)


def merge(requests: Sequence[Mapping[str, np.ndarray]], padding: int, *, pad_shapes: bool) -> Mapping[str, np.ndarray]:
    """Return the inputs of a batch.

    Args:
        requests: the inputs of each request, all with the same names.
        padding: rows that are added; they repeat the first row of the last request.
        pad_shapes: bring unequal inner shapes to the largest; else they are refused.

    Raises:
        StatusError: the requests do not fit together.
    """
    if len(requests) == 1 and not padding:
        return requests[0]
    return {
        name: _merged(name, [request[name] for request in requests], padding, pad_shapes=pad_shapes)
        for name in requests[0]
    }


def _merged(name: str, tensors: list[np.ndarray], padding: int, *, pad_shapes: bool) -> np.ndarray:
    first = tensors[0]
    if any(tensor.shape[1:] != first.shape[1:] for tensor in tensors):
        if not pad_shapes or any(tensor.ndim != first.ndim for tensor in tensors):
            raise StatusError(
                Code.FAILED_PRECONDITION,
                f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off."
                "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name"
                "have equal dimensions starting with the first dim.",
            )
        tensors = _padded(tensors, padding)
    for tensor in tensors:
        if tensor.dtype != first.dtype:  # numpy would cast
            names = f"{DTYPE_NAMES[first.dtype]} and {DTYPE_NAMES[tensor.dtype]}"
            raise StatusError(
                Code.INTERNAL,
                "Tensor concat operation failed: INVALID_ARGUMENT: Cannot concatenate tensors that have different data "
                f"types. Got {names}.",
            )
    if padding:
        _require_bounded(tensors[-1], sum(map(len, tensors)) + padding, tensors[-1].shape[1:])
        tensors = [*tensors, np.repeat(tensors[-1][:1], padding, axis=0)]
    return tensors[0] if len(tensors) == 1 else np.concatenate(tensors)


def _padded(tensors: list[np.ndarray], padding: int) -> list[np.ndarray]:
    """Return the tensors with equal inner shapes, each filled up with its first value."""
    if tensors[0].ndim > _LARGEST_PADDED_RANK:
        raise invalid("Only tensors with rank from 1 to 6 can be padded.")
    inner = tuple(map(max, zip(*(tensor.shape[1:] for tensor in tensors), strict=True)))
    _require_bounded(tensors[0], sum(map(len, tensors)) + padding, inner)
    found = []
    for tensor in tensors:
        if tensor.size == 0 and len(tensor):
            raise invalid("Got empty tensor in batch of non-empty tensors.")
        padded = np.full((len(tensor), *inner), tensor.flat[0] if tensor.size else 0, tensor.dtype)
        padded[tuple(slice(size) for size in tensor.shape)] = tensor
        found.append(padded)
    return found


def _require_bounded(tensor: np.ndarray, rows: int, inner: Sequence[int]) -> None:
    if math.prod((rows, *inner)) * tensor.itemsize > _LARGEST_PADDED_BYTES:
        raise StatusError(
            Code.RESOURCE_EXHAUSTED, f"padded, the batch would have the shape [{rows},{','.join(map(str, inner))}]"
        )


def split(outputs: list[np.ndarray], sizes: Sequence[int], padding: int) -> list[list[np.ndarray]]:
    """Return each request's rows of the outputs of a batch.

    Args:
        sizes: rows of each request.
        padding: rows at the end that belong to none.

    Raises:
        StatusError: an output does not have the rows of the batch.
    """
    rows = sum(sizes) + padding
    for output in outputs:
        if output.ndim == 0:
            raise StatusError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if output.shape[0] != rows:
            raise StatusError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
                "tensors",
            )
    if len(sizes) == 1 and not padding:
        return [outputs]
    found, start = [], 0
    for size in sizes:
        found.append([output[start : start + size] for output in outputs])
        start += size
    return found
