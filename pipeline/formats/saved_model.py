"""SavedModel: what TF Serving serves, written with a guarded serving function and loaded in process.

The bytes of saved_model.pb and of the variables follow from the model alone, not from what the process did before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import legacy_keras
from pipeline.errors import RunError
from pipeline.formats import converting, ends
from pipeline.formats.operators import Operators, Way, count
from pipeline.formats.text_graph import TextGraph
from pipeline.predictor import Ends, FormatError, Samples, Spec, require_ends
from pipeline.signature import End, Signature

if TYPE_CHECKING:
    import numpy as np

SIGNATURE = "serving_default"
VERSION = "1"


def serving_function(
    model: Any, spec: Spec, *, guarded: bool, batch: int | None = None, texts: Mapping[str, TextGraph] | None = None
) -> Any:
    """Return a tf.function from raw samples float32 [n, *shape], n dynamic, one for each input, to the spec's outputs.

    Texts go in as token ids int32 [n, length], or as strings [n] where `texts` makes token ids of them.

    Args:
        model: a Keras model that ends in what the spec's heads want.
        spec: names and shapes.
        guarded: check the shapes inside the graph first. TF Serving compares no shapes with the signature: without
            the check a wrong rank can kill the server, and a wrong channel count can be answered.
        batch: the only n that it takes; None: any.
        texts: by input.
    """
    legacy_keras.load()
    import tensorflow as tf

    made = texts or {}
    names = [one.name for one in spec.inputs]
    shapes = [[batch, *(one.raw_shape if one.name in made else one.shape)] for one in spec.inputs]
    types = [
        tf.float32 if one.vectorizer is None else tf.string if one.name in made else tf.int32 for one in spec.inputs
    ]

    def serve(*samples: Any) -> dict[str, Any]:
        if guarded:
            samples = tuple(map(tf.ensure_shape, samples, shapes))
        given = dict(zip(names, samples, strict=True))
        return ends.answers(model, spec, given | {name: graph(given[name]) for name, graph in made.items()})

    signature = [tf.TensorSpec(*one) for one in zip(shapes, types, names, strict=True)]
    return tf.function(serve, autograph=False, input_signature=signature)


def write(model: Any, folder: Path, spec: Spec, *, batch: int | None = None, strings: bool = True) -> None:
    """Write the model as `folder/1/`, without Keras metadata.

    Args:
        model: a Keras model that ends in what the spec's heads want.
        folder: the model's base path as TF Serving takes it; made if missing.
        spec: names and shapes.
        batch: the only number of samples that it takes; None: any.
        strings: texts go in as strings; else as token ids, for a converter.

    Raises:
        ConversionError: the model cannot be traced with such a batch.
    """
    legacy_keras.load()
    import tensorflow as tf

    texts = {one.name: TextGraph(one.vectorizer) for one in spec.inputs if one.vectorizer and strings}
    with converting("saved_model float32"):
        function = serving_function(model, spec, guarded=True, batch=batch, texts=texts).get_concrete_function()
    module = tf.Module()
    module.tables = [graph.table for graph in texts.values()]
    used = {variable.ref() for variable in function.graph.variables}
    module.weights_ = [variable for variable in model.variables if variable.ref() in used]
    target = folder / VERSION
    tf.saved_model.save(module, str(target), signatures={SIGNATURE: function})
    # Random at every save, and only a label: TensorFlow's loaders, in Python and in C++, do without it.
    (target / "fingerprint.pb").unlink(missing_ok=True)
    _renumber_functions(target / "saved_model.pb")


def _renumber_functions(path: Path) -> None:
    """Replace the process-wide counter in function names (`__inference_serve_412`) by a count from 0 per name."""
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    for meta_graph in proto.meta_graphs:
        numbered = [re.fullmatch(r"(.+)_(\d+)", f.signature.name) for f in meta_graph.graph_def.library.function]
        # The counter only grows, so its order is the order of tracing.
        for match in sorted((m for m in numbered if m), key=lambda m: int(m[2])):
            names[match[0]] = f"{match[1]}_{counts.get(match[1], 0)}"
            counts[match[1]] = counts.get(match[1], 0) + 1
        _rename(meta_graph, names)
        for function in meta_graph.graph_def.library.function:
            _rename(function, _forget_variables(function))
        functions = sorted(meta_graph.graph_def.library.function, key=lambda f: str(f.signature.name))
        copies = [type(function).FromString(function.SerializeToString()) for function in functions]
        del meta_graph.graph_def.library.function[:]
        meta_graph.graph_def.library.function.extend(copies)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def _forget_variables(function: Any) -> dict[str, str]:
    """Take the process-wide numbers of captured variables out of a function; return new names of its arguments."""
    for argument in function.arg_attr.values():
        # A captured variable has no name from a user; what stands here is its number in this process.
        if "_user_specified_name" in argument.attr and argument.attr["_user_specified_name"].s.isdigit():
            del argument.attr["_user_specified_name"]
    arguments = {argument.name: place for place, argument in enumerate(function.signature.input_arg)}
    names: dict[str, str] = {}
    for node in function.node_def:
        # An Embedding asks to run where its variable is, as which it has that number. It does so anyway.
        places = (
            [place.decode().rpartition("/") for place in node.attr["_class"].list.s] if "_class" in node.attr else []
        )
        numbers = {number for scope, _, number in places if scope and number.isdigit()}
        found = [name for name in node.input if name in arguments and name.rpartition("_")[2] in numbers]
        if found:
            del node.attr["_class"]
        names |= {name: f"{name.rpartition('_')[0]}_{arguments[name]}" for name in found}
    return names


def _rename(message: Any, names: dict[str, str]) -> None:
    """Replace every string of a protobuf message, map keys included, that is a key of `names`."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            if isinstance(value, str):
                setattr(message, field.name, names.get(value, value))
            else:
                value[:] = [names.get(text, text) for text in value]
        elif field.type != field.TYPE_MESSAGE:
            continue
        elif field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].type != field.TYPE_MESSAGE:
                continue
            for item in value.values():
                _rename(item, names)
            moved = {key: type(value[key]).FromString(value[key].SerializeToString()) for key in value if key in names}
            for key in moved:
                del value[key]
            for key, item in moved.items():
                value[names[key]].CopyFrom(item)
        elif hasattr(value, "ListFields"):
            _rename(value, names)
        else:
            for item in value:
                _rename(item, names)


