"""A Keras model as an ONNX graph, by tf2onnx."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from pipeline.formats import ConversionError
from pipeline.formats.onnx import external
from pipeline.formats.onnx.walking import every_node
from pipeline.formats.saved_model import serving_function
from pipeline.predictor import Spec


def converted(model: Any, spec: Spec, opset: int) -> Any:
    """Return a Keras model as a float32 onnx.ModelProto that holds all its weights, as tf2onnx writes it.

    Raises:
        ConversionError: tf2onnx has no ONNX operator for something in the model.
    """
    import tf2onnx

    # Not guarded: ONNX Runtime compares shapes with the file by itself.
    function = serving_function(model, spec, guarded=False)
    weights = sum(variable.shape.num_elements() * variable.dtype.size for variable in model.variables)
    large = weights >= external.LIMIT
    with _numpy_2():
        proto, stored = tf2onnx.convert.from_function(
            function, function.input_signature, opset=opset, large_model=large
        )
    if large:  # else TensorFlow would put all weights into one message, which cannot be as long
        _inline(proto, stored.name_to_tensor_data)
    _embed_captured(proto.graph, function.get_concrete_function())
    require_known(proto, "onnx float32")
    return proto


def require_known(proto: Any, target: str) -> None:
    """Refuse a graph in which tf2onnx left operators of TensorFlow, because it knows none of ONNX for them.

    Raises:
        ConversionError: with the operators, and where the first one stands.
    """
    import onnx

    (opset,) = (one.version for one in proto.opset_import if one.domain in ("", "ai.onnx"))
    known = {
        schema.name
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.domain == "" and schema.since_version <= opset
    }
    left = [node for node in every_node(proto.graph) if node.domain in ("", "ai.onnx") and node.op_type not in known]
    if left:
        counted = Counter(node.op_type for node in left)
        kinds = ", ".join(kind if count == 1 else f"{kind} ({count} times)" for kind, count in sorted(counted.items()))
        raise ConversionError(
            f"the model cannot be converted to {target}: ONNX has no operator for TensorFlow's {kinds}, or tf2onnx "
            f"does not know it (first at {left[0].name})",
            todo=f"remove {target} from the recipe's export section, or replace the layer that holds the operator",
        )


@contextmanager
def _numpy_2() -> Iterator[None]:
    """Give tf2onnx inside the block what it asks numpy for and numpy 2 no longer has; large models alone need it."""
    if hasattr(np, "product"):
        yield
        return
    np.product = np.prod  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del np.product  # type: ignore[attr-defined]


def _inline(proto: Any, stored: dict[str, bytes]) -> None:
    """Put the weights that tf2onnx keeps apart for a large model into the graph."""
    import onnx

    for item in external.tensors(proto.graph):
        if item.data_location == onnx.TensorProto.EXTERNAL:
            (name,) = (entry.value for entry in item.external_data if entry.key == "location")
            item.raw_data = stored[name]
            del item.external_data[:]
            item.ClearField("data_location")


def _embed_captured(graph: Any, function: Any) -> None:
    """Make initializers of what tf2onnx takes for inputs: constants that a layer computes with (Normalization's)."""
    import onnx

    values = {inside.name: outside for outside, inside in function.graph.captures if outside.dtype.name != "resource"}
    for end in [end for end in graph.input if end.name in values]:
        graph.input.remove(end)
        graph.initializer.append(onnx.numpy_helper.from_array(values[end.name].numpy(), end.name))
