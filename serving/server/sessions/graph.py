"""A SavedModel in a TensorFlow session, TF1 and TF2 alike.

It runs as TensorFlow Serving runs it, through the C interface of Session::Run: that compares no shapes with the
signature (rule 3.4), takes a deadline per call, and says which argument has a wrong dtype in the same words. Python's
Session.run and make_callable compare shapes.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.client import pywrap_tf_session as c_api
from tensorflow.python.framework import ops

from serving.layout import GRAPH
from serving.server.sessions.ranks import RankGuard
from serving.server.status import Code, StatusError, invalid, not_found

# Operations whose time neither the size of their inputs nor memory bounds: loops, and those that wait for others
_UNBOUNDED = re.compile(r"(Stateless)?While|(Ref)?Enter|.*PyFunc.*|_?(Host)?Recv|(Queue|Barrier|Iterator|Unstage).*")
_QUICK_S = 1e-3
_IN_THIS_THREAD = -1  # RunOptions.inter_op_thread_pool


class GraphSession:
    """A TensorFlow session; see `session.Session`.

    A run that is quick goes on in the thread that asks for it: to wake a thread of TensorFlow's pool and to be woken by
    it takes longer than a small model. It cannot be given up between two operations then; so it is for graphs without
    loops, for inputs no larger than those that the graph has just answered in less than a millisecond.

    Args:
        session: a tf.compat.v1.Session.
        bounded: the graph has no operation that could go on and on.
    """

    def __init__(self, session: Any, *, bounded: bool) -> None:
        self._session, self._bounded = session, bounded
        self._handles: dict[str, Any] = {}  # tensor -> what the C interface knows it by
        self._quick: dict[tuple[str, ...], int] = {}  # feeds and fetches -> bytes of the inputs of a quick run
        self._ranks: dict[str, int | None] = {}  # tensor -> its rank in the graph, None where that is open
        self._guard = RankGuard(session.graph)

    def dtype(self, tensor: str) -> int:
        """Return a tensor's number in DataType; see `session.Session.dtype`."""
        return int(self._tensor(tensor).dtype.base_dtype.as_datatype_enum)

    def run(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], timeout_ms: int | None) -> list[np.ndarray]:
        """Run the graph; see `session.Session.run`."""
        handle = self._handle
        if any(value.ndim != self._rank(tensor) for tensor, value in feeds.items()):
            self._guard.require_harmless(feeds, fetches)
        key, size = (*feeds, *fetches), sum([_bytes(value) for value in feeds.values()])
        quick = size <= self._quick.get(key, -1)
        options = _run_options(timeout_ms, quick=quick) if quick or timeout_ms is not None else None
        started = time.perf_counter()
        try:
            found = c_api.TF_SessionRun_wrapper(
                self._session._session,
                options,
                {handle(tensor): value for tensor, value in feeds.items()},
                [handle(tensor) for tensor in fetches],
                [],
                None,
            )
        except tf.errors.OpError as error:
            raise StatusError(Code(error.error_code), error.message) from None
        except UnicodeDecodeError as error:  # a kernel that repeats a value of the request; its code is lost with it
            raise invalid(error.object.decode("utf-8", "replace")) from None
        finally:
            if options is not None:
                c_api.TF_DeleteBuffer(options)
        if time.perf_counter() - started >= _QUICK_S:
            self._quick.pop(key, None)
        elif not quick and self._bounded:
            self._quick[key] = size
        return [value if type(value) is np.ndarray else _scalar(value) for value in found]

    def close(self) -> None:
        """Free the variables and the graph; see `session.Session.close`."""
        _free(self._session)
        self._handles.clear()
        self._session = None  # its end, not its closing, frees the variables

    def _handle(self, tensor: str) -> Any:
        known = self._handles.get(tensor)
        if known is None:
            known = self._handles[tensor] = self._tensor(tensor)._as_tf_output()
        return known

    def _rank(self, tensor: str) -> int | None:
        try:
            return self._ranks[tensor]
        except KeyError:
            rank: int | None = self._tensor(tensor).shape.rank
            self._ranks[tensor] = rank
            return rank

    def _tensor(self, name: str) -> Any:
        try:
            return self._session.graph.get_tensor_by_name(name)
        except ValueError:  # no name of a tensor at all
            raise KeyError(name) from None


def load(path: Path, tags: Sequence[str], config: config_pb2.ConfigProto) -> tuple[GraphSession, Mapping[str, Any]]:
    """Load a SavedModel into a session of its own; return it and the signatures of saved_model.pb by name.

    Raises:
        StatusError: it cannot be loaded.
    """
    if not any((path / file).is_file() for file in (GRAPH, f"{GRAPH}txt")):
        raise not_found(f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}")
    v1 = tf.compat.v1
    session = v1.Session(graph=tf.Graph(), config=config)
    try:
        with session.graph.as_default():
            meta_graph = v1.saved_model.load(session, list(tags), str(path))
        session.graph.finalize()
        session._extend_graph()  # where nothing was restored, nothing has brought the graph to the runtime yet
    except Exception as error:  # whatever is wrong with a model, the others are served
        _free(session)
        raise _load_error(error, path, tags) from error
    return GraphSession(session, bounded=_bounded(meta_graph.graph_def)), dict(meta_graph.signature_def)


def _free(session: Any) -> None:
    """Close a session and break its graph's cycles: the memory need not wait for a collection, which stops all."""
    graph = session.graph
    session.close()
    ops.dismantle_graph(graph)


def _load_error(error: Exception, path: Path, tags: Sequence[str]) -> StatusError:
    text = str(error)
    if isinstance(error, tf.errors.OpError):
        return StatusError(Code(error.error_code), error.message)
    if "MetaGraphDef associated with tags" in text:
        return not_found(
            f"Could not find meta graph def matching supplied tags: {{ {' '.join(tags)} }}. To inspect available "
            "tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`"
        )
    if isinstance(error, OSError) and "Cannot parse file" in text:
        return StatusError(Code.DATA_LOSS, f"Can't parse {path}/saved_model.pb as binary proto")
    return StatusError(Code.INTERNAL, f"{type(error).__name__}: {text}")


def _bounded(graph: Any) -> bool:
    nodes = itertools.chain(graph.node, *(function.node_def for function in graph.library.function))
    return not any(_UNBOUNDED.fullmatch(node.op) for node in nodes)


def _run_options(timeout_ms: int | None, *, quick: bool) -> Any:
    pool = _IN_THIS_THREAD if quick else None
    options = config_pb2.RunOptions(timeout_in_ms=timeout_ms, inter_op_thread_pool=pool)
    return c_api.TF_NewBufferFromString(options.SerializeToString())


def _scalar(value: Any) -> np.ndarray:
    """Return an array of rank 0; a string comes out of the C interface as bytes."""
    return np.array(value, dtype=object if isinstance(value, bytes) else None)


def _bytes(value: np.ndarray) -> int:
    if value.dtype == object:  # strings, of which the array holds only where they are
        return sum(map(len, value.ravel().tolist()))
    return value.nbytes
