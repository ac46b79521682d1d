"""The first request of a fresh server, with and without warm-up records.

`python -m tests.benchmarks.first_requests RUN/artifacts/ID [--rounds N]`: a SavedModel that was exported with records.
For every record's request fresh servers are started: one without records, one with those of up to 1 sample, and so on.
Each gets the request over gRPC, then 500 more of the same. What counts is how many times longer the first one takes
than the p99 of those that follow.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving import warmup
from tests.serving.server.running import Running

MODEL, LATER = "model", 500


def times(version: Path, most: int, request: Any, folder: Path) -> np.ndarray:
    """Ask a fresh server that was warmed up with batches of at most `most` samples.

    Returns:
        the seconds of each request, float64 [n].
    """
    from tests.serving.server.asking import Grpc

    base = folder / "base"
    shutil.copytree(version, base / "1")
    warmup.limit(base / "1", most)
    server = Running(folder / "server", [f"--model_name={MODEL}", f"--model_base_path={base}"])
    try:
        server.wait_until_ready()
        request.model_spec.name = MODEL
        found = np.empty(1 + LATER)
        with Grpc(server.port) as client:
            client.statuses(MODEL)  # the channel is connected
            for place in range(len(found)):
                started = time.perf_counter()
                client.prediction.Predict(request, timeout=60)
                found[place] = time.perf_counter() - started
    finally:
        server.process.kill()
        server.process.wait()
    return found


def compare(version: Path, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each record and each way to warm up: the median over rounds, in which the ways take turns."""
    asked = {warmup.batch(record): record.predict_log.request for record in warmup.read(version)}
    ways = {"none": 0} | {f"up to {most}": most for most in sorted(asked)}
    rows = []
    for batch, request in asked.items():
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, most in ways.items():
                with tempfile.TemporaryDirectory() as folder:
                    taken = times(version, most, request, Path(folder))
                found[way].append((taken[0], float(np.quantile(taken[1:], 0.99))))
        rows += [
            {"samples": batch, "records": way, "first_ms": 1e3 * statistics.median(first for first, _ in pairs),
             "later_p99_ms": 1e3 * statistics.median(later for _, later in pairs),
             "ratio": statistics.median(first / later for first, later in pairs),
             "worst_ratio": max(first / later for first, later in pairs)}
            for way, pairs in found.items()
        ]  # fmt: skip
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="RUN/artifacts/ID", help="the folder that holds 1/")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    print("| samples | records | first ms | p99 of 500 later ms | ratio | worst ratio |", "| --- " * 6 + "|", sep="\n")
    for row in compare(given.model / "1", given.rounds):
        print(
            f"| {row['samples']} | {row['records']} | {row['first_ms']:.1f} | {row['later_p99_ms']:.1f} | "
            f"{row['ratio']:.1f} | {row['worst_ratio']:.1f} |"
        )  # fmt: skip


if __name__ == "__main__":
    main()
