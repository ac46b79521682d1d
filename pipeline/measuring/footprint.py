"""What a model weighs: bytes, gzipped bytes, parameters, sparsity, and MACs (see `macs.py`)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import RunError
from pipeline.measuring.macs import LayerMacs, Macs, macs

if TYPE_CHECKING:
    import tf_keras

__all__ = ["LayerMacs", "Macs", "Size", "macs", "parameters", "size", "sparsity", "zero_channels"]

# a SavedModel's fingerprint is random at each save: with it, equal models would have other gzipped sizes
_RANDOM = frozenset({"fingerprint.pb"})
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Size:
    """Bytes on disk, and after gzip at level 9 without name and time; a folder's are the sums over its files."""

    bytes: int
    gzip_bytes: int


def size(path: Path, *others: Path) -> Size:
    """Measure a file, or a folder with all below it; a SavedModel's random `fingerprint.pb` is left out.

    Args:
        path: the file or the folder.
        others: files that belong to it.

    Raises:
        RunError: there is no such file, or the folder holds none.
    """
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and p.name not in _RANDOM)
    else:
        files = [path] if path.is_file() else []
    if not files:
        raise RunError(
            f"the size of {path.name} cannot be measured",
            expected="a file, or a folder with files",
            found="an empty folder" if path.is_dir() else "nothing at that path",
            todo="export the model first",
        )
    files += others
    return Size(sum(p.stat().st_size for p in files), sum(_gzipped(p) for p in files))


def _gzipped(path: Path) -> int:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)  # 31: gzip's header with no name and time 0
    total = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            total += len(packer.compress(chunk))
    return total + len(packer.flush())


def sparsity(kernels: Mapping[str, np.ndarray]) -> float:
    """Return the share of exact zeros in all arrays of rank >= 2 together, in [0, 1].

    Args:
        kernels: name -> weights; arrays of lower rank (biases, batch norm) are not looked at. For quantized integers
            the caller subtracts the zero point.

    Raises:
        RunError: no array of rank >= 2 with something in it, or NaN in one.
    """
    arrays = {name: array for name, array in kernels.items() if array.ndim >= 2 and array.size}
    if not arrays:
        raise RunError(
            "the sparsity of nothing was asked for",
            expected="at least one kernel of rank 2 or more",
            found=", ".join(f"{name} {list(array.shape)}" for name, array in kernels.items()) or "no arrays",
            todo="check that the file holds the model's weights",
        )
    broken = [name for name, array in arrays.items() if np.isnan(array.astype(np.float64)).any()]
    if broken:
        raise RunError(
            "the sparsity of broken kernels was asked for",
            expected="numbers",
            found=f"NaN in {', '.join(broken)}",
            todo="look at the training log and at the conversion: the model is broken",
        )
    zeros = sum(int(np.count_nonzero(array == 0)) for array in arrays.values())
    return zeros / sum(array.size for array in arrays.values())


def zero_channels(kernels: Mapping[str, np.ndarray], channel_axes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """Count the output channels whose weights are all zero, and all output channels.

    Args:
        kernels: name -> weights, any rank >= 2; for quantized integers the zero point is 0.
        channel_axes: name -> the axes that count output channels: (0,) for OHWI and OIHW, (3,) for HWIO, (2, 3) for a
            Keras depthwise kernel. Kernels without an entry (embeddings, recurrent ones) are not looked at.
    """
    zero = channels = 0
    for name, axes in channel_axes.items():
        kernel = kernels.get(name)
        if kernel is None or kernel.ndim < 2:
            continue
        others = tuple(axis for axis in range(kernel.ndim) if axis not in axes)
        empty = ~np.any(kernel != 0, axis=others)
        zero, channels = zero + int(empty.sum()), channels + empty.size
    return zero, channels


def parameters(model: tf_keras.Model) -> int:
    """Return how many numbers the model's weights hold, trainable or not; a shared weight counts once."""
    return int(model.count_params())
