"""One loaded version of a model: a TensorFlow session, and what its signatures feed and fetch.

It runs as TensorFlow Serving runs it, through the C interface of Session::Run: that compares no shapes with the
signature (rule 3.4), takes a deadline per call, and says which argument has a wrong dtype in the same words. Python's
Session.run and make_callable compare shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.client import pywrap_tf_session as c_api
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.server.status import Code, StatusError, invalid, not_found
from serving.server.tensors import to_array

DEFAULT_SIGNATURE = "serving_default"
METADATA_FIELD = "signature_def"


@dataclass(frozen=True)
class End:
    """An input or an output of a signature.

    Attributes:
        name: the tensor's name in the graph.
        dtype: its number in DataType, as the signature says for an input and as the graph says for an output.
        handle: what the C interface knows it by.
    """

    name: str
    dtype: int
    handle: Any


@dataclass(frozen=True)
class Signature:
    """One signature, resolved once.

    Attributes:
        inputs, outputs: alias -> end, sorted by alias.
        defaults: alias -> value of an input that a request may leave out.
    """

    name: str
    method_name: str
    inputs: dict[str, End]
    outputs: dict[str, End]
    defaults: dict[str, np.ndarray]


class Servable:
    """A version that can answer. Its session lives as long as somebody holds it, a running request included.

    Attributes:
        name, version: what it is served as.
        metadata: the GetModelMetadataResponse, with the signatures of saved_model.pb.
    """

    def __init__(self, name: str, version: int, session: Any, signature_defs: Mapping[str, Any]) -> None:
        self.name, self.version = name, version
        self._session, self._definitions = session, signature_defs
        everything = get_model_metadata_pb2.SignatureDefMap()
        for key, definition in signature_defs.items():
            everything.signature_def[key].CopyFrom(definition)
        self.metadata = get_model_metadata_pb2.GetModelMetadataResponse()
        self.metadata.model_spec.name, self.metadata.model_spec.version.value = name, version
        self.metadata.metadata[METADATA_FIELD].Pack(everything)
        self._signatures: dict[str, Signature] = {}

    def signature(self, name: str) -> Signature | None:
        """Return the signature of a name, resolved at its first use, or None where there is none.

        Raises:
            StatusError: it names what is no tensor of the graph.
        """
        known = self._signatures.get(name)
        if known is None and name in self._definitions:
            known = self._signatures[name] = _resolve(name, self._definitions[name], self._session.graph)
        return known

    def run(
        self, signature: Signature, inputs: Mapping[str, np.ndarray], outputs: Sequence[str], timeout_ms: int | None
    ) -> list[np.ndarray]:
        """Run the graph and return the outputs in the order in which they are named.

        Args:
            inputs: alias -> value; of any dtype and shape, the kernels say what is wrong.
            outputs: aliases.
            timeout_ms: the run is given up after it; None: never.

        Raises:
            StatusError: with the code and the text of the kernel that failed, or DEADLINE_EXCEEDED.
        """
        feeds = {signature.inputs[alias].handle: value for alias, value in inputs.items()}
        fetches = [signature.outputs[alias].handle for alias in outputs]
        options = None if timeout_ms is None else _run_options(timeout_ms)
        try:
            found = c_api.TF_SessionRun_wrapper(self._session._session, options, feeds, fetches, [], None)
        except tf.errors.OpError as error:
            raise StatusError(Code(error.error_code), error.message) from None
        finally:
            if options is not None:
                c_api.TF_DeleteBuffer(options)
        return [value if type(value) is np.ndarray else _scalar(value) for value in found]


def load(name: str, version: int, path: Path, tags: Sequence[str], config: config_pb2.ConfigProto) -> Servable:
    """Load a SavedModel into a session of its own.

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
    return Servable(name, version, session, dict(meta_graph.signature_def))


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


def _resolve(name: str, definition: Any, graph: Any) -> Signature:
    def end(alias: str, info: Any, *, output: bool) -> End:
        try:
            tensor = graph.get_tensor_by_name(info.name)
        except (KeyError, ValueError):
            raise invalid(f"Signature {name} names {alias}: '{info.name}', which is no tensor of the graph") from None
        return End(info.name, tensor.dtype.as_datatype_enum if output else info.dtype, tensor._as_tf_output())

    return Signature(
        name,
        definition.method_name,
        {alias: end(alias, definition.inputs[alias], output=False) for alias in sorted(definition.inputs)},
        {alias: end(alias, definition.outputs[alias], output=True) for alias in sorted(definition.outputs)},
        {alias: to_array(definition.defaults[alias], alias) for alias in sorted(definition.defaults)},
    )


def _run_options(timeout_ms: int) -> Any:
    return c_api.TF_NewBufferFromString(config_pb2.RunOptions(timeout_in_ms=timeout_ms).SerializeToString())


def _scalar(value: Any) -> np.ndarray:
    """Return an array of rank 0; a string comes out of the C interface as bytes."""
    return np.array(value, dtype=object if isinstance(value, bytes) else None)
