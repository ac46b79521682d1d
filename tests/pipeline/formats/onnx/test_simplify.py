"""A simplified .onnx has fewer nodes and answers alike; else it stays as it is, and it is said why."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx as library
import pytest

from pipeline.isolate import Child
from tests.pipeline.formats import tiny
from tests.pipeline.formats.conftest import Exported
from tests.pipeline.formats.onnx import in_child


def test_a_file_is_simplified_unless_it_shall_not_be(exported: Exported, converter: Child, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    assert converter.call(in_child.write_unsimplified, path) == ""
    plain, simple = (library.load(one).graph for one in (path, exported.folder / "float32.onnx"))
    assert len(simple.node) < len(plain.node)
    for graph in (plain, simple):
        assert [(end.name, end.type.tensor_type.shape.dim[0].dim_param) for end in graph.input] == [("image", "batch")]
    batch = tiny.samples(32, seed=1)
    np.testing.assert_allclose(in_child.logits_of(path, tiny.SPEC, batch), exported.logits, atol=1e-4)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("refuses", r"onnxslim fails on it: cannot fold this"),
        ("breaks", r"simplified by onnxslim it answers otherwise: logits by [\d.]+, of at most [\d.]+"),
    ],
)
def test_a_file_stays_as_it_is_when_the_simplifier_fails_or_changes_answers(
    converter: Child, tmp_path: Path, fault: str, why: str
) -> None:
    (tmp_path / "plain").mkdir()
    converter.call(in_child.write_unsimplified, tmp_path / "plain/tiny.onnx")
    said = converter.call(in_child.write_with, tmp_path, fault)
    assert re.fullmatch(why, said)
    assert (tmp_path / "tiny.onnx").read_bytes() == (tmp_path / "plain/tiny.onnx").read_bytes()
