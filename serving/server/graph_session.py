"""A SavedModel in a TensorFlow session, TF1 and TF2 alike.

It runs as TensorFlow Serving runs it, through the C interface of Session::Run: that compares no shapes with the
signature (rule 3.4), takes a deadline per call, and says which argument has a wrong dtype in the same words. Python's
Session.run and make_callable compare shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.client import pywrap_tf_session as c_api

from serving.server.status import Code, StatusError, not_found


class GraphSession:
    """A TensorFlow session; see `session.Session`."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._handles: dict[str, Any] = {}  # tensor -> what the C interface knows it by

    def dtype(self, tensor: str) -> int:
        """Return a tensor's number in DataType; see `session.Session.dtype`."""
        return int(self._tensor(tensor).dtype.as_datatype_enum)

    def run(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], timeout_ms: int | None) -> list[np.ndarray]:
        """Run the graph; see `session.Session.run`."""
        handle = self._handle
        options = None if timeout_ms is None else _run_options(timeout_ms)
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
        finally:
            if options is not None:
                c_api.TF_DeleteBuffer(options)
        return [value if type(value) is np.ndarray else _scalar(value) for value in found]

    def close(self) -> None:
        """Free the variables and the graph; see `session.Session.close`."""
        self._session.close()
        self._handles.clear()
        self._session = None  # its end, not its closing, frees the variables

    def _handle(self, tensor: str) -> Any:
        known = self._handles.get(tensor)
        if known is None:
            known = self._handles[tensor] = self._tensor(tensor)._as_tf_output()
        return known

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
    if not any((path / file).is_file() for file in ("saved_model.pb", "saved_model.pbtxt")):
        raise not_found(f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}")
    v1 = tf.compat.v1
    session = v1.Session(graph=tf.Graph(), config=config)
    try:
        with session.graph.as_default():
            meta_graph = v1.saved_model.load(session, list(tags), str(path))
        session.graph.finalize()
        session._extend_graph()  # where nothing was restored, nothing has brought the graph to the runtime yet
    except Exception as error:  # whatever is wrong with a model, the others are served
        session.close()
        raise _load_error(error, path, tags) from error
    return GraphSession(session), dict(meta_graph.signature_def)


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


def _run_options(timeout_ms: int) -> Any:
    return c_api.TF_NewBufferFromString(config_pb2.RunOptions(timeout_in_ms=timeout_ms).SerializeToString())


def _scalar(value: Any) -> np.ndarray:
    """Return an array of rank 0; a string comes out of the C interface as bytes."""
    return np.array(value, dtype=object if isinstance(value, bytes) else None)
