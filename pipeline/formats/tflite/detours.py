"""Casts from float32 to float64 and back leave a .tflite again: they kept the converter from what it was not asked for.

See `compress/fake_quant.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.formats.tflite.read import kind


def remove(model: Any) -> None:
    """Take each pair of such casts out of a file, which computes the same without them.

    Args:
        model: the file as the object tree of LiteRT's schema; it is changed.
    """
    from ai_edge_litert import schema_py_generated as schema

    wide, narrow = schema.TensorType.FLOAT64, schema.TensorType.FLOAT32
    for graph in model.subgraphs:
        tensors = graph.tensors
        into = {
            int(one.outputs[0]): one
            for one in graph.operators
            if kind(model, one) == "CAST" and tensors[one.outputs[0]].type == wide
        }
        ends: dict[int, int] = {}  # what a pair makes -> what it was given
        gone = []
        for one in graph.operators:
            first = into.get(int(one.inputs[0])) if kind(model, one) == "CAST" else None
            if first is not None and {tensors[one.outputs[0]].type, tensors[first.inputs[0]].type} == {narrow}:
                ends[int(one.outputs[0])] = int(first.inputs[0])
                gone += [first, one]
        graph.operators = [one for one in graph.operators if not any(one is other for other in gone)]
        for one in graph.operators:
            one.inputs = np.array([ends.get(int(index), int(index)) for index in one.inputs], np.int32)
