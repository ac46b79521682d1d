"""Whether a served model survives malformed requests: refuses each of them, and answers the next right one as before.

TF Serving compares no shapes with the signature. Without a check inside the graph, a wrong rank can end the server with
everything in it, and a wrong number of channels can be answered with numbers that mean nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.errors import RejectedError, ServerError, UnavailableError
from pipeline.measuring.checks import is_logits
from pipeline.predictor import Input, Predictor, Samples, Spec

_BATCH = 2
# logit units; on a GPU the same request may be summed in another order
_TOLERANCE = 1e-3
# wrong ones, by the right one
_DTYPES = {
    "float32": ("float64", "int32", "int64", "uint8", "bool", "string"),
    "string": ("float32", "int32", "int64", "uint8", "bool"),
    "int32": ("float32", "float64", "int64", "uint8", "bool", "string"),
}
_CHANNELS = (1, 2, 3, 4)
# what JSON can say about a type, by the right one: one kind of number, strings and bools
_JSON_DTYPES = {
    "float32": ("float32", "bool", "string"),
    "string": ("float32", "bool", "string"),
    "int32": ("int32", "bool", "string"),
}


@dataclass(frozen=True)
class Malformed:
    """A request that a model must refuse.

    Attributes:
        name: what is wrong with it, such as "rank 3".
        shape: of the whole input, with the batch dimension where it has one.
        dtype: numpy's name of the type, or "string".
        input: the one that is wrong, where a model has several; else empty.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    input: str = ""

    def batch(self, spec: Spec, *, strings: bool = True) -> Samples:
        """Return zeros of the shape and type, and of the right ones for other inputs; "string": empty byte strings.

        Args:
            strings: see `malformed`.
        """
        wrong = _zeros(self.shape, self.dtype)
        if not self.input:
            return wrong
        taken = {one.name: _taken(one, strings) for one in spec.inputs}
        right = {name: _zeros((_BATCH, *sample), dtype) for name, (sample, dtype) in taken.items()}
        return right | {self.input: wrong}

    def __str__(self) -> str:
        of = f" of {self.input}" if self.input else ""
        return f"a request of shape {list(self.shape)}{of} ({self.name})"


@dataclass(frozen=True)
class Guard:
    """How a served model took malformed requests.

    Attributes:
        requests: how many were sent.
        problems: one sentence for each that was not refused as it should be, or that did harm; for users.
        died: the server was gone after the last one; those that would have followed were not sent.
    """

    requests: int
    problems: tuple[str, ...]
    died: bool


def malformed(spec: Spec, *, strings: bool = True) -> list[Malformed]:
    """Return requests that are wrong for the spec: in rank, in one size, in their order, or in type.

    None is right by accident, as a batch of another size would be, and no two have the same shape and type.

    Args:
        strings: texts go in as strings, and not as token ids.
    """
    several = len(spec.inputs) > 1
    return [request for one in spec.inputs for request in _of_input(one, one.name if several else "", strings)]


