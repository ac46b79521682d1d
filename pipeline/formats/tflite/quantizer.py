"""ai-edge-quantizer: the kernels of a float32 .tflite become int8 or int4, all of them or each layer's as it is told.

What is computed is decided by what is stored: `weight-*` kernels are made floats again as a file is loaded, with
`dynamic-*` ones an operator quantizes its activations while it runs. ai-edge-quantizer leaves kernels as they are,
without a word, where it does not know their operator in a precision.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.formats import ConversionError, by_layer, converting
from pipeline.formats.tflite.read import kind, parsed, steps


def quantize(content: bytes, precision: str) -> bytes:
    """Return a file with all its kernels quantized, but for those that `graph.float_kernels` then finds in it.

    Args:
        content: of a float32 .tflite.
        precision: `weight-int8`, `weight-int4`, `dynamic-int4` (or `dynamic-int8`).

    Raises:
        ConversionError: it has no operator whose kernel can be.
    """
    return _quantized(content, {".*": precision}, precision)


def mix(content: bytes, wanted: Mapping[str, str]) -> bytes:
    """Return a file whose layers have kernels of a precision each.

    Args:
        content: of a float32 .tflite, as the converter names its tensors.
        wanted: layer name -> precision, of every layer with a kernel; see `by_layer.precisions`.

    Raises:
        ConversionError: a layer is to be quantized, and an operator that has its kernel cannot be, or none has it.
    """
    changed = {layer: precision for layer, precision in wanted.items() if precision != "float32"}
    places = _places(content, list(changed))
    possible = {layer: True for layer, _, _ in places}
    for layer, name, _ in places:
        possible[layer] &= name in by_layer.OPERATORS[changed[layer]]
    if wrong := {layer: precision for layer, precision in changed.items() if not possible.get(layer)}:
        raise by_layer.refusal(wrong)
    scopes = {f"^{re.escape(scope)}$": changed[layer] for layer, _, scope in places}
    return _quantized(content, scopes, "mixed") if scopes else content


def _places(content: bytes, layers: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return (layer, operator that has a kernel of it, its scope), as ai-edge-quantizer names scopes."""
    model, found = parsed(content), []
    for graph in model.subgraphs:
        for operator in graph.operators:
            place = by_layer.KERNELS.get(kind(model, operator))
            if place is None or model.buffers[graph.tensors[operator.inputs[place]].buffer].data is None:
                continue
            outputs = [graph.tensors[index].name.decode() for index in operator.outputs]
            named = steps(graph.tensors[operator.inputs[place]].name.decode(), *outputs)
            scope = "".join(f"{name};" for name in outputs)
            found += [(layer, kind(model, operator), scope) for layer in layers if layer in named]
    return found


def _quantized(content: bytes, by_scope: Mapping[str, str], precision: str) -> bytes:
    from ai_edge_quantizer import quantizer, recipe_manager
    from ai_edge_quantizer.qtyping import TFLOperationName

    manager = recipe_manager.RecipeManager()
    for scope, one in by_scope.items():
        how, _, bits = one.partition("-int")
        add = manager.add_dynamic_config if how == "dynamic" else manager.add_weight_only_config
        add(regex=scope, operation_name=TFLOperationName.ALL_SUPPORTED, num_bits=int(bits))
    with converting(f"tflite {precision}"), contextlib.redirect_stdout(io.StringIO()):
        made = quantizer.Quantizer(bytearray(content), manager.get_quantization_recipe())
        found = bytes(made.quantize(enable_progress_report=False).quantized_model)
    if not _integers(parsed(found)):
        raise ConversionError(
            f"the model cannot be converted to tflite {precision}: no operator in it has a kernel for that",
            expected=f"one of {', '.join(by_layer.KERNELS)}", found="none",
            todo=f"remove {precision} from the recipe's export section",
        )  # fmt: skip
    return found


def _integers(model: Any) -> bool:
    from ai_edge_litert.schema_py_generated import TensorType

    narrow = {TensorType.INT4, TensorType.INT8}
    return any(
        tensor.type in narrow and model.buffers[tensor.buffer].data is not None
        for graph in model.subgraphs
        for tensor in graph.tensors
    )
