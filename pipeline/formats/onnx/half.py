"""A float32 ONNX graph that computes in float16 from the first to the last operator with weights.

What scales raw values before and what makes answers after stays float32: raw values may be larger than float16 can
be, and it has 11 bits for them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.formats import ConversionError
from pipeline.formats.onnx.walking import every_node, initializers, inner

_FLOAT, _HALF = 1, 10  # of onnx.TensorProto.DataType


def halved(proto: Any) -> Any:
    """Return the float16 model with float32 inputs and outputs.

    Args:
        proto: onnx.ModelProto in canonical form, with the shapes of all tensors; it is changed.

    Raises:
        ConversionError: a weight is too large for float16, or there is no operator with weights.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    computing = inner(proto.graph)
    if not computing:
        raise ConversionError(
            "the model cannot be converted to onnx float16: no operator in it has weights",
            todo="remove float16 from export.onnx",
        )
    _require_small(proto.graph, computing)
    kept = [node.name for node in proto.graph.node if node.name not in computing]
    made = convert_float_to_float16(proto, keep_io_types=True, disable_shape_infer=True, node_block_list=kept)
    _join(made.graph)
    return made


def _require_small(graph: Any, computing: set[str]) -> None:
    """Refuse weights of the nodes of these names that float16 cannot hold: the converter would cut them off."""
    import onnx

    most = float(np.finfo(np.float16).max)
    read = {name for node in every_node(graph) if node.name in computing for name in node.input}
    for item in initializers(graph):
        if item.data_type == _FLOAT and item.name in read:
            largest = float(np.abs(onnx.numpy_helper.to_array(item)).max(initial=0))
            if largest > most:
                raise ConversionError(
                    f"{item.name} cannot be float16", expected=f"weights of at most {most:g}", found=f"{largest:g}",
                    todo="remove float16 from export.onnx",
                )  # fmt: skip


def _join(graph: Any) -> None:
    """Take out casts to float16 of what is cast straight back: the converter casts all ends, and what stays float32."""
    halves = {node.output[0]: node.input[0] for node in graph.node if _casts(node, _HALF)}
    back = [node for node in graph.node if _casts(node, _FLOAT) and node.input[0] in halves]
    whole = {node.output[0]: halves[node.input[0]] for node in back}
    # an output keeps its name, and whoever made it before the casts makes it by that name
    made = {name for node in graph.node for name in node.output}
    named = {whole[end.name]: end.name for end in graph.output if whole.get(end.name) in made}
    for node in [node for node in back if node.output[0] in named.values()]:
        graph.node.remove(node)
    for node in every_node(graph):
        node.output[:] = [named.get(name, name) for name in node.output]
        node.input[:] = [named.get(name, name) for name in (whole.get(name, name) for name in node.input)]


def _casts(node: Any, kind: int) -> bool:
    return node.op_type == "Cast" and any(one.name == "to" and one.i == kind for one in node.attribute)