class SavedModelPredictor:
    """A SavedModel in a session of this process's TensorFlow."""

    def __init__(self, session: Any, function: Callable[..., Any], signature: Signature, ends: Ends) -> None:
        self.signature = signature
        self._session, self._function = session, function
        self._named, self._names, self._outputs = ends.named, ends.names, ends.outputs

    def predict(self, batch: Samples) -> dict[str, np.ndarray]:
        """See `Predictor.predict`."""
        given = self._named(batch)
        found = self._function(*(given[name] for name in self._names))
        return dict(zip(self._outputs, found, strict=True))

    def close(self) -> None:
        """End the session and drop its variables."""
        self._session.close()


def load(path: Path, spec: Spec | None, threads: int) -> SavedModelPredictor:
    """Load `path/1/`, or the version folder `path` itself, with TensorFlow in this process.

    It runs in a session, as TF Serving runs it: called as a function of TensorFlow 2, a small model takes twice the
    time, and the surplus is no property of the model.

    Args:
        path: the folder that holds `1/` or saved_model.pb.
        spec: names and shapes; None: those of the model, whatever they are (`SavedModelPredictor.signature`).
        threads: threads inside one operation; operations run one after another. TensorFlow fixes both for the
            whole process at its first use.

    Raises:
        RunError: TensorFlow already runs in this process with another number of threads.
        FormatError: there is no signature `serving_default`, or it is not the spec's.
    """
    legacy_keras.load()
    import tensorflow as tf
    from tensorflow.core.protobuf import config_pb2

    pin_threads(threads)
    v1 = tf.compat.v1
    config = v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1)
    session = v1.Session(graph=tf.Graph(), config=config)
    folder = path if (path / "saved_model.pb").is_file() else path / VERSION
    with session.graph.as_default():
        signatures = v1.saved_model.load(session, [tf.saved_model.SERVING], str(folder)).signature_def
    session.graph.finalize()
    if SIGNATURE not in signatures:
        raise FormatError(
            f"{path.name} has no signature {SIGNATURE}", expected=SIGNATURE,
            found=" and ".join(sorted(signatures)) or "no signature", todo=f"export it with a signature {SIGNATURE}",
        )  # fmt: skip
    signature = signatures[SIGNATURE]
    found = Signature(
        *(tuple(_end(*item) for item in sorted(ends.items())) for ends in (signature.inputs, signature.outputs))
    )
    if spec is not None:
        shapes = {end.name: end.shape or () for end in found.takes}
        require_ends(path.name, spec, inputs=shapes, outputs=list(signature.outputs), strings=True)
    wanted: Ends = found if spec is None else spec
    # Not Session.make_callable: its checks in Python cost as much as a small model.
    options = config_pb2.CallableOptions(
        feed=[signature.inputs[name].name for name in wanted.names],
        fetch=[signature.outputs[name].name for name in wanted.outputs],
    )
    return SavedModelPredictor(session, session._make_callable_from_options(options), found, wanted)


