"""Where artifacts run while they are measured, seen from the stage: a runtime in the measuring process, or a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipeline.isolate import Child
from pipeline.measuring.source import File, Source

T = TypeVar("T")
LOCAL = {"saved_model": "tensorflow", "tflite": "litert", "onnx": "onnxruntime"}


class Place(Protocol):
    """A runtime, or a served model over one protocol.

    Attributes:
        name: for people, such as "litert", "litert with 4 threads" or "served over grpc".
        key: what tells the runs of one artifact apart: empty in this process, else the protocol; or, in this process
            with another number of threads than all else, that.
        threads: of the runtimes in this process; what is served has its own.
    """

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def threads(self) -> int: ...
    def call(self, ids: Sequence[str], function: Callable[[Mapping[str, Source]], T]) -> T:
        """Run `function({id: where it is})` in the measuring process.

        Raises:
            CrashError, FailedError, RunError: as `Child.call`, and RunError where the place cannot run an artifact.
        """
        ...

    def described(self) -> dict[str, Any]:
        """Return the facts about the place for an artifact's run in report.json."""
        ...


@dataclass(frozen=True)
class Local:
    """A runtime inside the measuring process.

    Attributes:
        form: the format of its files.
        files: artifact id -> file.
        threads: that it runs with.
        key: empty, or "N-threads" where these are not the threads of the other places.
    """

    child: Child
    form: str
    files: Mapping[str, Path]
    threads: int
    key: str = ""

    @property
    def name(self) -> str:
        """The runtime's name."""
        threads = f" with {self.threads} thread{'' if self.threads == 1 else 's'}" if self.key else ""
        return f"{LOCAL[self.form]}{threads}"

    def call(self, ids: Sequence[str], function: Callable[[Mapping[str, Source]], T]) -> T:
        """Run the function with the files; see `Place.call`."""
        return self.child.call(function, {name: File(self.form, self.files[name]) for name in ids})

    def described(self) -> dict[str, Any]:
        """Return the runtime and its threads."""
        return {"runtime": LOCAL[self.form], "threads": self.threads, "target": "in-process"}
