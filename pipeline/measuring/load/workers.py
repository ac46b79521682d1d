"""Worker threads, each with a predictor of its own: as many requests are in flight at most."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue

from pipeline.errors import InputError
from pipeline.measuring import turns
from pipeline.measuring.load.plan import Open
from pipeline.measuring.load.requests import Job
from pipeline.predictor import LOGITS, Predictor, Samples, count
from serving.client import errors
from serving.client.monitoring import Watch

MOST = 64
_AGAIN = 2  # queries that a predictor is warmed up with once the first one of its kind has been
_CALIBRATION_S = 0.2


class Workers:
    """A context manager; opened once for any number of blocks, so that a block costs its own time only.

    Args:
        name: what they ask, for messages.
        open_one: makes a worker's predictor, in the worker's thread, which also closes it.
        concurrency: how many, 1 to 64.
        samples: raw, n >= 1.
        ends: the outputs that every answer has to have, finite, for every sample.
        warmup: queries of the first predictor before anything counts; the others' are 2.
        watch: reads the counters of the server that they ask, around a block's own requests; None: nobody does.

    Raises:
        InputError: another concurrency.
        RunError: an answer without its outputs; and whatever a predictor raises.
    """

    def __init__(
        self, name: str, open_one: Open, concurrency: int, samples: Samples, *, ends: Sequence[str] = (LOGITS,),
        warmup: int = 20, watch: Watch | None = None,
    ) -> None:  # fmt: skip
        if not 1 <= concurrency <= MOST:
            raise InputError(
                "so many requests cannot be in flight", expected=f"a concurrency of 1 to {MOST}",
                found=str(concurrency), todo="give another --concurrency",
            )  # fmt: skip
        self.name, self.concurrency, self.samples, self.watch = name, concurrency, samples, watch
        self.queue: SimpleQueue[Job | None] = SimpleQueue()
        self._open, self._ends, self._warmup = open_one, tuple(ends), max(warmup, _AGAIN)
        self._stop, self._opening = threading.Event(), threading.Lock()
        self._failures: list[BaseException] = []
        self._opened: SimpleQueue[bool] = SimpleQueue()
        self._expected_ns: list[int] = []  # of each predictor's later warm-up queries
        self._rates: dict[int, float] = {}  # batch -> samples per second of all together
        self._threads = [threading.Thread(target=self._work, name=f"load {i}", daemon=True) for i in range(concurrency)]
        try:
            for thread in self._threads:
                thread.start()
            for _ in self._threads:
                self._opened.get()
            if self._failures:
                raise self._failures[0]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the predictors and end the threads; a request that runs is waited for."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                self.queue.put(None)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    @property
    def expected_ns(self) -> int:
        """The time of a request that is alone, the shortest of the warm-up's."""
        return min(self._expected_ns)

    def rate_per_s(self, batch: int, stop: threading.Event) -> float:
        """Return about how many samples per second all answer together in requests of `batch`; it measures once.

        Raises:
            KeyboardInterrupt: `stop` was set; and whatever a predictor raises.
        """
        if batch not in self._rates:
            answered = SimpleQueue[int]()
            begin = time.perf_counter()
            until = begin + _CALIBRATION_S

            def ask(predictor: Predictor) -> None:
                given = turns.take(self.samples, [i % count(self.samples) for i in range(batch)])
                while not stop.is_set():
                    if _asked(predictor, given):
                        answered.put(batch)
                    if time.perf_counter() > until:
                        return

            self.each(ask)  # the first request of this size is slow in most runtimes
            begin = time.perf_counter()
            until = begin + _CALIBRATION_S
            while not answered.empty():
                answered.get()
            self.each(ask)
            if stop.is_set():
                raise KeyboardInterrupt
            self._rates[batch] = max(batch * answered.qsize(), 1) / (time.perf_counter() - begin)
        return self._rates[batch]

    def learned(self, batch: int, rate_per_s: float) -> None:
        """Take the rate of a block, for the next one."""
        self._rates[batch] = rate_per_s

    def each(self, function: Job) -> None:
        """Run a function in every worker, at the same time.

        Raises:
            whatever it raises.
        """
        together, done = threading.Barrier(self.concurrency), SimpleQueue[BaseException | None]()

        def job(predictor: Predictor) -> None:
            together.wait()  # so that no worker takes two of them
            try:
                function(predictor)
                done.put(None)
            except BaseException as error:  # noqa: BLE001 - it is raised again below
                done.put(error)

        for _ in range(self.concurrency):
            self.queue.put(job)
        failures = [error for _ in range(self.concurrency) if (error := done.get()) is not None]
        if failures:
            raise failures[0]

    def again(self) -> None:
        """Ask every predictor once: others have had the caches since the last block."""
        given = turns.take(self.samples, [0])

        def ask(predictor: Predictor) -> None:
            _asked(predictor, given)

        self.each(ask)

    def _work(self) -> None:
        predictor: Predictor | None = None
        try:
            try:
                with self._opening:  # one after the other: a server would refuse so many at once
                    if not (self._stop.is_set() or self._failures):
                        predictor = self._open()
                        self._warm_up(predictor)
            except BaseException as error:  # noqa: BLE001 - it is raised again by the constructor
                self._failures.append(error)
            self._opened.put(True)
            while (job := self.queue.get()) is not None:
                if predictor is not None:
                    job(predictor)
        finally:
            if predictor is not None:
                predictor.close()

    def _warm_up(self, predictor: Predictor) -> None:
        queries = _AGAIN if self._expected_ns else self._warmup
        self._expected_ns.append(turns.warm_up(self.name, predictor, self.samples, 1, queries, self._stop, self._ends))


def _asked(predictor: Predictor, given: Samples) -> bool:
    """Return whether the predictor answered, False where its server had too many requests."""
    try:
        predictor.predict(given)
    except Exception as error:
        if errors.is_shed(error):
            return False
        raise
    return True