def _end(name: str, info: Any) -> End:
    import tensorflow as tf

    dtype = tf.dtypes.as_dtype(info.dtype).name
    if info.tensor_shape.unknown_rank:
        return End(name, dtype, None)
    return End(name, dtype, tuple(None if dim.size < 0 else int(dim.size) for dim in info.tensor_shape.dim))


def pin_threads(threads: int) -> None:
    """Fix TensorFlow's threads: `threads` inside an operation, one between operations.

    A runtime that is already running is left alone if it has that number inside an operation.

    Raises:
        RunError: it has another number.
    """
    import tensorflow as tf

    try:
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.constant(0)  # starts the runtime, so that a later call with another number is noticed
    except RuntimeError as error:
        # 0 leaves the choice to the environment, else to the number of cores.
        pinned = int(tf.config.threading.get_intra_op_parallelism_threads())
        running = pinned or int(os.environ.get("TF_NUM_INTRAOP_THREADS", "0")) or len(os.sched_getaffinity(0))
        if running != threads:
            raise RunError(
                "TensorFlow's threads cannot be changed once it runs",
                expected=f"{threads} in this process",
                found=f"{running}",
                todo="load the model in a fresh process",
            ) from error


def kernels(path: Path) -> dict[str, np.ndarray]:
    """Return the float weights of rank 2 and more in `path/1/variables`, by variable name; the graph does not run."""
    legacy_keras.load()
    import tensorflow as tf
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    reader = tf.train.load_checkpoint(str(path / VERSION / "variables" / "variables"))
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
        reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    )
    found = {}
    for attribute in (attribute for node in graph.nodes for attribute in node.attributes):
        key = attribute.checkpoint_key
        if len(reader.get_variable_to_shape_map()[key]) >= 2 and reader.get_variable_to_dtype_map()[key].is_floating:
            # variables that were never named share a name
            found[attribute.full_name if attribute.full_name not in found else key] = reader.get_tensor(key)
    return found


def operators(path: Path) -> Operators:
    """Count the operations that the serving signature of `path/1/` needs, through all the functions it calls.

    All that compute do so in float; fake quantization, of weights and of activations, is counted apart.
    """
    legacy_keras.load()
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel.FromString((path / VERSION / "saved_model.pb").read_bytes())
    meta_graph = proto.meta_graphs[0]
    calls = _Calls({function.signature.name: function for function in meta_graph.graph_def.library.function})
    outputs = meta_graph.signature_def[SIGNATURE].outputs
    calls.walk(meta_graph.graph_def.node, [outputs[name].name for name in sorted(outputs)], {})
    return count(calls.found, calls.channel_axes)


