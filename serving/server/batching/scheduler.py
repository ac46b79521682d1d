"""Gathers tasks into batches and runs these a few at a time, as TensorFlow's SharedBatchScheduler does (rule 7).

A caller that has nothing to wait for may claim a thread's place and run by itself: to hand a request that comes alone
to another thread would cost it two switches.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

from serving.server.batching.parameters import Parameters
from serving.server.status import Code, StatusError, invalid

if TYPE_CHECKING:
    import numpy as np

    Answer = list[np.ndarray] | StatusError


@dataclass(slots=True)
class Task:
    """One request, or a part of one.

    Attributes:
        feeds: tensor -> value, all with `size` rows.
        fetches: tensors to return.
        deadline: time.monotonic() at which nobody waits any more; None: never.
        answers: where (part, answer) is put.
        part: which of the parts of the request this is.
    """

    feeds: Mapping[str, np.ndarray]
    fetches: Sequence[str]
    size: int
    deadline: float | None
    answers: SimpleQueue[tuple[int, Answer]] = field(default_factory=SimpleQueue)
    part: int = 0

    def split(self, first: int, size: int) -> Iterator[Task]:
        """Yield the parts: one of `first` rows where that is not 0, then some of `size` rows, the last maybe less."""
        start, stop, part = 0, first or size, 0
        while start < self.size:
            stop = min(stop, self.size)
            feeds = {name: value[start:stop] for name, value in self.feeds.items()}
            yield replace(self, feeds=feeds, size=stop - start, part=part)
            start, stop, part = stop, stop + size, part + 1


@dataclass(slots=True)
class Batch:
    """Tasks that run together; open while it may take more.

    Attributes:
        closes: time.monotonic() at which it waits no longer.
    """

    closes: float
    tasks: list[Task] = field(default_factory=list)
    size: int = 0


class _Queue:
    """The batches of tasks that may be mixed; only the last is open. The scheduler's lock guards it."""

    def __init__(self, parameters: Parameters, run: Callable[[list[Task]], None]) -> None:
        self._parameters, self.run = parameters, run
        self.batches: deque[Batch] = deque()

    def add(self, task: Task) -> int:
        """Add a task; return its number of parts.

        Raises:
            StatusError: it is too large, or the queue is full.
        """
        largest = self._parameters.execution_size
        parts = self._admit(task)
        for part in parts:
            if not self.batches or self.batches[-1].size + part.size > largest:
                self.batches.append(Batch(time.monotonic() + self._parameters.batch_timeout_micros / 1e6))
            self.batches[-1].tasks.append(part)
            self.batches[-1].size += part.size
        return len(parts)

    def _admit(self, task: Task) -> list[Task]:
        """Return the parts of a task for which there is room."""
        parameters, largest = self._parameters, self._parameters.execution_size
        count = max(1, len(self.batches))
        last = self.batches[-1].size if self.batches else 0
        full = "The batch scheduling queue to which this task was submitted is full; "
        if task.size > parameters.max_batch_size:
            raise invalid(f"Task size {task.size} is larger than maximum input batch size {parameters.max_batch_size}")
        if not parameters.enable_large_batch_splitting:
            limit = max(1, parameters.max_enqueued_batches)
            if last + task.size > largest and count >= limit:
                raise StatusError(
                    Code.UNAVAILABLE,
                    f"{full}currently {count} batches enqueued and max_enqueued_batches is {limit}",
                )
            return [task]
        capacity = (parameters.max_enqueued_batches - count) * largest + largest - last
        if task.size > capacity:
            raise StatusError(
                Code.UNAVAILABLE,
                f"{full}task size is {task.size} but scheduling capacity is only {capacity} (num_enqueued_batches="
                f"{count}, max_enqueued_batches={parameters.max_enqueued_batches}, open_batch_size={last}, "
                f"max_execution_batch_size={largest})",
            )
        return [task] if last + task.size <= largest else list(task.split(largest - last, largest))

    def ready_at(self) -> float:
        """Return the time.monotonic() at which the first batch may run."""
        first = self.batches[0]
        full = len(self.batches) > 1 or first.size >= self._parameters.execution_size
        return 0.0 if full else first.closes


class Scheduler:
    """Runs batches of many queues in turns.

    Args:
        threads: batches that run at the same time.
        name: of the threads.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._places = threads
        self._queues: dict[Hashable, _Queue] = {}  # those with tasks; the next one in turn comes first
        self._changed = threading.Condition()
        self._draining = False
        for number in range(threads):
            threading.Thread(target=self._work, name=f"{name}_{number}", daemon=True).start()

    def claim(self) -> bool:
        """Take the place of a thread, where one is free and no task waits; `release` gives it back."""
        with self._changed:
            if self._queues or self._places == 0:
                return False
            self._places -= 1
            return True

    def release(self) -> None:
        """Give a place back that was claimed."""
        with self._changed:
            self._places += 1
            if self._queues:
                self._changed.notify()

    def run(self, key: Hashable, task: Task, parameters: Parameters, run: Callable[[list[Task]], None]) -> list[Answer]:
        """Run a task in a batch with others of the same key; return the answers of its parts, in order.

        Args:
            key: tasks of different keys are never mixed.
            parameters: of the key's queue.
            run: runs a batch, and puts an answer for every task in it; it raises nothing.

        Raises:
            StatusError: the task is not accepted.
        """
        with self._changed:
            queue = self._queues.get(key) or _Queue(parameters, run)
            waiting = len(queue.batches)
            parts = queue.add(task)
            self._queues[key] = queue
            if self._places and (len(queue.batches) != waiting or not queue.ready_at()):
                self._changed.notify()
        answers = dict(task.answers.get() for _ in range(parts))
        return [answers[part] for part in range(parts)]

    def drain(self) -> None:
        """Let no batch wait any longer for more tasks."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while (work := self._take()) is None:
                    self._changed.wait(self._wait_s())
                if self._queues:  # the next batch, or the next end of a wait, is another thread's
                    self._changed.notify()
            queue, batch = work
            queue.run(batch.tasks)
            del work, queue, batch  # they hold a model that may be unloaded meanwhile
            with self._changed:
                self._places += 1

    def _take(self) -> tuple[_Queue, Batch] | None:
        """Take a place and the next batch that may run."""
        if self._places == 0:
            return None
        now = float("inf") if self._draining else time.monotonic()
        for key, queue in self._queues.items():
            if queue.ready_at() <= now:
                batch = queue.batches.popleft()
                del self._queues[key]
                if queue.batches:
                    self._queues[key] = queue
                self._places -= 1
                return queue, batch
        return None

    def _wait_s(self) -> float | None:
        """Return how long nothing can be taken, if nothing changes."""
        if self._places == 0 or not self._queues:
            return None
        left_s = min(queue.ready_at() for queue in self._queues.values()) - time.monotonic()
        return min(max(0.0, left_s), threading.TIMEOUT_MAX)
