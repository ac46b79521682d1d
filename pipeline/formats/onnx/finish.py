"""The last steps of every .onnx: one canonical form, shapes, metadata, the file, and what the format's checker says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.formats import labels
from pipeline.formats.onnx import external
from pipeline.formats.onnx.canonical import canonicalize
from pipeline.formats.onnx.walking import every_node
from pipeline.predictor import Spec


def canonical(proto: Any, ends: Mapping[str, str] | None = None) -> None:
    """Bring a model into the one form that equal models have: names, order, a free batch dimension, no more domains.

    Args:
        proto: onnx.ModelProto; it is changed.
        ends: new names of inputs and outputs, by old name; the others keep theirs.
    """
    for end in (*proto.graph.input, *proto.graph.output):
        end.type.tensor_type.shape.dim[0].dim_param = "batch"
    canonicalize(proto.graph, ends or {})
    used = {node.domain for node in every_node(proto.graph)}
    for one in [one for one in proto.opset_import if one.domain not in {*used, ""}]:
        proto.opset_import.remove(one)


def save(proto: Any, path: Path, spec: Spec) -> None:
    """Write a model whose file holds the shapes of all tensors; its metadata are the names of the spec's classes.

    Args:
        proto: onnx.ModelProto in canonical form; it is changed.
        path: the file; weights that one message cannot hold are written beside it (`external`).
        spec: what it answers.

    Raises:
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError: the model is none; nothing is written.
    """
    import onnx

    onnx.helper.set_model_props(proto, labels.properties(spec))
    try:
        if external.needed(proto):
            external.move_out(proto, path)
        proto = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
        path.write_bytes(proto.SerializeToString(deterministic=True))
        # by its path, so that it finds the weights beside the file
        onnx.checker.check_model(str(path), full_check=True)
    except BaseException:
        for file in external.files(path):
            file.unlink(missing_ok=True)
        raise