# They carry values about, or say something of their shape.
_PLUMBING = frozenset(
    {"Const", "EnsureShape", "Identity", "IdentityN", "Placeholder", "Shape", "ShapeN", "StopGradient"}
)
# HWIO, HWIM for depthwise (I * M come out), HWOI for transposed, [in, out]
_CHANNEL_AXES = {
    "Conv2D": (3,),
    "Conv3D": (4,),
    "DepthwiseConv2dNative": (2, 3),
    "Conv2DBackpropInput": (2,),
    "MatMul": (1,),
}


class _Calls:
    """Collects operations from a graph and from the functions that it calls."""

    def __init__(self, library: dict[str, Any]) -> None:
        self._library = library
        self.found: list[tuple[str, Way]] = []
        self.channel_axes: dict[str, tuple[int, ...]] = {}

    def walk(self, nodes: Any, outputs: list[str], variables: dict[str, str | None]) -> None:
        """Add what the outputs need, what is needed first coming first.

        Args:
            nodes: of a graph or a function.
            outputs: names of its tensors.
            variables: the function's argument -> the variable that it stands for.
        """
        by_name = {node.name: node for node in nodes}
        done: set[str] = set()
        stack = [(_node(name), False) for name in reversed(outputs)]
        while stack:
            name, ready = stack.pop()
            if name not in by_name or (name in done and not ready):
                continue
            done.add(name)
            node = by_name[name]
            if not ready:
                stack.append((name, True))
                stack.extend((_node(needed), False) for needed in reversed(node.input))
            else:
                self._add(node, by_name, variables)

    def _add(self, node: Any, by_name: dict[str, Any], variables: dict[str, str | None]) -> None:
        called = [value.func.name for value in node.attr.values() if value.func.name in self._library]
        given = [_variable(name, by_name, variables) for name in node.input if not name.startswith("^")]
        for function in (self._library[name] for name in called):
            arguments = [argument.name for argument in function.signature.input_arg]
            # a branch is called without the condition that comes before its arguments
            known = dict(zip(arguments, given[len(given) - len(arguments) :], strict=True))
            self.walk(function.node_def, list(function.ret.values()), known)
        if node.op.startswith(("FakeQuant", "QuantizeAndDequantize")):
            self.found.append((node.op, "fake_quant"))
        elif not called and node.op not in _PLUMBING and _is_float(node):
            self.found.append((node.op, "floating"))
        if node.op in _CHANNEL_AXES and (kernel := given[1]):
            transposed = node.attr["transpose_b"].b
            self.channel_axes[kernel] = (0,) if transposed else _CHANNEL_AXES[node.op]


def _node(tensor: str) -> str:
    """Return the name of the node that makes a tensor ("node:0", "node:output:0", "^node")."""
    return tensor.removeprefix("^").partition(":")[0]


def _is_float(node: Any) -> bool:
    """Whether the node's values are floats; counts and shapes are integers, variables are resources."""
    from tensorflow.core.framework import types_pb2

    return node.attr["T"].type in (types_pb2.DT_FLOAT, types_pb2.DT_HALF, types_pb2.DT_BFLOAT16, types_pb2.DT_DOUBLE)


def _variable(tensor: str, by_name: dict[str, Any], variables: dict[str, str | None]) -> str | None:
    """Return the name of the variable whose value a tensor is, perhaps quantized; None where it is another value."""
    name = _node(tensor)
    while name in by_name:
        node = by_name[name]
        if node.op == "VarHandleOp":
            return str(node.attr["shared_name"].s.decode())
        if node.op not in ("ReadVariableOp", "Identity", "Cast") and not node.op.startswith("FakeQuant"):
            return None
        name = _node(node.input[0])
    return variables.get(name)
