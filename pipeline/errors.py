"""Every error a user can meet, classed by what the reader can do about it.

    ModelmillError
    ├── GateError          exit 1   a finished run did not pass: a better model, or --force
    ├── InputError         exit 2   fix what was given: recipe, data, model file, arguments
    ├── MissingError       exit 3   install or start what was asked for by name
    ├── RunError           exit 4   the run failed and would fail again, or needs room on a disk
    │   ├── DivergedError           a loss that is not finite
    │   ├── PromiseError            a stage broke what it is there for, or undid an earlier one
    │   ├── DiskError               full, read-only or forbidden
    │   ├── BusyError               the folder belongs to another run
    │   └── ServerError             a model server's answer: give up
    │       ├── RejectedError       fix the request or the model: it would be refused again
    │       └── UnavailableError    try again: overloaded, too slow, or gone
    └── StoppedError       exit 130 the user stopped it; the same command goes on

Each message says what was expected, what was found and what to do. Foreign exceptions are translated once, in
`cli.py`, `isolate.py` or with `translate_os_error`; a user's mistake is never a traceback.
"""

from __future__ import annotations

import errno
from pathlib import Path


class ModelmillError(Exception):
    """Base of all errors that are shown as a message and an exit code.

    Args:
        what: one sentence that says what is wrong, with the name of the offender.
        expected: what would have been right.
        found: what was there instead.
        todo: the next step, as a command or a key to change.
    """

    exit_code = 4
    # it may go well another time, so an artifact that failed of it is no result to keep
    transient = False

    def __init__(self, what: str, *, expected: str = "", found: str = "", todo: str = "") -> None:
        super().__init__(what, expected, found, todo)
        self.what, self.expected, self.found, self.todo = what, expected, found, todo

    def __reduce__(self) -> tuple[object, ...]:  # keyword arguments must survive the pipe from a child process
        return _rebuild, (type(self), self.what, self.expected, self.found, self.todo)

    def __str__(self) -> str:
        lines = [self.what]
        for label, text in (("expected", self.expected), ("found", self.found), ("what to do", self.todo)):
            if text:
                lines.append(f"  {label}: {text}")
        return "\n".join(lines)


def _rebuild(kind: type[ModelmillError], what: str, expected: str, found: str, todo: str) -> ModelmillError:
    return kind(what, expected=expected, found=found, todo=todo)


def _rebuild_server_error(
    kind: type[ServerError], what: str, code: str, expected: str, found: str, todo: str
) -> ServerError:
    return kind(what, code=code, expected=expected, found=found, todo=todo)


class GateError(ModelmillError):
    """What a run made is not to leave it: the run did not pass."""

    exit_code = 1


class InputError(ModelmillError):
    """The recipe, the data, the model file or an argument is wrong."""

    exit_code = 2


class MissingError(ModelmillError):
    """The environment lacks something that was asked for by name."""

    exit_code = 3


class RunError(ModelmillError):
    """The run failed."""

    exit_code = 4


class DivergedError(RunError):
    """A loss or a metric is not finite."""


class PromiseError(RunError):
    """A stage did not keep its promise: zeros, integer operators, accuracy within the recipe's bound."""


class DiskError(RunError):
    """A file cannot be written or read: disk full, read-only, forbidden."""


class BusyError(RunError):
    """The folder is in use by another run."""


class ServerError(RunError):
    """A model server answered with an error, or not at all.

    Attributes:
        code: the status by its gRPC name, such as "INVALID_ARGUMENT"; also for REST.
    """

    def __init__(self, what: str, *, code: str, expected: str = "", found: str = "", todo: str = "") -> None:
        super().__init__(what, expected=expected, found=found, todo=todo)
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_server_error, (type(self), self.what, self.code, self.expected, self.found, self.todo)


class RejectedError(ServerError):
    """The server refuses the request, and would again."""


class UnavailableError(ServerError):
    """The server is overloaded, too slow or gone: the same request may go well another time."""

    transient = True


class StoppedError(ModelmillError):
    """The user stopped the run (Ctrl-C or SIGTERM)."""

    exit_code = 130


_FREE = "free some space, then run the same command again: it goes on"
_MOVE = "choose another folder with --out and --store, or change its permissions"
_DISK = {
    errno.ENOSPC: ("No space left on device", _FREE),
    errno.EDQUOT: ("Disk quota exceeded", _FREE),
    errno.EROFS: ("Read-only file system", _MOVE),
    errno.EACCES: ("Permission denied", _MOVE),
    errno.EPERM: ("Operation not permitted", _MOVE),
}


def translate_os_error(error: BaseException, path: Path | None = None) -> DiskError | None:
    """Return the DiskError for an exception about a disk, or None where it is about something else.

    Libraries in C++ (TensorFlow, HDF5) raise exceptions of their own with the system's words in the text.
    """
    number = getattr(error, "errno", None)
    text = str(error)
    for known, (found, todo) in _DISK.items():
        if number == known or (not isinstance(error, FileNotFoundError) and found.lower() in text.lower()):
            where = path or getattr(error, "filename", None) or "a file"
            verb = "use" if todo == _MOVE else "write"
            return DiskError(f"cannot {verb} {where}", found=found, todo=todo)
    return None
