"""What the server counts and times, as TensorFlow Serving names it (rule 4.10)."""

from __future__ import annotations

import re
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Generic, TypeVar

from serving.server.status import Code, StatusError

_LIMITS_US = tuple(10 * 1.8**power for power in range(33))
_LIMIT_TEXTS = (*(f"{limit:g}" for limit in _LIMITS_US), "+Inf")

_MOST_CELLS, _LONGEST_VALUES = 10_000, 1000


class Counter:
    """Counts, from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0

    def add(self) -> None:
        """Count one more."""
        with self._lock:
            self.value += 1

    def lines(self, name: str, labels: str) -> list[str]:
        """Return the value as Prometheus reads it."""
        return [f"{name}{{{labels}}} {self.value}"]


class Histogram:
    """Sorts durations into buckets, from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets = [0] * len(_LIMIT_TEXTS)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Take one more."""
        microseconds = seconds * 1e6
        bucket = bisect_right(_LIMITS_US, microseconds)
        with self._lock:
            self._buckets[bucket] += 1
            self._sum += microseconds

    def lines(self, name: str, labels: str) -> list[str]:
        """Return buckets, sum and count as Prometheus reads them."""
        with self._lock:
            counts, total = list(accumulate(self._buckets)), self._sum
        buckets = zip(_LIMIT_TEXTS, counts, strict=True)
        return [
            *(f'{name}_bucket{{{labels},le="{limit}"}} {count}' for limit, count in buckets),
            f"{name}_sum{{{labels}}} {total:g}",
            f"{name}_count{{{labels}}} {counts[-1]}",
        ]


_Cell = TypeVar("_Cell", bound=Counter | Histogram)


class Metric(Generic[_Cell]):
    """A counter or a histogram for every combination of its labels' values."""

    def __init__(self, name: str, labels: Sequence[str], make: type[_Cell]) -> None:
        self.name = name
        self._labels, self._make = labels, make
        self._cells: dict[tuple[str, ...], _Cell] = {}

    def cell(self, *values: str) -> _Cell:
        """Return the one for these values of the labels.

        Clients choose the names of models, so what they can fill is bounded: beyond that nothing is kept.
        """
        found = self._cells.get(values)
        if found is not None:
            return found
        if len(self._cells) >= _MOST_CELLS or sum(map(len, values)) > _LONGEST_VALUES:
            return self._make()
        return self._cells.setdefault(values, self._make())

    def total(self) -> int:
        """Return the sum of the counters, 0 for histograms."""
        return sum(cell.value for cell in list(self._cells.values()) if isinstance(cell, Counter))

    def lines(self) -> list[str]:
        """Return the type and the values as Prometheus reads them."""
        name = re.sub(r"[^a-zA-Z0-9_]", ":", self.name)
        found = [f"# TYPE {name} {'counter' if self._make is Counter else 'histogram'}"]
        for values, cell in sorted(self._cells.items()):
            pairs = zip(self._labels, values, strict=True)
            found += cell.lines(name, ",".join(f'{label}="{_escaped(value)}"' for label, value in pairs))
        return found


class Metrics:
    """All metrics of a server."""

    def __init__(self) -> None:
        latency = ("model_name", "API")
        self._request_count = Metric("/tensorflow/serving/request_count", ("model_name", "status"), Counter)
        self._request_latency = Metric("/tensorflow/serving/request_latency", (*latency, "entrypoint"), Histogram)
        self._runtime_latency = Metric("/tensorflow/serving/runtime_latency", (*latency, "runtime"), Histogram)
        self._all: tuple[Metric[Any], ...] = (self._request_count, self._request_latency, self._runtime_latency)

    def request(self, model: str, api: str, entrypoint: str, code: Code, seconds: float) -> None:
        """Count a request; time it if it went well.

        Args:
            api: the method: `Predict` over gRPC, `predict` over REST.
            entrypoint: `GRPC` or `REST`.
        """
        self._request_count.cell(model, code.name).add()
        if code is Code.OK:
            self._request_latency.cell(model, api, entrypoint).add(seconds)

    def run(self, model: str, api: str, seconds: float) -> None:
        """Time a run of a model, by the name of the gRPC method in either protocol."""
        self._runtime_latency.cell(model, api, "TF1").add(seconds)

    def counted(self, api: str, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Return a gRPC method that counts its calls; its message has a model_spec.

        Args:
            api: the method's name.
        """

        def answer(message: Any, context: Any) -> Any:
            started, code = time.perf_counter(), Code.INTERNAL
            try:
                response = function(message, context)
                code = Code.OK
            except StatusError as error:
                code = error.code
                raise
            finally:
                self.request(message.model_spec.name, api, "GRPC", code, time.perf_counter() - started)
            return response

        return answer

    def value(self, name: str) -> int:
        """Return the sum of a counter over its labels, 0 for what is none (rule 3.12)."""
        return sum(metric.total() for metric in self._all if metric.name == name)

    def page(self) -> bytes:
        """Return everything in Prometheus' text format, sorted by name."""
        metrics = sorted(self._all, key=lambda metric: metric.name)
        return "".join(f"{line}\n" for metric in metrics for line in metric.lines()).encode("utf-8", "surrogateescape")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
