"""Small .tflite files, converted once in a child process; and files with what a converter would not write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import legacy_keras
from tests.pipeline.formats import tiny

INT8_ENDS, INT8, FLOAT16 = "int8-ends.tflite", "int8.tflite", "float16.tflite"


def write(folder: Path) -> None:
    """Write INT8_ENDS (a batch of one), INT8 (float ends, any batch) and FLOAT16 of one model."""
    legacy_keras.load()
    import tensorflow as tf

    model = tiny.build()
    inputs = tiny.samples(40, seed=2)
    _convert(tf, model, (1, 8, 8, 1), folder / INT8_ENDS, inputs, int8_ends=True)
    _convert(tf, model, (None, 8, 8, 1), folder / INT8, inputs)
    _convert(tf, model, (None, 8, 8, 1), folder / FLOAT16)


def _convert(
    tf: Any, model: Any, shape: tuple[int | None, ...], path: Path, calibration: np.ndarray | None = None, *,
    int8_ends: bool = False,
) -> None:  # fmt: skip
    function = tf.function(lambda image: {"logits": model(image, training=False)})
    concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32, name="image"))
    module = tf.Module()
    module.model, module.function = model, function
    folder = path.with_suffix(".saved")
    tf.saved_model.save(module, str(folder), signatures={"serving_default": concrete})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if calibration is None:
        converter.target_spec.supported_types = [tf.float16]
    else:

        def samples() -> Iterator[dict[str, np.ndarray]]:
            for place in range(len(calibration)):
                yield {"image": calibration[place : place + 1]}

        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if int8_ends:
        converter.inference_input_type = converter.inference_output_type = tf.int8
    path.write_bytes(converter.convert())


def changed(path: Path, target: Path, change: Callable[[Any], None]) -> Path:
    """Write a .tflite whose object tree was changed, and return where."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    change(model)
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    target.write_bytes(bytes(builder.Output()))
    return target


def write_stateful(path: Path) -> None:
    """Write a file that remembers: an SVDF over two numbers, whose answer is of this sample and of the last one.

    Its state is a variable tensor, as an LSTM's is.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph, kind, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT(), schema.OperatorT()
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [kind]
    constants = {
        "features": np.ones((1, 2), np.float32),
        "times": np.array([[0.5, 1]], np.float32),
        "bias": np.zeros(1, np.float32),
    }
    model.buffers, graph.tensors = [schema.BufferT()], []
    for name, shape in {
        "image": (1, 2),
        "features": (1, 2),
        "times": (1, 2),
        "bias": (1,),
        "state": (1, 2),
        "sum": (1, 1),
    }.items():
        tensor, buffer = schema.TensorT(), schema.BufferT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), schema.TensorType.FLOAT32
        tensor.isVariable = name == "state"
        tensor.buffer = len(model.buffers)
        if name in constants:
            buffer.data = np.frombuffer(constants[name].tobytes(), np.uint8)
        model.buffers.append(buffer)
        graph.tensors.append(tensor)
    kind.builtinCode = kind.deprecatedBuiltinCode = schema.BuiltinOperator.SVDF
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1, 2, 3, 4], [5]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.SVDFOptions, schema.SVDFOptionsT()
    operator.builtinOptions.rank = 1
    graph.operators, graph.inputs, graph.outputs = [operator], [0], [5]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))


def another_operator(model: Any) -> None:
    """Make the average over pixels an operator that TFLM does not have."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    for code in model.operatorCodes:
        if code.builtinCode == BuiltinOperator.MEAN:
            code.builtinCode = code.deprecatedBuiltinCode = BuiltinOperator.REDUCE_PROD


def for_an_npu(model: Any) -> None:
    """Make the average over pixels what Vela puts in its place."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    for code in model.operatorCodes:
        if code.builtinCode == BuiltinOperator.MEAN:
            code.builtinCode = code.deprecatedBuiltinCode = BuiltinOperator.CUSTOM
            code.customCode = b"ethos-u"


def scale_for_each_channel(model: Any) -> None:
    """Dequantize the answer with a scale for each class."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    graph = model.subgraphs[0]
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if code.builtinCode == BuiltinOperator.DEQUANTIZE:
            about = graph.tensors[operator.inputs[0]].quantization
            about.scale, about.zeroPoint, about.quantizedDimension = [0.1, 0.2, 0.3, 0.4], [0] * 4, 1


def two_at_once(model: Any) -> None:
    """Give the input a fixed batch of two."""
    graph = model.subgraphs[0]
    tensor = graph.tensors[graph.inputs[0]]
    tensor.shape, tensor.shapeSignature = [2, *tensor.shape[1:]], None


def hostile_names(model: Any) -> None:
    """Call the input what would be code, if it were not a string."""
    for end in model.signatureDefs[0].inputs:
        end.name = b'*/ "; int main(void) { return 1; } /* \\'
