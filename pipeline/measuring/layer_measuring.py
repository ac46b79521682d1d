"""Measures the table of a model's layers in a child process: what a runtime dies of is a layer's reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import RunError
from pipeline.isolate import Child, CrashError, FailedError
from pipeline.measuring import layer_timing
from pipeline.measuring.layer_plan import Planned
from pipeline.measuring.layer_times import Entry, LayerTimes, total
from pipeline.measuring.layer_times_config import TimedIn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.predictor import Samples

DEADLINE_S = 600.0  # of one operation at all its widths, or of the whole model's conversion
MEMORY_MB = 8192


@dataclass(frozen=True)
class Measured:
    """A table, and the failures in it that may not come again."""

    table: LayerTimes
    transient: tuple[str, ...] = ()


def measure(
    model: Path, entries: Mapping[Planned, list[str]], untimed: Mapping[str, str], target: TimedIn,
    samples: Samples, work: Path, *, tell: Callable[[int, int, str], None],
) -> Measured:  # fmt: skip
    """Return the table of a stage's model.

    Args:
        model: the stage's folder.
        entries, untimed: see `layer_plan.plan`.
        samples: raw, n >= 1; the first is what the whole model is timed with, all fix the ranges of int8.
        work: folder for the converted model.
        tell: takes how many of how many operations are done, and the one at work.

    Raises:
        RunError: the whole model does not run in the runtime.
    """
    reasons, passing = dict(untimed), []
    with Child(deadline_s=DEADLINE_S, memory_mb=MEMORY_MB, threads=target.threads) as child:
        tell(0, len(entries), "the whole model")
        wholes = [_whole(child, model, target, samples, work)]
        timed: list[tuple[Planned, list[str], list[float], float]] = []
        for done, (planned, layers) in enumerate(entries.items()):
            tell(done, len(entries), f"{planned.operation.name} ({', '.join(layers)})")
            try:
                ms, whole = child.call(layer_timing.time_operation, model, planned.operation, planned.points, target)
            except (CrashError, FailedError, RunError) as failure:
                said = f"the runtime died: {failure}" if isinstance(failure, CrashError) else str(failure)
                reasons |= dict.fromkeys(layers, said)
                if not isinstance(failure, RunError) and (isinstance(failure, FailedError) or failure.transient):
                    passing.append(f"{', '.join(layers)}: {said.splitlines()[0]}")
                if child.pid is None:
                    _whole(child, model, target, samples, work)
                continue
            timed.append((planned, layers, ms, whole))
            wholes.append(whole)
    usual = float(np.median(wholes))
    # a layer of which one part failed is a constant as a whole
    listed = [
        _entry(planned, kept, [usual / whole * each for each in ms])
        for planned, layers, ms, whole in timed
        if (kept := [name for name in layers if name not in reasons])
    ]
    table = LayerTimes(
        runtime=target.runtime, precision=target.precision, threads=target.threads, whole_ms=usual,
        sum_ms=total(listed), entries=listed, untimed=reasons,
    )  # fmt: skip
    return Measured(table, tuple(passing))


def _whole(child: Child, model: Path, target: TimedIn, samples: Samples, work: Path) -> float:
    """Let the child convert and load the model; return the milliseconds that it takes."""
    try:
        child.call(layer_timing.convert, model, target, samples, work)
        (times,) = child.call(layer_timing.time_wholes, [model])
        return float(np.median(times))
    except (CrashError, FailedError) as failure:
        raise RunError(
            f"the model cannot be timed in {target.runtime} {target.precision}", found=str(failure),
            todo="choose another shrink.latency.runtime, or shrink.macs instead of shrink.latency",
        ) from failure  # fmt: skip


def _entry(planned: Planned, layers: list[str], ms: list[float]) -> Entry:
    columns = len(planned.outputs)
    rows = [ms[start : start + columns] for start in range(0, len(ms), columns)]
    return Entry(
        operation=planned.operation.name, layers=layers, inputs=list(planned.inputs), outputs=list(planned.outputs),
        ms=[[round(each, 6) for each in row] for row in rows],
    )  # fmt: skip
