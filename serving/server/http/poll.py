"""Waits for sockets, from many threads at once: whoever waits gets the next one that is ready, and owns it.

A socket is reported once, then not again before it is armed again. So no thread hands a request to another.
"""

from __future__ import annotations

import select
import sys

if sys.platform == "linux":

    class Poller:
        """The system's epoll."""

        def __init__(self) -> None:
            self._epoll = select.epoll()

        def add(self, fd: int) -> None:
            """Wait for a new socket to bring something."""
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLONESHOT)

        def arm(self, fd: int, *, to_write: bool) -> None:
            """Wait for a socket again: to take something, or to bring something."""
            self._epoll.modify(fd, (select.EPOLLOUT if to_write else select.EPOLLIN) | select.EPOLLONESHOT)

        def add_for_all(self, fd: int) -> None:
            """Report a descriptor to every thread, as long as it is ready."""
            self._epoll.register(fd, select.EPOLLIN)

        def wait(self) -> int:
            """Return a descriptor that is ready."""
            while True:
                for fd, _ in self._epoll.poll(None, 1):
                    return fd

else:

    class Poller:
        """The system's kqueue."""

        def __init__(self) -> None:
            self._queue = select.kqueue()

        def add(self, fd: int) -> None:
            """Wait for a new socket to bring something."""
            self.arm(fd, to_write=False)

        def arm(self, fd: int, *, to_write: bool) -> None:
            """Wait for a socket again: to take something, or to bring something."""
            kind = select.KQ_FILTER_WRITE if to_write else select.KQ_FILTER_READ
            self._queue.control([select.kevent(fd, kind, select.KQ_EV_ADD | select.KQ_EV_ONESHOT)], 0)

        def add_for_all(self, fd: int) -> None:
            """Report a descriptor to every thread, as long as it is ready."""
            self._queue.control([select.kevent(fd, select.KQ_FILTER_READ, select.KQ_EV_ADD)], 0)

        def wait(self) -> int:
            """Return a descriptor that is ready."""
            while True:
                for event in self._queue.control(None, 1):
                    return int(event.ident)
