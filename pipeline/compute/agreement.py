"""What workers that train together must have in common before and while they do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar, cast

from pipeline.compute.meeting import Meeting
from pipeline.errors import RunError

T = TypeVar("T")

_present: ContextVar[Meeting | None] = ContextVar("meeting", default=None)


@contextmanager
def entered(meeting: Meeting | None) -> Iterator[None]:
    """Let what happens inside the block be agreed on with the other workers, as the strategy's scope is entered."""
    before = _present.set(meeting)
    try:
        yield
    finally:
        _present.reset(before)


def common(epochs: Sequence[int]) -> list[int]:
    """Return the epochs that all workers have, the newest first; those of this process where it works alone.

    Args:
        epochs: whose checkpoints this worker has, whole.
    """
    meeting = _present.get()
    if meeting is None:
        return list(epochs)
    everyone = [set(one) for one in meeting.gather(list(epochs))]
    return sorted(set.intersection(*everyone), reverse=True)


def everywhere(fine: bool) -> bool:
    """Return whether something is so on all workers; what is said, where this process works alone."""
    meeting = _present.get()
    return fine if meeting is None else all(meeting.gather(fine))


def of_first(value: T) -> T:
    """Return what worker 0 has; what is given, where this process works alone. It is what JSON can hold."""
    meeting = _present.get()
    return value if meeting is None else cast("T", meeting.gather(value)[0])


def problem(own: str) -> str:
    """Return what is wrong with something on this worker, or else on another; empty: it is well on all.

    Args:
        own: what is wrong on this one; empty: nothing.
    """
    meeting = _present.get()
    if meeting is None:
        return own
    said = [f"{text}, on {meeting.workers.name(index)}" for index, text in enumerate(meeting.gather(own)) if text]
    return own or next(iter(said), "")


def all_have(meeting: Meeting, stage: str, parts: Mapping[str, str], have: bool) -> bool:
    """Return whether all workers have a stage's result; raises where they are about to make different ones.

    Args:
        parts: what decides the result, by kind: hashes.

    Raises:
        RunError: they differ.
    """
    everyone = meeting.gather({"stage": stage, "parts": dict(parts), "have": have})
    _require_equal(meeting, [one["stage"] for one in everyone], "the stage that comes next", _RECIPE)
    for kind, (what, todo) in _KINDS.items():
        _require_equal(meeting, [one["parts"].get(kind) for one in everyone], f"{what} ({stage})", todo)
    return all(one["have"] for one in everyone)


def require_same(meeting: Meeting, stage: str, files: Mapping[str, str]) -> None:
    """Hold the workers to one result of a stage.

    Args:
        files: path -> sha256 of what a later stage depends on.

    Raises:
        RunError: they made different models.
    """
    everyone = meeting.gather(dict(files))
    differ = sorted({name for one in everyone for name, _ in one.items() ^ everyone[0].items()})
    if differ:
        raise RunError(
            f"the workers made different results in {stage}, although they trained together",
            expected="the same files on all workers", found=f"different: {', '.join(differ)}",
            todo="use machines of one kind, with the same libraries: processors that round differently end with "
            "different weights",
        )  # fmt: skip


_RECIPE = "give all workers the same recipe and the same --set"
_KINDS = {
    "settings": ("settings of the recipe", _RECIPE),
    "content": ("the data's content", "give all workers the same data"),
    "code": ("modelmill's source", "install the same version on all workers"),
    "versions": ("versions of Python or the libraries", "install the same versions on all workers"),
    "surroundings": ("the processor, devices, or what else surrounds the stage", "use machines of one kind"),
    "inputs": ("what earlier stages made", "remove the store of those that differ from worker 0, to make it again"),
    "afresh": ("the option --from", "give all workers the same --from"),
}


def _require_equal(meeting: Meeting, values: Sequence[object], what: str, todo: str) -> None:
    odd = [index for index, value in enumerate(values) if value != values[0]]
    if odd:
        raise RunError(
            f"the workers do not work on the same: {what} differ", expected="the same on all workers",
            found=f"{', '.join(meeting.workers.name(index) for index in odd)}: not as {meeting.workers.name(0)}",
            todo=todo,
        )  # fmt: skip
