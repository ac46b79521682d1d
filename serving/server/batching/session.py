"""A session that runs requests of the same inputs and outputs together (rule 7)."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

import numpy as np

from serving.server.batching import tensors as batch_tensors
from serving.server.batching.parameters import Parameters
from serving.server.batching.scheduler import Scheduler, Task
from serving.server.sessions.session import Session
from serving.server.status import Code, StatusError

log = logging.getLogger(__name__)

_LATE = "Run() timeout exceeded while waiting in batching queue"


class BatchingSession:
    """A session whose runs are batched; see `session.Session`.

    Args:
        session: what runs the batches.
        scheduler: may be shared by sessions; their runs are never mixed.
    """

    def __init__(self, session: Session, scheduler: Scheduler, parameters: Parameters) -> None:
        self._session, self._scheduler, self._parameters = session, scheduler, parameters

    def dtype(self, tensor: str) -> int:
        """Return a tensor's number in DataType; see `session.Session.dtype`."""
        return self._session.dtype(tensor)

    def run(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], timeout_ms: int | None) -> list[np.ndarray]:
        """Run in a batch; see `session.Session.run`.

        Raises:
            StatusError: also where the batch fails for another's sake, or the request waits past its deadline.
        """
        deadline = None if timeout_ms is None else time.monotonic() + timeout_ms / 1000
        task = Task(feeds, fetches, batch_tensors.batch_size(feeds.values()), deadline)
        if self._runs_at_once(task.size) and self._scheduler.claim():
            try:
                return self._answers([task])[0]
            finally:
                self._scheduler.release()
        key = (self, frozenset(feeds), frozenset(fetches))
        parts: list[list[np.ndarray]] = []
        for answer in self._scheduler.run(key, task, self._parameters, self._run_batch):
            if isinstance(answer, StatusError):
                raise StatusError(answer.code, answer.text)  # it may be raised in other threads as well
            parts.append(answer)
        return parts[0] if len(parts) == 1 else [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]

    def close(self) -> None:
        """Free the model; see `session.Session.close`."""
        self._session.close()

    def _runs_at_once(self, size: int) -> bool:
        """Return whether a request is a batch of its own, where no other waits."""
        largest = self._parameters.execution_size
        return size == largest or (size < largest and self._parameters.batch_timeout_micros == 0)

    def _run_batch(self, tasks: list[Task]) -> None:
        """Run a batch and answer all of its tasks, whatever happens."""
        answers: Sequence[list[np.ndarray] | StatusError]
        try:
            answers = self._answers(tasks)
        except StatusError as error:
            answers = [error] * len(tasks)
        except Exception as error:  # the callers wait, and the thread goes on
            log.exception("a batch failed")
            answers = [StatusError(Code.INTERNAL, f"{type(error).__name__}: {error}")] * len(tasks)
        for task, answer in zip(tasks, answers, strict=True):
            task.answers.put((task.part, answer))

    def _answers(self, tasks: list[Task]) -> list[list[np.ndarray]]:
        timeout_ms = _timeout_ms(tasks)
        parameters = self._parameters
        sizes = [task.size for task in tasks]
        rows = sum(sizes)
        # a last request of no rows has none to repeat
        padding = batch_tensors.allowed_size(rows, parameters.allowed_batch_sizes) - rows if sizes[-1] else 0
        feeds = batch_tensors.merge(
            [task.feeds for task in tasks], padding, pad_shapes=parameters.pad_variable_length_inputs
        )
        names = tasks[0].fetches  # the same set in all of them; the order may differ
        found = batch_tensors.split(self._session.run(feeds, names, timeout_ms), sizes, padding)
        return [
            mine if task.fetches == names else [dict(zip(names, mine, strict=True))[name] for name in task.fetches]
            for task, mine in zip(tasks, found, strict=True)
        ]


def _timeout_ms(tasks: list[Task]) -> int | None:
    """Return what is left until the latest of the tasks' deadlines.

    Raises:
        StatusError: RESOURCE_EXHAUSTED, all of them are over.
    """
    latest = 0.0
    for task in tasks:
        if task.deadline is None:
            return None
        latest = max(latest, task.deadline)
    left_s = latest - time.monotonic()
    if left_s <= 0:
        raise StatusError(Code.RESOURCE_EXHAUSTED, _LATE)
    return max(1, int(left_s * 1000))
