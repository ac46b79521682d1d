"""Weight clustering (Deep Compression: Han, Mao and Dally, 2016): each kernel is left with a few distinct weights.

Centroids start by k-means++ (Arthur and Vassilvitskii, 2007). They learn on as shared weights; see `keeping`.
"""

from __future__ import annotations

import numpy as np

# more weights than these show nothing new of where a kernel's centroids are
_SAMPLED = 65536


def cluster(values: np.ndarray, clusters: int, *, per_channel: bool, seed: int) -> np.ndarray:
    """Return a kernel with at most so many distinct weights, float32 of the same shape; zeros stay zeros.

    Args:
        values: kernel, float32, rank 2 or more, output channels on the last axis.
        clusters: most distinct weights, 2 or more; zero counts as one where there are zeros.
        per_channel: whether each output channel has clusters of its own, or the kernel as a whole.
        seed: of k-means++.
    """
    if not per_channel:
        return _clustered(values, clusters, seed)
    channels = [_clustered(values[..., channel], clusters, seed) for channel in range(values.shape[-1])]
    return np.stack(channels, axis=-1)


def distinct(values: np.ndarray, *, per_channel: bool) -> int:
    """Return how many distinct weights a kernel has, or its output channel (last axis) that has most."""
    if not per_channel:
        return int(np.unique(values).size)
    return max(int(np.unique(values[..., channel]).size) for channel in range(values.shape[-1]))


def _clustered(values: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    other = values[values != 0]
    room = clusters - (other.size < values.size)
    if np.unique(other).size <= room:
        return values
    sample = other
    if sample.size > _SAMPLED:
        sample = np.random.default_rng(seed).choice(sample, _SAMPLED, replace=False)
    found = KMeans(room, init="k-means++", n_init=1, random_state=seed).fit(sample.reshape(-1, 1).astype(np.float64))
    centers = np.sort(found.cluster_centers_.ravel()).astype(np.float32)
    nearest = np.searchsorted((centers[1:] + centers[:-1]) / 2, values)
    return np.where(values == 0, np.float32(0), centers[nearest]).astype(np.float32)
