"""The requests of one block: queued when they are issued, answered by workers, and told to the generator."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from pipeline.measuring.turns import take
from pipeline.predictor import Predictor, Samples
from serving.client import errors

Job = Callable[[Predictor], None]
_clock = time.perf_counter_ns
_NAP_S = 0.02


@dataclass(frozen=True)
class Answer:
    """One request.

    Attributes:
        first: position of its first sample in the order of issue.
        samples: how many it had.
        sent_ns, answered_ns: when the worker sent it, and had its answer.
        told_ns: when the generator was told of it; later than `answered_ns` where it was shed.
        shed: whether the server refused it because it had too many.
    """

    first: int
    samples: int
    sent_ns: int
    answered_ns: int
    told_ns: int
    shed: bool


class Requests:
    """What the generator issues and is told.

    A shed request is told when its bound has passed, so that the generator counts it as late, as we do. After a
    failure, or when `stop` is set, nothing is sent any more, and the generator is told of nothing until it has ended
    the block, which too many unanswered samples make it do.

    Args:
        queue: what the workers take from.
        batch: samples a request.
        hold_ns: from a request's issue until a shed one is told.
        stop: set from outside to end the block.
    """

    def __init__(
        self, samples: Samples, queue: SimpleQueue[Job | None], *, batch: int, hold_ns: int, stop: threading.Event
    ) -> None:
        self.complete: Callable[[Sequence[int]], None]  # set by the generator
        self.issued_ns: list[int] = []  # by position
        self.answers: list[Answer] = []
        self.failures: list[BaseException] = []
        self._samples, self._queue, self._batch, self._hold_ns, self._stop = samples, queue, batch, hold_ns, stop
        self._held: SimpleQueue[tuple[int, list[int], Answer | None] | None] = SimpleQueue()
        self._flushed = threading.Event()
        self._holding = threading.Thread(target=self._tell_late, name="shed requests", daemon=True)
        self._holding.start()

    def issue(self, ids: list[int], indices: list[int], now: int) -> None:
        """Queue samples that came `now`, by the generator's ids and our numbers; never raises."""
        first, batch = len(self.issued_ns), self._batch
        self.issued_ns.extend([now] * len(ids))
        for i in range(0, len(ids), batch):
            self._queue.put(self._job(first + i, ids[i : i + batch], indices[i : i + batch], now))

    def flush(self) -> None:
        """Nothing more will be issued."""
        self._flushed.set()

    def close(self) -> None:
        """Return when the generator has been told of everything."""
        self._flushed.set()
        self._held.put(None)
        self._holding.join()

    def _ended(self) -> bool:
        return bool(self.failures) or self._stop.is_set()

    def _job(self, first: int, ids: list[int], indices: list[int], issued: int) -> Job:
        def answer(predictor: Predictor) -> None:
            shed = False
            sent = answered = 0
            if not self._ended():
                try:
                    given = take(self._samples, indices)
                    sent = _clock()
                    predictor.predict(given)
                except BaseException as error:  # noqa: BLE001 - it must not pass through LoadGen, see loadgen.py
                    shed = errors.is_shed(error)
                    if not shed:
                        self.failures.append(error)
                answered = _clock()
            if self._ended():
                self._held.put((0, ids, None))
            elif shed:
                self._held.put((issued + self._hold_ns, ids, Answer(first, len(ids), sent, answered, 0, shed=True)))
            else:
                self.answers.append(Answer(first, len(ids), sent, answered, answered, shed=False))
                self.complete(ids)

        return answer

    def _tell_late(self) -> None:
        while (item := self._held.get()) is not None:
            due, ids, answer = item
            while not self._ended() and (left := due - _clock()) > 0:
                time.sleep(min(left / 1e9, _NAP_S))
            if self._ended():
                self._flushed.wait()
            if answer is not None:
                self.answers.append(
                    Answer(answer.first, answer.samples, answer.sent_ns, answer.answered_ns, _clock(), shed=True)
                )
            self.complete(ids)
