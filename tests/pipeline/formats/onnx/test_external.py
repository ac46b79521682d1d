"""Weights beyond one protobuf message lie beside the .onnx; here the longest message is a short one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx as library
import pytest

from pipeline.formats import onnx
from pipeline.isolate import Child
from pipeline.measuring import footprint
from tests.pipeline.formats import tiny
from tests.pipeline.formats.conftest import Exported
from tests.pipeline.formats.onnx import in_child

LIMIT = 2000  # bytes; the tiny model has 5,160 of weights, half as many in float16, and 1,290 in int8


@pytest.fixture(scope="module")
def beyond(converter: Child, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("beyond")
    why = converter.call(in_child.write_beyond, folder, LIMIT)
    assert why == "its weights are too large for one message, which onnxslim needs"
    return folder


def test_weights_lie_beside_a_file_when_one_message_cannot_hold_them(beyond: Path) -> None:
    assert {path.name: onnx.files(path)[1:] for path in beyond.glob("*.onnx")} == {
        "float32.onnx": [beyond / "float32.onnx.data"],
        "float16.onnx": [beyond / "float16.onnx.data"],
        "int8.ort.onnx": [],
    }
    assert len(list(beyond.iterdir())) == 5
    library.checker.check_model(str(beyond / "float32.onnx"), full_check=True)
    (size, alone) = (footprint.size(*onnx.files(beyond / "float32.onnx")), footprint.size(beyond / "float32.onnx"))
    assert size.bytes == alone.bytes + (beyond / "float32.onnx.data").stat().st_size
    assert size.bytes > 4 * 16 * 8 * 9


@pytest.mark.parametrize(("name", "close"), [("float32.onnx", 1e-5), ("float16.onnx", 0.01), ("int8.ort.onnx", 0.1)])
def test_a_file_with_its_weights_beside_runs_from_another_folder(
    beyond: Path, exported: Exported, tmp_path: Path, name: str, close: float
) -> None:
    for file in onnx.files(beyond / name):
        shutil.copy(file, tmp_path)
    found = in_child.logits_of(tmp_path / name, tiny.SPEC, tiny.samples(32, seed=1))
    assert np.abs(found - exported.logits).max() < close * np.abs(exported.logits).max()
    kernels = onnx.kernels(tmp_path / name)
    assert sorted(array.shape for array in kernels.values()) == [(8, 1, 3, 3), (16, 4), (16, 8, 3, 3)]
    assert onnx.operators(tmp_path / name).integer + onnx.operators(tmp_path / name).floating > 8


def test_bytes_are_equal_when_it_is_written_again(beyond: Path, converter: Child, tmp_path: Path) -> None:
    converter.call(in_child.write_beyond, tmp_path, LIMIT)
    assert tiny.digests(tmp_path) == tiny.digests(beyond)
