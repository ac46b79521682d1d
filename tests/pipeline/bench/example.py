"""A result with everything in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.bench.document import Bench, Ratio, Result, ServerTime, Target, Trial
from pipeline.measuring.histogram import Histogram
from pipeline.report.model import Interval


def estimate(value: float) -> Interval:
    return Interval(value=value, low=0.9 * value, high=1.1 * value)


def result(scenario: Any = "SingleStream", middle: float = 1.0, **changes: Any) -> Result:
    times = (middle * 1e6 * np.exp(np.random.default_rng(0).normal(0, 0.3, 700))).astype(np.int64)
    fields: dict[str, Any] = {
        "scenario": scenario, "concurrency": 1, "batch": 1, "generator": "mlperf_loadgen 6", "blocks": 5,
        "queries": 700, "percentile": 0.99, "valid": True, "p50_ms": estimate(middle),
        "p90_ms": estimate(1.2 * middle), "p99_ms": estimate(2 * middle), "throughput_per_s": estimate(1000 / middle),
        "histogram": Histogram.of(times).to_dict(),
    }  # fmt: skip
    return Result(**fields | changes)


def searched(**changes: Any) -> Result:
    trials = [
        Trial(round=number, rate_per_s=rate, p99_ms=p99, shed=shed, valid=valid, meets_bound=valid)
        for number in (1, 2, 3)
        for rate, p99, shed, valid in ((100.0, 2.0, 0, True), (200.0, 9.0, 0, True), (400.0, None, 40, False))
    ]
    fields: dict[str, Any] = {
        "scenario": "Server", "concurrency": 4, "blocks": 3, "bound_ms": 10.0, "trials": tuple(trials),
        "max_rate_per_s": estimate(200), "shed": 120, "late": 3, "client_cores": 0.97, "client_limited": True,
    }  # fmt: skip
    return result(**fields | changes)


def bench() -> Bench:
    ratio = Ratio(against="a<b>.tflite", value=0.5, low=0.4, high=0.6, pairs=5, valid=False)
    split = ServerTime(client_ms=2.0, network_ms=0.8, server_ms=0.7, runtime_ms=0.5, requests=700)
    wrong = {"valid": False, "problems": ("too short",), "advice": ("a longer --duration",)}
    wire = {"runtime": "served", "connection": "one connection per worker, kept"}
    targets = (
        Target(
            name="a<b>.tflite", runtime="litert", threads=1, samples="random values", inputs=("x float32 [?, 4]",),
            outputs=("y float32 [?, 2]",), results=(result(), result("Offline", batch=8, concurrency=4, **wrong)),
        ),
        Target(
            name="grpc://h:1/m", protocol="grpc", encoding="tensor_content", samples="random values",
            server={"implementation": "modelmill", "version": "0.1.0", "image": None},
            results=(result(middle=2.0, latency_speedup=ratio, server=split), searched()), **wire,
        ),
        Target(name="http://h:2", protocol="rest", encoding="JSON rows (instances)", error="no <answer>", **wire),
    )  # fmt: skip
    machine = {"cpu": "A processor", "cores": 2, "system": "Linux", "python": "3.11", "versions": {"numpy": "1"}}
    return Bench(
        modelmill="0.1.0", against="a<b>.tflite", seed=3, settings={"blocks": 5, "shapes": {"x": [1, 4]}},
        targets=targets, machine=machine,
    )  # fmt: skip


def full() -> Bench:
    """Return five targets with long names, of which every column is filled."""
    names = (
        "digits:quantize.tflite.int8", "digits:prune.onnx.float32", "digits:prune.saved_model.float32",
        "grpc://127.0.0.1:18500/digits", "http://127.0.0.1:18501/v1/models/digits",
    )  # fmt: skip
    ratio = Ratio(against=names[0], value=0.0067, low=0.00603, high=0.00737, pairs=5, valid=True)
    split = ServerTime(client_ms=2.0, network_ms=0.8, server_ms=0.7, runtime_ms=0.5, requests=700)
    figures: dict[str, Any] = {
        "queries": 46236, "throughput_per_s": estimate(24708), "server": split, "shed": 12, "bound_ms": 10.0,
        "latency_speedup": ratio, "throughput_ratio": ratio, "concurrency": 16,
    }  # fmt: skip
    search = figures | {"latency_speedup": None, "throughput_ratio": None, "max_rate_ratio": ratio}
    results = (result(**figures), result("Offline", batch=32, **figures), searched(**search))
    one = {"inputs": ("image float32 [?, 8, 8, 1]",), "outputs": ("logits float32 [?, 10]", "p float32 [?, 10]")}
    served = {"encoding": "JSON rows (instances)", "connection": "one connection per worker, kept", "version": 3}
    targets = tuple(
        Target(
            name=name, runtime="served", protocol="rest", samples="digits, test split (256 samples)", results=results,
            **one, **served,
        )
        for name in names
    )  # fmt: skip
    return bench().model_copy(update={"targets": targets, "against": names[0]})
