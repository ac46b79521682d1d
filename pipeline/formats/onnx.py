"""ONNX: float from the Keras model, QDQ from the int8 .tflite, run in ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.formats import converting, labels, recurrent
from pipeline.formats.operators import Operators, Way, count
from pipeline.predictor import Samples, Spec, require_ends

OPSET = 18  # the newest that tf2onnx writes


def write(model: Any, path: Path, spec: Spec) -> None:
    """Write a Keras model as a float32 ONNX file with a dynamic batch.

    Raises:
        ConversionError: tf2onnx or the ONNX checker refuses the model.
    """
    from pipeline.formats.saved_model import serving_function

    with converting("onnx float32"):
        import tf2onnx

        # Not guarded: ONNX Runtime compares shapes with the file by itself.
        function = serving_function(model, spec, guarded=False)
        proto, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=OPSET)
        _embed_captured(proto.graph, function.get_concrete_function())
        content = _finished(proto, {}, spec)
    path.write_bytes(content)


def _embed_captured(graph: Any, function: Any) -> None:
    """Make initializers of what tf2onnx takes for inputs: constants that a layer computes with (Normalization's)."""
    import onnx

    values = {inside.name: outside for outside, inside in function.graph.captures if outside.dtype.name != "resource"}
    for end in [end for end in graph.input if end.name in values]:
        graph.input.remove(end)
        graph.initializer.append(onnx.numpy_helper.from_array(values[end.name].numpy(), end.name))


def write_from_tflite(tflite_path: Path, onnx_path: Path, spec: Spec) -> None:
    """Write an int8 .tflite as a QDQ ONNX file (QuantizeLinear, DequantizeLinear) with a dynamic batch.

    From the .tflite and not from Keras, because tf2onnx has no handler for per-channel fake quantization; and so both
    files hold the same integers.

    Raises:
        ConversionError: tf2onnx or the ONNX checker refuses the file.
    """
    from pipeline import legacy_keras
    from pipeline.formats import tflite

    legacy_keras.load()
    signature, tensors = tflite.signature(tflite_path), tflite.tensor_names(tflite_path)
    require_ends(
        tflite_path.name,
        spec,
        inputs={one.name: (None, *one.shape) for one in spec.inputs if one.name in signature["inputs"]},
        outputs=signature["outputs"],
    )
    if tflite.batch(tflite_path) is not None:
        raise recurrent.one_at_a_time(tflite_path.name)
    names = {tensors[index]: name for ends in signature.values() for name, index in ends.items()}
    with converting("onnx int8"):
        import tf2onnx

        proto, _ = tf2onnx.convert.from_tflite(str(tflite_path), opset=OPSET)
        content = _finished(proto, names, spec)
    onnx_path.write_bytes(content)


def _finished(proto: Any, names: dict[str, str], spec: Spec) -> bytes:
    """Return the file's bytes: ends renamed by `names`, batch dimension free, in canonical order, checked.

    Its metadata are the names of the spec's classes and nothing else.
    """
    import onnx

    from pipeline.formats.onnx_canonical import canonicalize

    graph = proto.graph
    for end in (*graph.input, *graph.output):
        end.type.tensor_type.shape.dim[0].dim_param = "batch"
    canonicalize(graph, names)
    onnx.helper.set_model_props(proto, labels.properties(spec))
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString(deterministic=True))


class OnnxPredictor:
    """An .onnx in ONNX Runtime."""

    def __init__(self, session: Any, spec: Spec) -> None:
        self._session, self._spec, self._outputs = session, spec, list(spec.outputs)

    def predict(self, batch: Samples) -> dict[str, np.ndarray]:
        """See `Predictor.predict`."""
        return dict(zip(self._outputs, self._session.run(self._outputs, self._spec.named(batch)), strict=True))

    def close(self) -> None:
        """Drop the session and its arena."""
        self._session = None


