"""An operation in LiteRT: a .tflite of copies that read one input, of LiteRT's own schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.measuring.layer_operations import Operation

_FUSED = {"relu": "RELU", "relu6": "RELU6"}
_SCALE = 0.05  # of int8 activations and weights: any will do, the time does not depend on it


def program(
    operation: Operation, inputs: int, outputs: int, copies: int, *, threads: int, integer: bool = False
) -> Callable[[], object]:
    """Return what runs so many copies of an operation on one input, at these widths."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(
        model_content=content(operation, inputs, outputs, copies, integer=integer), num_threads=threads
    )
    interpreter.allocate_tensors()
    random = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        values = random.normal(size=detail["shape"]) * (40 if integer else 1)
        interpreter.set_tensor(detail["index"], values.astype(detail["dtype"]))
    invoke: Callable[[], object] = interpreter.invoke
    return invoke


def content(operation: Operation, inputs: int, outputs: int, copies: int, *, integer: bool = False) -> bytes:
    """Return the file: int8 with scales per channel where `integer`, else float32.

    The copies have one kernel, of which the runtime packs one for each, and a bias each.
    """
    return _Writer(integer).write(operation, inputs, outputs, copies)


class _Writer:
    """A file that grows tensor by tensor, operator by operator."""

    def __init__(self, integer: bool) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema, self._integer = schema, integer
        self._random = np.random.default_rng(0)
        self._model, self._graph = schema.ModelT(), schema.SubGraphT()
        self._model.version, self._model.description = 3, b"copies of one operation"
        self._model.operatorCodes, self._model.buffers = [], [schema.BufferT()]
        self._graph.tensors, self._graph.operators, self._graph.name = [], [], b"main"
        self._kernels: dict[tuple[int, ...], int] = {}
        self._model.subgraphs = [self._graph]

    def write(self, operation: Operation, inputs: int, outputs: int, copies: int) -> bytes:
        import flatbuffers

        dense = operation.kind == "dense"
        given = (operation.size[0], inputs) if dense else (1, *operation.size, inputs)
        made = (operation.size[0], outputs) if dense else (1, *operation.sides, outputs)
        x = self._tensor(given)
        ends, results = [x], []
        other = self._tensor(made) if operation.add else None
        ends += [] if other is None else [other]
        for _ in range(copies):
            y = self._tensor(made)
            self._multiply(operation, x, inputs, outputs, y, "" if other is not None else operation.activation)
            if other is not None:
                options = self._schema.AddOptionsT()
                options.fusedActivationFunction = self._fused(operation.activation)
                y = self._operator("ADD", "AddOptions", options, [y, other], made)
            if operation.activation == "swish":
                gate = self._operator("LOGISTIC", None, None, [y], made, sigmoid=True)
                y = self._operator("MUL", "MulOptions", self._schema.MulOptionsT(), [y, gate], made)
            results.append(y)
        self._graph.inputs, self._graph.outputs = np.array(ends, np.int32), np.array(results, np.int32)
        held = sum(len(one.data) for one in self._model.buffers if one.data is not None)
        builder = flatbuffers.Builder(held + (1 << 16))  # as it grows it is there twice
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _multiply(self, operation: Operation, x: int, inputs: int, outputs: int, y: int, activation: str) -> None:
        """Add the operator with weights, from tensor `x` to tensor `y`."""
        schema, (height, width) = self._schema, operation.kernel
        options: Any
        shape: tuple[int, ...]
        match operation.kind:
            case "dense":
                kind, options, shape, axis = "FULLY_CONNECTED", schema.FullyConnectedOptionsT(), (outputs, inputs), 0
            case "conv":
                kind, options, axis = "CONV_2D", schema.Conv2DOptionsT(), 0
                shape = (outputs, height, width, inputs)
            case "depthwise":
                kind, options, axis = "DEPTHWISE_CONV_2D", schema.DepthwiseConv2DOptionsT(), 3
                shape = (1, height, width, outputs)
                options.depthMultiplier = 1
        if operation.kind != "dense":
            options.padding = schema.Padding.SAME if operation.same else schema.Padding.VALID
            options.strideH, options.strideW = operation.strides
            options.dilationHFactor, options.dilationWFactor = operation.dilation
        options.fusedActivationFunction = self._fused(activation)
        if shape not in self._kernels:
            self._kernels[shape] = self._weights(shape, axis)
        weights = [self._kernels[shape], self._bias(outputs)]
        self._operator(kind, type(options).__name__.removesuffix("T"), options, [x, *weights], (), result=y)

    def _fused(self, activation: str) -> int:
        return int(getattr(self._schema.ActivationFunctionType, _FUSED.get(activation, "NONE")))

    def _operator(
        self, kind: str, options_type: str | None, options: Any, ends: list[int], made: tuple[int, ...], *,
        result: int | None = None, sigmoid: bool = False,
    ) -> int:  # fmt: skip
        schema = self._schema
        result = self._tensor(made, sigmoid=sigmoid) if result is None else result
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        # with int8 weights per channel
        code.version = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4}.get(kind, 2) if self._integer else 1
        self._model.operatorCodes.append(code)
        made_operator = schema.OperatorT()
        made_operator.opcodeIndex = len(self._model.operatorCodes) - 1
        made_operator.inputs, made_operator.outputs = np.array(ends, np.int32), np.array([result], np.int32)
        if options_type is not None:
            made_operator.builtinOptionsType = getattr(schema.BuiltinOptions, options_type)
            made_operator.builtinOptions = options
        self._graph.operators.append(made_operator)
        return result

    def _weights(self, shape: tuple[int, ...], axis: int) -> int:
        if self._integer:
            whole = self._random.integers(-127, 128, size=shape, dtype=np.int8)
            return self._tensor(shape, whole, scales=shape[axis], axis=axis)
        values = self._random.random(size=shape, dtype=np.float32)
        values -= 0.5
        return self._tensor(shape, values)

    def _bias(self, count: int) -> int:
        if self._integer:
            return self._tensor((count,), np.zeros(count, np.int32), scales=count, scale=_SCALE * _SCALE)
        return self._tensor((count,), np.zeros(count, np.float32))

    def _tensor(
        self, shape: tuple[int, ...], values: np.ndarray | None = None, *, scales: int = 1, scale: float = _SCALE,
        axis: int = 0, sigmoid: bool = False,
    ) -> int:  # fmt: skip
        schema = self._schema
        made = schema.TensorT()
        made.shape, made.hasRank = np.array(shape, np.int32), True
        made.name = f"tensor_{len(self._graph.tensors)}".encode()
        made.type, made.buffer = schema.TensorType.INT8 if self._integer else schema.TensorType.FLOAT32, 0
        if self._integer:
            if values is not None and values.dtype == np.int32:
                made.type = schema.TensorType.INT32
            made.quantization = schema.QuantizationParametersT()
            # by the specification of int8 kernels, a sigmoid's result is in units of 1 / 256 above -128
            made.quantization.scale = np.full(scales, 1 / 256 if sigmoid else scale, np.float32)
            made.quantization.zeroPoint = np.full(scales, -128 if sigmoid else 0, np.int64)
            made.quantization.quantizedDimension = axis
        if values is not None:
            data = schema.BufferT()
            data.data = values.reshape(-1).view(np.uint8)
            self._model.buffers.append(data)
            made.buffer = len(self._model.buffers) - 1
        self._graph.tensors.append(made)
        return len(self._graph.tensors) - 1
