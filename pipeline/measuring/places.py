"""Where artifacts run while they are measured, seen from the stage: a runtime in the measuring process, or a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipeline.isolate import Child
from pipeline.measuring.runtimes import File, Source

T = TypeVar("T")
LOCAL = {"saved_model": "tensorflow", "tflite": "litert", "onnx": "onnxruntime"}


class Place(Protocol):
    """A runtime, or a served model over one protocol.

    Attributes:
        name: for people, such as "litert" or "served over grpc".
        key: what tells the runs of one artifact apart: empty in this process, else the protocol.
    """

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> str: ...
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
    """

    child: Child
    form: str
    files: Mapping[str, Path]
    threads: int
    key: str = ""

    @property
    def name(self) -> str:
        """The runtime's name."""
        return LOCAL[self.form]

    def call(self, ids: Sequence[str], function: Callable[[Mapping[str, Source]], T]) -> T:
        """Run the function with the files; see `Place.call`."""
        return self.child.call(function, {name: File(self.form, self.files[name]) for name in ids})

    def described(self) -> dict[str, Any]:
        """Return the runtime and its threads."""
        return {"runtime": self.name, "threads": self.threads, "target": "in-process"}