def _zeros(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.zeros(shape, "S1" if dtype == "string" else dtype)


def _taken(one: Input, strings: bool) -> tuple[tuple[int, ...], str]:
    """Return the shape and the type of a sample that an input takes."""
    if one.vectorizer is None:
        return one.shape, "float32"
    return (one.raw_shape, "string") if strings else (one.shape, "int32")


def _of_input(one: Input, name: str, strings: bool) -> list[Malformed]:
    sample, dtype = _taken(one, strings)
    right = len(sample) + 1
    found: dict[tuple[int, ...], Malformed] = {}
    for wrong, shape in _shapes(sample):
        if len(shape) != right or shape[1:] != sample:
            found.setdefault(shape, Malformed(wrong, shape, dtype, name))
    types = [Malformed(f"type {wrong}", (_BATCH, *sample), wrong, name) for wrong in _DTYPES[dtype]]
    return [*found.values(), *types]


def _shapes(sample: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield what is wrong and the shape; some are right by accident for some samples."""
    for rank in (*range(len(sample) + 1), len(sample) + 2):
        # cut off, or filled up with ones at either end, as forgotten and surplus dimensions are
        for whole in (sample, (_BATCH, *sample)):
            ones = (1,) * (rank - len(whole))
            yield f"rank {rank}", (*ones, *whole)[:rank]
            yield f"rank {rank}", (*whole, *ones)[:rank]
    if not sample:  # a text
        yield "one word a column", (_BATCH, 3)
        return
    for axis, size in enumerate(sample):
        for name, wrong in (("less", size - 1), ("more", size + 1), ("twice as much", 2 * size)):
            yield f"dimension {axis + 1} {name}", (_BATCH, *sample[:axis], wrong, *sample[axis + 1 :])
    for channels in _CHANNELS:
        yield f"{channels} in the last dimension", (_BATCH, *sample[:-1], channels)
    for first in range(len(sample)):
        for second in range(first):
            order = list(range(len(sample)))
            order[first], order[second] = second, first
            yield f"dimensions {second + 1} and {first + 1} swapped", (_BATCH, *(sample[axis] for axis in order))
    yield "last dimension first", (_BATCH, sample[-1], *sample[:-1])
    yield "batch behind the first dimension", (sample[0], _BATCH, *sample[1:])
    yield "one sample taken for a batch", (*sample, 1)
    yield "samples flattened", (_BATCH, math.prod(sample))


def check(predictor: Predictor, spec: Spec, sample: Samples, protocol: str, *, strings: bool = True) -> Guard:
    """Send malformed requests to a served model, and after each of them a right one.

    Each must be refused with INVALID_ARGUMENT, and the right one must be answered as before.

    Args:
        predictor: the served model.
        spec: what it takes.
        sample: raw values, the right request.
        protocol: "grpc" or "rest"; over REST there are no types of numbers and no empty dimensions.
        strings: see `malformed`.

    Raises:
        ServerError: the first right request fails already.
        UnavailableError: the server is overloaded or too slow.
    """
    before = predictor.predict(sample)
    problems: list[str] = []
    sent = 0
    types = {one.name: _JSON_DTYPES[_taken(one, strings)[1]] for one in spec.inputs}
    for request in malformed(spec, strings=strings):
        said = types[request.input or spec.input.name]
        if protocol == "rest" and (request.dtype not in said or 0 in request.shape):
            continue
        sent += 1
        for problem in _problems(predictor, request, request.batch(spec, strings=strings), spec, sample, before):
            problems.append(problem.text)
            if problem.died:
                return Guard(sent, tuple(problems), True)
    return Guard(sent, tuple(problems), False)


@dataclass(frozen=True)
class _Problem:
    text: str
    died: bool = False


def _problems(
    predictor: Predictor, request: Malformed, batch: Samples, spec: Spec, sample: Samples,
    before: Mapping[str, np.ndarray],
) -> Iterator[_Problem]:  # fmt: skip
    """Send a malformed request, then a right one; yield what is wrong with how each was taken."""
    if problem := _refused(predictor, request, batch):
        yield problem
    if problem := _answered(predictor, request, spec, sample, before):
        yield problem


def _refused(predictor: Predictor, request: Malformed, batch: Samples) -> _Problem | None:
    """Send a malformed request; return what is wrong with how it was taken."""
    try:
        predictor.predict(batch)
    except ServerError as error:
        if isinstance(error, RejectedError) and error.code == "INVALID_ARGUMENT":
            return None
        return _gone(error, request) or _Problem(
            f"{request} was not refused with INVALID_ARGUMENT, but got {error.found or error.code}"
        )
    return _Problem(f"{request} was answered")


def _answered(
    predictor: Predictor, request: Malformed, spec: Spec, sample: Samples, before: Mapping[str, np.ndarray]
) -> _Problem | None:
    """Send a right request; return what is wrong with the answer."""
    try:
        after = predictor.predict(sample)
    except ServerError as error:
        return _gone(error, request) or _Problem(
            f"after {request} a right request was not answered, but got {error.found or error.code}"
        )
    if not all(_same(before[end], after[end], is_logits(end)) for end in spec.ends):
        return _Problem(f"after {request} a right request was answered otherwise than before")
    return None


def _same(before: np.ndarray, after: np.ndarray, logits: bool) -> bool:
    tolerance = _TOLERANCE if logits else _TOLERANCE * float(np.abs(before).max())
    return np.allclose(before, after, rtol=0, atol=tolerance, equal_nan=True)


def _gone(error: ServerError, request: Malformed) -> _Problem | None:
    """Return the problem of a server that is gone, after which nothing more is sent.

    Raises:
        UnavailableError: it is overloaded or too slow, which says nothing of the model.
    """
    if error.code == "UNAVAILABLE":
        return _Problem(f"the server was gone after {request}", died=True)
    if isinstance(error, UnavailableError):
        raise error
    return None
