"""Constants that are stored without their zeros."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline import legacy_keras
from pipeline.formats import ConversionError, tflite
from pipeline.formats.tflite import sparse
from pipeline.isolate import Child
from tests.pipeline.formats import tiny


def _zeroed(share: float) -> Any:
    model = tiny.build()
    random = np.random.default_rng(0)
    for layer in model.layers:
        if layer.name in ("conv2", "logits"):
            kernel, *rest = layer.get_weights()
            layer.set_weights([np.where(random.random(kernel.shape) < share, np.float32(0), kernel), *rest])
    return model


def write_both(folder: Path, share: float) -> np.ndarray:
    """Write dense.tflite and sparse.tflite; return Keras' logits for samples(8, seed=1)."""
    legacy_keras.load()
    model = _zeroed(share)
    tflite.write(model, folder / "dense.tflite", tiny.SPEC, "float32")
    tflite.write(model, folder / "sparse.tflite", tiny.SPEC, "sparse-float32")
    return np.asarray(model(tiny.samples(8, seed=1), training=False))


def test_sparse_file_is_smaller_answers_as_the_dense_one_and_has_its_kernels(converter: Child, tmp_path: Path) -> None:
    logits = converter.call(write_both, tmp_path, 0.8)
    dense, sparse = tmp_path / "dense.tflite", tmp_path / "sparse.tflite"
    assert sparse.stat().st_size < dense.stat().st_size - 2000  # of the 4 kB that conv2's zeros take
    one, other = (sorted(tflite.kernels(path).values(), key=lambda array: array.shape) for path in (dense, sparse))
    assert len(one) == 3
    for here, there in zip(one, other, strict=True):
        assert np.array_equal(here, there)
    assert tflite.operators(dense).floating == tflite.operators(sparse).floating
    assert sorted(tflite.operators(sparse).channel_axes.values()) == [(0,), (0,), (0,)]
    assert set(tflite.operators(sparse).channel_axes) == set(tflite.kernels(sparse))
    predictor = tflite.load(sparse, tiny.SPEC, 1)
    for batch in (slice(0, 8), slice(0, 1)):
        answers = predictor.predict(tiny.samples(8, seed=1)[batch])["logits"]
        assert np.allclose(answers, logits[batch], atol=1e-4)
    predictor.close()


def test_file_without_zeros_enough_is_refused(converter: Child, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="no kernel has zeros enough for the converter to store it sparsely"):
        converter.call(write_both, tmp_path, 0.0)


def _level(size: int, segments: list[int] | None = None, indices: list[int] | None = None) -> SimpleNamespace:
    if segments is None:
        return SimpleNamespace(format=0, denseSize=size, arraySegments=None, arrayIndices=None)
    return SimpleNamespace(
        format=1, denseSize=0, arraySegments=SimpleNamespace(values=segments),
        arrayIndices=SimpleNamespace(values=indices),
    )  # fmt: skip


def test_rows_are_unpacked() -> None:
    stored = SimpleNamespace(
        traversalOrder=[0, 1], blockMap=None, dimMetadata=[_level(3), _level(0, [0, 1, 1, 3], [2, 0, 3])]
    )
    found = sparse.dense(np.array([5.0, 6, 7], np.float32), (3, 4), stored)
    assert found.tolist() == [[0, 0, 5, 0], [0, 0, 0, 0], [6, 0, 0, 7]]


def test_columns_that_come_first_are_unpacked() -> None:
    stored = SimpleNamespace(
        traversalOrder=[1, 0], blockMap=None, dimMetadata=[_level(2), _level(0, [0, 1, 3], [2, 0, 1])]
    )
    found = sparse.dense(np.array([5.0, 6, 7], np.float32), (3, 2), stored)
    assert found.tolist() == [[0, 6], [0, 7], [5, 0]]


def test_blocks_are_unpacked() -> None:
    # the example of the schema: two rows of blocks of 2 x 2
    stored = SimpleNamespace(
        traversalOrder=[0, 1, 2, 3], blockMap=[0, 1],
        dimMetadata=[_level(2), _level(0, [0, 1, 2], [1, 0]), _level(2), _level(2)],
    )  # fmt: skip
    found = sparse.dense(np.arange(1.0, 9).astype(np.float32), (4, 4), stored)
    assert found.tolist() == [[0, 0, 1, 2], [0, 0, 3, 4], [5, 6, 0, 0], [7, 8, 0, 0]]
