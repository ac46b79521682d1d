"""An operation in ONNX Runtime: a graph of copies that read one input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.measuring.layer_operations import Operation

OPSET = 17
_IR_VERSION = 8


def program(operation: Operation, inputs: int, outputs: int, copies: int, *, threads: int) -> Callable[[], object]:
    """Return what runs so many copies of an operation on one input, at these widths, with ends bound beforehand."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3  # errors
    content = graph(operation, inputs, outputs, copies).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    binding, random = session.io_binding(), np.random.default_rng(0)
    held = []
    for end in session.get_inputs():
        held.append(onnxruntime.OrtValue.ortvalue_from_numpy(random.normal(size=end.shape).astype(np.float32)))
        binding.bind_ortvalue_input(end.name, held[-1])
    for end in session.get_outputs():
        held.append(onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(end.shape, np.float32)))
        binding.bind_ortvalue_output(end.name, held[-1])

    def run(held: Any = held) -> None:  # noqa: ARG001 - the bound values live as long as this
        session.run_with_iobinding(binding)

    return run


def graph(operation: Operation, inputs: int, outputs: int, copies: int) -> Any:
    """Return the model: the maps are [1, channels, height, width]."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    dense = operation.kind == "dense"
    given = [operation.size[0], inputs] if dense else [1, inputs, *operation.size]
    made = [operation.size[0], outputs] if dense else [1, outputs, *operation.sides]
    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, values: Any) -> str:
        constants.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def node(kind: str, ends: list[str], **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, ends, [f"t{len(nodes)}"], **attributes))
        return f"t{len(nodes) - 1}"

    shape = (inputs, outputs) if dense else (outputs, 1 if operation.kind == "depthwise" else inputs, *operation.kernel)
    ends = []
    for copy in range(copies):
        # its own: one that all copies read stays in the cache, and a product with a vector then takes a third
        kernel = constant(f"kernel_{copy}", 0.1 * random.standard_normal(size=shape, dtype=np.float32))
        bias = constant(f"bias_{copy}", random.normal(size=outputs))
        if dense:
            y = node("Gemm", ["x", kernel, bias])
        else:
            y = node(
                "Conv", ["x", kernel, bias], kernel_shape=list(operation.kernel), strides=list(operation.strides),
                dilations=list(operation.dilation), pads=list(operation.pads),
                group=inputs if operation.kind == "depthwise" else 1,
            )  # fmt: skip
        y = node("Add", [y, "other"]) if operation.add else y
        match operation.activation:
            case "relu":
                y = node("Relu", [y])
            case "relu6":
                limits = [constant(f"low_{copy}", 0.0), constant(f"high_{copy}", 6.0)]
                y = node("Clip", [y, *limits])
            case "swish":
                y = node("Mul", [y, node("Sigmoid", [y])])
        if not dense:
            # one number of each channel: the runtime's own order of channels need not be undone for a whole map
            y = node("MaxPool", [y], kernel_shape=[1, 1], strides=list(operation.sides))
        ends.append(y)
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, given)]
    values += [helper.make_tensor_value_info("other", TensorProto.FLOAT, made)] if operation.add else []
    read = made if dense else [1, outputs, 1, 1]
    results = [helper.make_tensor_value_info(end, TensorProto.FLOAT, read) for end in ends]
    opsets = [helper.make_opsetid("", OPSET)]
    whole = helper.make_graph(nodes, "copies", values, results, constants)
    return helper.make_model(whole, opset_imports=opsets, ir_version=_IR_VERSION)
