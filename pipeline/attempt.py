"""What may fail for one artifact without failing the others: tried, told, and remembered for the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from pipeline.errors import DiskError, RunError
from pipeline.events import Emit, Note
from pipeline.isolate import CrashError, FailedError

T = TypeVar("T")
Failure = CrashError | FailedError | RunError


@dataclass
class Attempts:
    """The failures of a stage so far.

    Attributes:
        stage: its name, for the notes.
        actor: who may die of an artifact: "converter", "runtime".
        errors: artifact id -> why it failed.
        passing: the artifacts that failed of the moment alone.
        transient: their failures, for `Result.transient`.
    """

    stage: str
    actor: str
    emit: Emit
    errors: dict[str, str] = field(default_factory=dict)
    passing: set[str] = field(default_factory=set)
    transient: list[str] = field(default_factory=list)

    def attempt(self, name: str, function: Callable[[], T]) -> T | None:
        """Return the function's result, or None where the artifact failed.

        Raises:
            DiskError: that fails the run, not the artifact.
        """
        try:
            return function()
        except DiskError:
            raise
        except (CrashError, FailedError, RunError) as failure:
            self.fail(name, failure)
            return None

    def fail(self, name: str, failure: Failure) -> None:
        """Remember that an artifact failed, and say so."""
        self.errors[name] = f"the {self.actor} died: {failure}" if isinstance(failure, CrashError) else str(failure)
        # a FailedError is nothing that we know the artifact can be blamed for: it may go well another time
        if isinstance(failure, FailedError) or failure.transient:
            self.passing.add(name)
            self.transient.append(f"{name}: {str(failure).splitlines()[0]}")
        self._tell(name)

    def recall(self, name: str, error: str) -> None:
        """Remember a failure that an interrupted call has kept, and say so again."""
        self.errors[name] = error
        self._tell(name)

    def _tell(self, name: str) -> None:
        self.emit(Note(self.stage, f"{name} failed: {self.errors[name]}", level="warning"))
