"""What counts as a zero among the stored integers of an .onnx."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.formats import onnx as files


@pytest.mark.parametrize(("kind", "zero"), [(np.uint8, 130), (np.int8, -3), (np.int8, 0)])
def test_integer_that_means_zero_counts_as_one_in_a_table_that_is_looked_up(
    kind: type[np.integer], zero: int, tmp_path: Path
) -> None:
    # as ONNX Runtime quantizes the table of an Embedding: with a zero of its own, and looked up as integers
    table = np.array([[zero, zero + 1], [zero, zero]], kind)
    constants = {"table": table, "scale": np.float32(0.1), "zero": kind(zero)}
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "ids"], ["found"]),
            helper.make_node("DequantizeLinear", ["found", "scale", "zero"], ["out"]),
        ],
        "looked_up",
        [helper.make_tensor_value_info("ids", TensorProto.INT32, [None])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    path = tmp_path / "a.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    (stored,) = files.kernels(path).values()
    assert np.array_equal(stored, [[0, 1], [0, 0]])
