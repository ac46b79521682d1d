"""A model.tflite in LiteRT, behind --prefer_tflite_model: a pool of interpreters, each of which runs one request.

Each signature of the file is a graph of its own; a file without signatures has `serving_default` with all inputs and
outputs. LiteRT runs what has a wrong shape if only its kernels can compute something; here a shape that is not the
file's is refused.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from serving.server.servable import DEFAULT_SIGNATURE
from serving.server.status import Code, StatusError, invalid, not_found
from serving.server.tensors import DTYPE_NAMES, dtype_name, numpy_dtype

_METHOD = "tensorflow/serving/predict"

_Run = Callable[..., dict[str, np.ndarray]]


@dataclass(frozen=True)
class _End:
    """An input or an output: its alias in the signature, its number in DataType, its shape (-1: any size)."""

    alias: str
    dtype: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Graph:
    """A signature's graph: tensor -> end."""

    inputs: dict[str, _End]
    outputs: dict[str, _End]

    @property
    def single(self) -> bool:
        """Whether it is made for a batch of one: several rows run one after another."""
        return all(end.shape[:1] == (1,) for end in (*self.inputs.values(), *self.outputs.values()))


class _Interpreter:
    """An interpreter, and what runs each of its signatures. For one thread at a time."""

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter

        # one thread each, as TF Serving has it: requests run side by side
        self._interpreter: Any = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        keys = self._interpreter.get_signature_list()
        self.runners: dict[str, Any] = {key: self._interpreter.get_signature_runner(key) for key in keys} or {
            DEFAULT_SIGNATURE: _Unsigned(self._interpreter)
        }

    def run(self, key: str, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        # an LSTM keeps its state in variables: left alone, it would carry over into the next request
        self._interpreter.reset_all_variables()
        found: dict[str, np.ndarray] = self.runners[key](**values)
        return found


class _Unsigned:
    """Runs a file that has no signatures; has the face of LiteRT's SignatureRunner."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter

    def get_input_details(self) -> dict[str, Any]:
        return {_alias(details): details for details in self._interpreter.get_input_details()}

    def get_output_details(self) -> dict[str, Any]:
        return {_alias(details): details for details in self._interpreter.get_output_details()}

    def __call__(self, **values: np.ndarray) -> dict[str, np.ndarray]:
        inputs = {alias: details["index"] for alias, details in self.get_input_details().items()}
        for alias, value in values.items():
            self._interpreter.resize_tensor_input(inputs[alias], value.shape)
        self._interpreter.allocate_tensors()
        for alias, value in values.items():
            self._interpreter.set_tensor(inputs[alias], value)
        self._interpreter.invoke()
        outputs = self.get_output_details().items()
        return {alias: self._interpreter.get_tensor(details["index"]) for alias, details in outputs}


def _alias(details: Mapping[str, Any]) -> str:
    return str(details["name"]).partition(":")[0]


class LiteSession:
    """A .tflite in LiteRT; see `session.Session`.

    Args:
        content: the file.
        count: interpreters.

    Raises:
        ValueError, RuntimeError: LiteRT cannot load it.
    """

    def __init__(self, content: bytes, count: int) -> None:
        self._content = content
        self._idle: queue.LifoQueue[_Interpreter] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(_Interpreter(content))
        runners = self._idle.queue[0].runners
        self.graphs = {key: _graph(runner, f"{key}/" if len(runners) > 1 else "") for key, runner in runners.items()}
        self._dtypes = {
            tensor: end.dtype
            for graph in self.graphs.values()
            for tensor, end in (*graph.inputs.items(), *graph.outputs.items())
        }

    def dtype(self, tensor: str) -> int:
        """Return a tensor's number in DataType; see `session.Session.dtype`."""
        return self._dtypes[tensor]

    def run(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], timeout_ms: int | None) -> list[np.ndarray]:
        """Run one signature; see `session.Session.run`. A run that began is not given up; what is
        run row by row is, between two of them.

        Raises:
            StatusError: INVALID_ARGUMENT, also where shapes are not the file's.
        """
        key, graph = self._find(feeds, fetches)
        rows = _checked(graph, feeds)
        values = {graph.inputs[tensor].alias: value for tensor, value in feeds.items()}
        if rows == 0:  # LiteRT's kernels need not stand it: an answer without rows has one row's shape
            values = {alias: _one_row(value) for alias, value in values.items()}
        deadline = None if timeout_ms is None else time.monotonic() + timeout_ms / 1000
        interpreter = self._borrow(timeout_ms)
        try:
            if graph.single and rows > 1:
                found = _row_by_row(lambda **row: interpreter.run(key, row), values, rows, deadline)
            else:
                found = interpreter.run(key, values)
        except (ValueError, RuntimeError) as error:
            interpreter = _Interpreter(self._content)  # what a failed run leaves behind is not to be trusted
            raise invalid(f"LiteRT cannot run the request: {error}") from None
        finally:
            self._idle.put(interpreter)
        answers = [found[graph.outputs[tensor].alias] for tensor in fetches]
        return [answer[:0] for answer in answers] if rows == 0 else answers

    def close(self) -> None:
        """Free the interpreters and the file; see `session.Session.close`."""
        self._idle = queue.LifoQueue()
        self._content = b""

    def _find(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> tuple[str, _Graph]:
        for key, graph in self.graphs.items():
            if feeds.keys() == graph.inputs.keys() and all(tensor in graph.outputs for tensor in fetches):
                return key, graph
        raise invalid("a model.tflite runs one signature at a time, with all of its inputs")

    def _borrow(self, timeout_ms: int | None) -> _Interpreter:
        try:
            return self._idle.get(timeout=None if timeout_ms is None else timeout_ms / 1000)
        except queue.Empty:
            raise StatusError(Code.DEADLINE_EXCEEDED, "Timed out waiting for an interpreter") from None


def load(path: Path, count: int) -> tuple[LiteSession, Mapping[str, Any]]:
    """Load a .tflite into `count` interpreters; return it and its signatures by name.

    Raises:
        StatusError: it cannot be loaded.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise not_found(f"{path}; {error.strerror}") from None
    try:
        session = LiteSession(content, max(1, count))
        if len(session.graphs) > 1:
            _require_stateless(content)
    except ValueError as error:
        raise invalid(f"Cannot build FlatBufferModel from buffer. {error}") from None
    except RuntimeError as error:
        raise StatusError(Code.INTERNAL, f"Failed to allocate tensors: {error}") from None
    return session, {key: _definition(graph) for key, graph in session.graphs.items()}


def _require_stateless(content: bytes) -> None:
    """Refuse state that LiteRT cannot reset: it does so in the first graph alone."""
    from ai_edge_litert import schema_py_generated as schema

    graphs = schema.ModelT.InitFromPackedBuf(content, 0).subgraphs
    if any(tensor.isVariable for graph in graphs[1:] for tensor in graph.tensors):
        raise StatusError(Code.UNIMPLEMENTED, "one request's state would reach the next: the file has several "
                          "signatures, and variables")  # fmt: skip


def _graph(runner: Any, prefix: str) -> _Graph:
    def ends(details: Mapping[str, Any]) -> dict[str, _End]:
        found: dict[str, _End] = {}
        for alias, item in details.items():
            tensor = prefix + (alias if prefix + item["name"] in found else item["name"])  # one tensor, two aliases
            shape = tuple(item["shape_signature"].tolist())
            found[tensor] = _End(alias, tf.as_dtype(item["dtype"]).as_datatype_enum, shape)
        return found

    return _Graph(ends(runner.get_input_details()), ends(runner.get_output_details()))


def _definition(graph: _Graph) -> Any:
    """Return the SignatureDef."""
    definition = meta_graph_pb2.SignatureDef(method_name=_METHOD)
    for infos, ends in ((definition.inputs, graph.inputs), (definition.outputs, graph.outputs)):
        for tensor, end in ends.items():
            info = infos[end.alias]
            info.name, info.dtype = tensor, end.dtype
            info.tensor_shape.SetInParent()
            for size in end.shape:
                info.tensor_shape.dim.add(size=size)
    return definition


def _checked(graph: _Graph, feeds: Mapping[str, np.ndarray]) -> int:
    """Compare dtypes and shapes with the file's; return the rows, 1 where no dimension is the batch.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    sizes = set()
    for number, (tensor, value) in enumerate(feeds.items()):
        end = graph.inputs[tensor]
        if value.dtype != numpy_dtype(end.dtype):
            expected, given = dtype_name(end.dtype), DTYPE_NAMES[value.dtype]
            raise invalid(f"Expects arg[{number}] to be {expected} but {given} is provided")
        any_rows = graph.single or end.shape[:1] == (-1,)
        wanted = (-1, *end.shape[1:]) if any_rows else end.shape
        fits = len(wanted) == value.ndim and all(w in (-1, size) for w, size in zip(wanted, value.shape, strict=True))
        if not fits or 0 in value.shape[1 if any_rows else 0 :]:
            raise invalid(f"Input {end.alias} has shape {_shown(value.shape)} but the model takes {_shown(wanted)}")
        if any_rows:
            sizes.add(value.shape[0])
    if graph.single and len(sizes) > 1:
        raise invalid("inputs must have equal 0th-dimension size")
    if 0 not in sizes:
        return max(sizes, default=1)
    if len(sizes) > 1 or any(end.shape[:1] not in ((1,), (-1,)) for end in graph.outputs.values()):
        raise invalid("the model does not take an empty batch")
    return 0


def _shown(shape: Sequence[int]) -> str:
    return f"[{','.join('?' if size < 0 else str(size) for size in shape)}]"


def _one_row(value: np.ndarray) -> np.ndarray:
    return np.full((1, *value.shape[1:]), b"" if value.dtype == object else 0, value.dtype)


def _row_by_row(
    run: _Run, values: Mapping[str, np.ndarray], rows: int, deadline: float | None
) -> dict[str, np.ndarray]:
    found = []
    for row in range(rows):
        if deadline is not None and time.monotonic() > deadline:
            raise StatusError(Code.DEADLINE_EXCEEDED, f"Timed out after {row} of {rows} rows")
        found.append(run(**{alias: value[row : row + 1] for alias, value in values.items()}))
    return {alias: np.concatenate([answer[alias] for answer in found]) for alias in found[0]}
