"""What a stage is: a module with a typed config and one function `run`, which meets others only through artifacts.

A stage module has these names:

    NAME       its name in the recipe, in the store and on the terminal
    INPUTS     names of the stages whose artifacts it reads, where the recipe has them
    CODE       the source (files or folders below the packages' root) that decides its result; a test compares it with
               the import graph
    LIBRARIES  the distributions whose versions decide its result
    run        `run(job, *, section, ...) -> Result`; its keyword-only parameters name the recipe's sections that it
               reads. Only these are handed over and only these enter the fingerprint, so that a stage cannot depend on
               what its fingerprint does not know.

and may have `surroundings(emit, *, section, ...) -> Surroundings`: what else decides its result, such as the machine
that measures; and `assess(metrics, emit, *, section, ...) -> None`, which holds a result, stored or new, to the bounds
of the recipe and raises where the run has to end; and `ahead(*, section, ...) -> Child`, which starts the process that
its work is done in: imports take seconds, and pass while the stage before works.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.artifact import Artifact
from pipeline.events import Emit

if TYPE_CHECKING:
    from pipeline.isolate import Child


@dataclass(frozen=True)
class Surroundings:
    """What decides a stage's result besides its settings and inputs.

    Attributes:
        decisive: plain values; they enter the fingerprint.
        found: whatever the stage wants to find only once; it gets it back in its job.
    """

    decisive: Mapping[str, Any] = field(default_factory=dict)
    found: Any = None


@dataclass(frozen=True)
class Job:
    """What a stage gets besides its sections of the recipe.

    Attributes:
        folder: empty folder for the result; it appears in the store by a rename when `run` has returned.
        work: folder for unfinished work; it survives an interruption under the same fingerprint.
        inputs: the artifacts of the stages named in INPUTS.
        emit: takes what the user should see meanwhile.
        found: what the stage's `surroundings` found.
        child: what its `ahead` started, where the stage before was one that worked.
        store: where decoded data lies, shared by all stages; None: each decodes its own.
    """

    folder: Path
    work: Path
    inputs: Mapping[str, Artifact]
    emit: Emit
    found: Any = None
    child: Child | None = None
    store: Path | None = None


@dataclass(frozen=True)
class Result:
    """What a stage has to say of its result.

    Attributes:
        metrics: figures for the report.
        transient: failures of the moment (a time-out, a killed child) that are part of the result. It is used in
            this run, and made again in the next.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    transient: tuple[str, ...] = ()


class Stage(Protocol):
    """The names of a stage module, for the type checker."""

    @property
    def NAME(self) -> str: ...  # noqa: N802
    @property
    def INPUTS(self) -> tuple[str, ...]: ...  # noqa: N802
    @property
    def CODE(self) -> tuple[str, ...]: ...  # noqa: N802
    @property
    def LIBRARIES(self) -> tuple[str, ...]: ...  # noqa: N802
    @property
    def run(self) -> Callable[..., Result]: ...


def sections(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the recipe's sections that a function of a stage reads: its keyword-only parameters."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)
