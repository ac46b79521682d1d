"""How much memory a process and all that it starts hold together, looked at twice a second."""

from __future__ import annotations

import contextlib
import threading
import time
from types import TracebackType

import psutil

# a look at a process of 1 GB takes about 10 ms of its time: the pages are counted one by one
EVERY_S = 0.5


class Memory:
    """Watches a process from beside it until the block ends.

    What is counted is PSS: a page that several processes share, such as TensorFlow's code in a process and the one that
    it starts, counts once among them. A peak that is shorter than `EVERY_S` can be missed.

    Args:
        pid: of the process; those below it count with it.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._seen: list[tuple[float, int]] = []  # seconds of `time.monotonic`, bytes

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def peak_mb(self, *spans: tuple[float, float]) -> float:
        """Return the most that was held at a time, in MB; 0 where nothing was seen.

        Args:
            spans: beginnings and ends by `time.monotonic`; none: all the time.
        """
        seen = [held for when, held in self._seen if not spans or any(first <= when <= last for first, last in spans)]
        return round(max(seen, default=0) / 1e6, 1)

    def _watch(self) -> None:
        while not self._ended.wait(EVERY_S):
            self._seen.append((time.monotonic(), _held(self._pid)))


def _held(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):  # it ended meanwhile
                total += process.memory_full_info().pss
    return total
