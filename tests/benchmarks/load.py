"""What a worker's thread adds to a latency: Server at a low rate against SingleStream of the same file, by turns.

    python -m tests.benchmarks.load [--concurrency N] [--share 0.2]

The file is an untrained ResNet for 32 x 32 pixels in LiteRT, with one thread. In Server a sample passes from LoadGen's
thread to a worker's, and the processor has slept since the last one; in SingleStream neither. So a loop that sleeps
between its queries is timed too: what Server has beyond it is the threads'. Arrivals are a Poisson process, so that
some wait. On a busy machine, as root: chrt -f 1 python -m tests.benchmarks.load.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline.formats import tflite
from pipeline.isolate import Child
from pipeline.measuring import latency
from pipeline.measuring.latency_config import LatencyConfig
from pipeline.measuring.load import run
from pipeline.measuring.load.plan import Plan
from pipeline.measuring.load.workers import Workers
from pipeline.predictor import Predictor, classifier
from tests.serving.client import models

ROUNDS = 3
SPEC = classifier("image", (32, 32, 3), (0.0, 255.0), tuple("0123456789"))
SAMPLES = np.random.default_rng(1).uniform(0, 255, (50, *SPEC.input.shape)).astype(np.float32)


def main() -> None:
    """Print the medians of both, their difference and its parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--share", type=float, default=0.2, help="of the rate that SingleStream answers")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = _written(Path(folder))
        alone = tflite.load(file, SPEC, 1)
        config = LatencyConfig(blocks=5, min_block_ms=100)
        streams, sleeps, arrivals, requests = [], [], [], []
        with Workers(file.name, lambda: tflite.load(file, SPEC, 1), given.concurrency, SAMPLES) as workers:
            for seed in range(ROUNDS):
                streams.append(latency.measure({"alone": alone}, SAMPLES, config)["alone"].p50_ms.value)
                rate = given.share * 1000 / streams[-1]
                sleeps.append(_between_sleeps(alone, 1 / rate))
                queries = max(662, int(rate * 0.5))
                plan = Plan("Server", given.concurrency, rate, 1000, 1, 0.99, 500, 60_000, queries, seed)
                load = run.block(workers, plan)
                arrivals.append(load.percentile_ms(0.5))
                requests.append(load.request_ms)
    for name, values in (
        ("SingleStream p50", streams),
        ("between sleeps p50", sleeps),
        ("Server p50", arrivals),
        ("Server, request mean", requests),
    ):
        print(f"{name}: {np.median(values):.4f} ms ({min(values):.4f} to {max(values):.4f})")
    difference = np.median(np.subtract(arrivals, sleeps))
    print(f"Server at {given.share:.0%} of the rate: {1000 * difference:+.0f} us by its {given.concurrency} threads")


def _between_sleeps(alone: Predictor, seconds: float) -> float:
    """Return the median of queries of one thread that sleeps after each, milliseconds."""
    times = []
    for i in range(300):
        time.sleep(seconds)
        start = time.perf_counter()
        alone.predict(SAMPLES[i % 50 : i % 50 + 1])
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times))


def _written(folder: Path) -> Path:
    with Child(deadline_s=300, memory_mb=None, threads=1, log=folder / "log.txt") as child:
        child.call(models.write, folder, "resnet", SPEC)
        child.call(tflite.write, folder, folder / "float32.tflite", SPEC, "float32")
    return folder / "float32.tflite"


if __name__ == "__main__":
    main()
