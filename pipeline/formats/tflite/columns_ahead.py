"""The scaling of a table's columns stays float in an int8 .tflite, and what is quantized comes behind it.

Quantization after training gives the raw input one range for all columns: one that reaches 300 leaves one that reaches
3 two steps of 256. And the converter makes the scaling part of the first dense layer, where nobody can tell it to leave
that alone, and whose weights then differ from column to column by as much. So what is converted is the model behind its
scaling, and MUL and ADD are put in front of it in the file.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pipeline.formats import ConversionError
from pipeline.predictor import Samples, Spec

# steps of 256 that an integer input leaves the narrowest column, at the least
_STEPS = 16
_ENDS = ("classification", "multilabel", "regression")


@dataclasses.dataclass(frozen=True)
class Ahead:
    """A model in two parts: `rest` takes `x * scale + offset`, both float32 [columns]."""

    rest: Any
    scale: np.ndarray
    offset: np.ndarray

    def scaled(self, samples: Samples) -> Samples:
        """Return raw samples of the one input as `rest` takes them."""
        assert isinstance(samples, np.ndarray)
        scaled: np.ndarray = (samples * self.scale + self.offset).astype(np.float32)
        return scaled


def scales(model: Any, spec: Spec) -> bool:
    """Return whether a Keras model begins by scaling the columns of a table, and can be taken apart there.

    What is added behind a reconstruction needs the raw input once more, so such a model stays whole; so does a graph
    without layers (`plain.model.PlainModel`).
    """
    return _first(model, spec) is not None


def require_one_scale(model: Any, spec: Spec) -> None:
    """Refuse integer ends where one scale for all columns would leave nothing of some.

    Raises:
        ConversionError: the widest column would leave the narrowest less than 16 steps of 256.
    """
    found = _first(model, spec)
    if found is None:
        return
    wide = 1 / np.abs(found[1][found[1] != 0])
    steps = 256 * float(wide.min() / wide.max()) if wide.size else 256.0
    if steps < _STEPS:
        raise ConversionError(
            f"{spec.input.name} cannot be an integer: it has one scale for all columns, whose ranges differ too much",
            expected=f"at least {_STEPS} of 256 steps for the narrowest column", found=f"{steps:.2g}",
            todo="take int8, whose ends are float32; or give the columns ranges that are alike",
        )  # fmt: skip


def of(model: Any, spec: Spec) -> Ahead:
    """Return the parts of a Keras model that `scales`; it is left as it is."""
    from pipeline.legacy_keras import load as load_keras

    keras = load_keras()
    found = _first(model, spec)
    assert found is not None
    layer, scale, offset = found
    copy = keras.models.clone_model(model)  # a model of the layers themselves would leave its calls in them
    copy.set_weights(model.get_weights())
    for one in copy.layers:
        if hasattr(one, "finalize_state"):  # Normalization computes with constants that it makes of its weights
            one.finalize_state()
    rest = keras.Model(copy.get_layer(layer.name).output, copy.outputs, name=model.name)
    return Ahead(rest, scale, offset)


def _first(model: Any, spec: Spec) -> tuple[Any, np.ndarray, np.ndarray] | None:
    """Return the layer that scales the columns, and by what; None where there is none."""
    if len(spec.inputs) > 1 or len(spec.input.shape) != 1 or any(head.task not in _ENDS for head in spec.heads):
        return None
    layers = getattr(model, "layers", [])
    behind = [node.layer for layer in layers if _is_input(layer) for node in layer._outbound_nodes]
    behind = [layer for layer in behind if layer in layers]
    numbers = _numbers(behind[0], spec.input.shape) if len(behind) == 1 else None
    if numbers is None or len(behind[0]._inbound_nodes) != 1:
        return None
    return behind[0], *numbers


def _is_input(layer: Any) -> bool:
    return type(layer).__name__ == "InputLayer"


def _numbers(layer: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    match type(layer).__name__:
        case "Rescaling" if np.ndim(layer.scale) == 1:
            scale, offset = np.asarray(layer.scale), np.asarray(layer.offset)
        case "Normalization" if not layer.invert:
            scale = 1 / np.maximum(np.sqrt(np.ravel(layer.mean * 0 + layer.variance)), 1e-7)
            offset = -np.ravel(layer.mean) * scale
        case _:
            return None
    return tuple(np.broadcast_to(one, shape).astype(np.float32) for one in (scale, offset))  # type: ignore[return-value]


def prepend(model: Any, ahead: Ahead) -> None:
    """Put `x * scale + offset` in front of the one input of a .tflite, which keeps its name.

    Args:
        model: the file as the object tree of LiteRT's schema; its input is float32 [batch, columns].
    """
    from ai_edge_litert import schema_py_generated as schema

    (graph,) = model.subgraphs
    (old,) = graph.inputs
    scaled = graph.tensors[old]

    def tensor(name: bytes, like: Any, values: np.ndarray | None = None) -> int:
        made = schema.TensorT()
        made.name, made.type, made.hasRank = name, schema.TensorType.FLOAT32, True
        made.shape = like.shape if values is None else np.array(values.shape, np.int32)
        made.shapeSignature = like.shapeSignature if values is None else None
        made.buffer = 0  # the empty one, by the format's rule
        if values is not None:
            data = schema.BufferT()
            data.data = np.frombuffer(values.tobytes(), np.uint8)
            model.buffers.append(data)
            made.buffer = len(model.buffers) - 1
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def operator(kind: str, options: Any, ends: list[int], result: int) -> Any:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        code.version = 1
        model.operatorCodes.append(code)
        made = schema.OperatorT()
        made.opcodeIndex = len(model.operatorCodes) - 1
        made.inputs, made.outputs = np.array(ends, np.int32), np.array([result], np.int32)
        made.builtinOptionsType = getattr(schema.BuiltinOptions, f"{kind.title()}Options")
        made.builtinOptions = options
        return made

    raw = tensor(scaled.name, scaled)
    product = tensor(b"scaling/mul", scaled)
    scaled.name = b"scaling/add"
    scale, offset = (
        tensor(name, scaled, values)
        for name, values in ((b"scaling/scale", ahead.scale), (b"scaling/offset", ahead.offset))
    )
    graph.operators[:0] = [
        operator("MUL", schema.MulOptionsT(), [raw, scale], product),
        operator("ADD", schema.AddOptionsT(), [product, offset], old),
    ]
    graph.inputs = np.array([raw], np.int32)
    for signature in model.signatureDefs or []:
        for end in signature.inputs:
            end.tensorIndex = raw
