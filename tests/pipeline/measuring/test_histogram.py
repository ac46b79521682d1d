from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.measuring.histogram import Histogram


def test_histogram_holds_each_latency_in_a_bucket_whose_edges_enclose_it() -> None:
    for latency_ns in (1, 999, 20_000, 12_345_678):
        ((bucket, count),) = Histogram.of(np.array([latency_ns])).counts
        low, high = Histogram(()).edges_ms(bucket)
        assert count == 1
        assert low <= latency_ns / 1e6 * (1 + 1e-12) < high * (1 + 1e-12)


def test_histogram_of_two_parts_is_the_one_of_the_whole_when_merged() -> None:
    latencies = np.random.default_rng(0).integers(1, 10**7, 1000)
    merged = Histogram.of(latencies[:300]).merge(Histogram.of(latencies[300:]))
    assert merged == Histogram.of(latencies)


def test_histogram_is_the_same_when_read_back_from_json() -> None:
    histogram = Histogram.of(np.array([1, 5, 5, 100_000]))
    assert Histogram.from_dict(json.loads(json.dumps(histogram.to_dict()))) == histogram


def test_histogram_is_refused_when_its_grid_is_another() -> None:
    with pytest.raises(ValueError, match="16 buckets per octave"):
        Histogram.from_dict({"buckets_per_octave": 8, "counts": {}})
