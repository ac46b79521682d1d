from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import RunError
from pipeline.measuring import footprint


def test_size_counts_bytes_and_gzipped_bytes_of_a_file(tmp_path: Path) -> None:
    content = b"abc" * 10_000
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    found = footprint.size(path)
    assert found.bytes == 30_000
    assert found.gzip_bytes == len(gzip.compress(content, 9, mtime=0))


def test_size_of_a_folder_is_the_same_when_only_its_random_fingerprint_and_its_times_differ(tmp_path: Path) -> None:
    sizes = []
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        (folder / "1" / "variables").mkdir(parents=True)
        (folder / "1" / "saved_model.pb").write_bytes(b"graph" * 100)
        (folder / "1" / "variables" / "variables.index").write_bytes(b"index")
        (folder / "1" / "fingerprint.pb").write_bytes(np.random.default_rng(seed).bytes(40 + seed))
        os.utime(folder / "1" / "saved_model.pb", (seed, seed))
        sizes.append(footprint.size(folder))
    assert sizes[0] == sizes[1]
    assert sizes[0].bytes == 505


@pytest.mark.parametrize(("empty", "message"), [(True, "an empty folder"), (False, "nothing at that path")])
def test_size_fails_when_there_is_nothing_to_measure(tmp_path: Path, empty: bool, message: str) -> None:
    path = tmp_path / "model"
    if empty:
        path.mkdir()
    with pytest.raises(RunError, match=message) as caught:
        footprint.size(path)
    assert "the size of model cannot be measured" in str(caught.value)


def test_sparsity_counts_exact_zeros_of_kernels_and_not_of_biases() -> None:
    kernels = {"conv": np.array([[0.0, 1.0], [0.0, 1e-9]]), "dense": np.ones((2, 2)), "bias": np.zeros(100)}
    assert footprint.sparsity(kernels) == 0.25


@pytest.mark.parametrize(
    ("kernels", "message"),
    [
        ({}, "no arrays"),
        ({"bias": np.zeros(3)}, r"bias \[3\]"),
        ({"kernel": np.zeros((0, 3))}, r"kernel \[0, 3\]"),
        ({"kernel": np.array([[np.nan, 0.0]])}, "NaN in kernel"),
    ],
)
def test_sparsity_fails_when_there_is_no_kernel_or_nan_in_one(kernels: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(RunError, match=message):
        footprint.sparsity(kernels)


@pytest.mark.parametrize(
    ("shape", "axes", "empty", "channels"),
    [
        ((5, 3, 3, 2), (0,), np.s_[1], 5),  # OHWI, OIHW
        ((1, 3, 3, 5), (3,), np.s_[..., 1], 5),  # depthwise in TFLite
        ((3, 3, 2, 5), (3,), np.s_[..., 1], 5),  # HWIO
        ((3, 3, 5, 2), (2, 3), np.s_[..., 1, 0], 10),  # depthwise in Keras, two filters a channel
        ((2, 5), (1,), np.s_[:, 1], 5),
    ],
)
def test_channels_are_counted_as_zero_only_when_all_their_weights_are(
    shape: tuple[int, ...], axes: tuple[int, ...], empty: object, channels: int
) -> None:
    kernel = np.ones(shape)
    kernel[empty] = 0  # type: ignore[index]
    kernel[(0,) * len(shape)] = 0  # a single weight of another channel
    others = {"embedding": np.zeros((4, 4)), "bias": np.zeros(5)}
    assert footprint.zero_channels({"kernel": kernel, **others}, {"kernel": axes, "bias": (0,)}) == (1, channels)


def test_there_are_no_channels_when_no_kernel_is_named() -> None:
    assert footprint.zero_channels({"kernel": np.zeros((2, 2))}, {"other": (0,)}) == (0, 0)


def test_measuring_loads_no_tensorflow_when_imported() -> None:
    code = (
        "import sys; from pipeline.measuring import accuracy, footprint, latency, parity; "
        "assert not {'tensorflow', 'tf_keras', 'keras', 'sklearn', 'mlperf_loadgen'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_latency_config_loads_no_numpy_when_imported() -> None:
    code = "import sys; import pipeline.measuring.latency_config; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