def load(path: Path, spec: Spec, threads: int, *, spinning: bool = True) -> OnnxPredictor:
    """Load an .onnx on the CPU, operators one after another.

    Args:
        path: the file.
        spec: names and shapes.
        threads: threads inside one operator.
        spinning: let idle threads spin for the next operator: lower latency, but they take the cores from others.

    Raises:
        FormatError: inputs and outputs are not the spec's.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3  # errors
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    shapes = {end.name: tuple(end.shape) for end in session.get_inputs()}
    require_ends(path.name, spec, inputs=shapes, outputs=[end.name for end in session.get_outputs()])
    return OnnxPredictor(session, spec)


def kernels(path: Path) -> dict[str, np.ndarray]:
    """Return the weight initializers of rank 2 and more, by name, as they are stored (QDQ: the integers).

    Where the integer that means 0 is another one, it is subtracted: int16.
    """
    import onnx

    graph = onnx.load(str(path)).graph
    found = {item.name: onnx.numpy_helper.to_array(item) for item in _initializers(graph)}
    nodes = _nodes(graph)
    # an Embedding's integers are looked up first, and what was found is dequantized
    tables = {node.output[0]: node.input[0] for node in nodes if node.op_type == "Gather"}
    for node in nodes:
        if node.op_type == "DequantizeLinear" and len(node.input) == 3:
            name = tables.get(node.input[0], node.input[0])
            values, zero = found.get(name), found.get(node.input[2])
            if values is not None and values.dtype == np.int8 and zero is not None and zero.size == 1 and zero.item():
                found[name] = values.astype(np.int16) - np.int16(zero.item())
    # Shapes, paddings and indices are int32 or int64, and no weights.
    return {
        name: array
        for name, array in found.items()
        if array.ndim >= 2 and (array.dtype.kind == "f" or array.dtype in (np.int8, np.uint8, np.int16))
    }


def _initializers(graph: Any) -> list[Any]:
    """Return the initializers of a graph and of the bodies of its loops and branches."""
    bodies = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return [*graph.initializer, *(item for body in bodies for item in _initializers(body))]


def operators(path: Path) -> Operators:
    """Count the file's operators by the types of their tensors; what only handles shapes is left out.

    In a QDQ file an operator between DequantizeLinear and QuantizeLinear is an integer one: a runtime may fuse the
    three. Whether ONNX Runtime has an integer kernel for it (it has none for ReduceMean), the file does not say.
    """
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load(str(path))).graph
    nodes, types = _nodes(graph), _types(graph)
    makers = {name: node for node in nodes for name in node.output}
    fused = _fused(graph, nodes, types, makers)
    found: list[tuple[str, Way]] = []
    for node in nodes:
        seen = {types.get(name) for name in (*node.input, *node.output)}
        casts = node.op_type == "Cast" and seen & _FLOATS and seen & _NARROW
        if node.op_type in _CONVERSIONS or casts:
            found.append((node.op_type, "conversion"))
        elif _has_body(node) or not {types.get(name) for name in node.output} & (_FLOATS | _NARROW):
            continue
        elif not seen & _FLOATS or node.op_type.startswith("QLinear") or node.output[0] in fused:
            found.append((node.op_type, "integer"))
        else:
            found.append((node.op_type, "floating"))
    return count(found, _channel_axes(nodes, makers))


def _fused(graph: Any, nodes: list[Any], types: dict[str, int], makers: dict[str, Any]) -> set[str]:
    """Return what is made between DequantizeLinear and QuantizeLinear, and read by nothing else."""
    reads = Counter([*(name for node in nodes for name in node.input), *(end.name for end in graph.output)])
    lowest = {item.name: _is_lowest(item) for item in graph.initializer}

    def between(node: Any) -> bool:
        sources = [makers.get(name) for name in node.input if types.get(name) in _FLOATS]
        dequantized = all(source is not None and source.op_type == "DequantizeLinear" for source in sources)
        return bool(sources) and dequantized and reads[node.output[0]] == 1

    fused: set[str] = set()
    for quantize in (node for node in nodes if node.op_type == "QuantizeLinear"):
        node = makers.get(quantize.input[0])
        if node is None:
            continue
        inner = makers.get(node.input[0]) if node.input else None
        # a Relu before it disappears where the lowest integer means 0; Clip has the bounds of the integers
        clips = node.op_type == "Clip" or (
            node.op_type == "Relu" and (len(quantize.input) < 3 or lowest.get(quantize.input[2], False))
        )
        if between(node):
            fused.add(node.output[0])
        elif clips and inner is not None and reads[node.output[0]] == 1 and between(inner):
            fused |= {node.output[0], inner.output[0]}
    return fused


def _is_lowest(item: Any) -> bool:
    import onnx

    zero_point = onnx.numpy_helper.to_array(item)
    return zero_point.dtype in (np.int8, np.uint8, np.int16, np.uint16) and bool(
        np.all(zero_point == np.iinfo(zero_point.dtype).min)
    )


def _channel_axes(nodes: list[Any], makers: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return kernel -> the axes of its output channels: OIHW, or [in, out] unless Gemm transposes it."""
    axes: dict[str, tuple[int, ...]] = {}
    for node in nodes:
        if node.op_type not in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
            continue
        name = node.input[1]
        while name in makers and makers[name].op_type == "DequantizeLinear":
            name = makers[name].input[0]
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        rows = node.op_type == "Conv" or (node.op_type == "Gemm" and transposed)
        axes[name] = (0,) if rows else (1,)
    return axes


_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
# numbers of onnx.TensorProto.DataType: float, float16, double, bfloat16; uint8, int8, uint16, int16, uint4, int4
_FLOATS = frozenset({1, 10, 11, 16})
_NARROW = frozenset({2, 3, 4, 5, 21, 22})


def _has_body(node: Any) -> bool:
    """Whether the node is a loop or a branch."""
    return any(attribute.HasField("g") for attribute in node.attribute)


def _nodes(graph: Any) -> list[Any]:
    """Return the nodes of a graph and of the bodies of its loops and branches."""
    bodies = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return [*graph.node, *(node for body in bodies for node in _nodes(body))]


def _types(graph: Any) -> dict[str, int]:
    """Return tensor -> number of its type, in a graph and in the bodies of its loops and branches."""
    ends = (*graph.input, *graph.output, *graph.value_info)
    types = {end.name: int(end.type.tensor_type.elem_type) for end in ends}
    types |= {item.name: int(item.data_type) for item in graph.initializer}
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        if attribute.HasField("g"):
            types |= _types(attribute.g)
    return types
