"""How fast a fit's steps were, what they waited for and what memory they took: facts for the report, of no result."""

from __future__ import annotations

import resource
import sys
from typing import Any

from pipeline.fit.execution import Execution
from pipeline.fit.settings import Choice


def of(
    execution: Execution, choice: Choice, *, examples: float, steps: int, seconds: float, of: str = ""
) -> dict[str, Any]:  # fmt: skip
    """Return a fit's speed: what `report/speed.py` has as Speed, as plain values.

    Args:
        examples: in a step, on average.
        steps: of an epoch.
        seconds: of the whole fit, with validation, checkpoints and a trial of settings.
        of: which of a stage's fits it is, where it has several.
    """
    timed, outcome = execution.steps > 0, choice.outcome
    return {
        "of": of,
        "examples_per_s": examples * execution.steps / execution.seconds if timed else None,
        "step_ms": 1e3 * execution.seconds / execution.steps if timed else None,
        "input_share": min(1.0, execution.waited_s / execution.seconds) if timed else None,
        "steps": execution.steps,
        "seconds": seconds,
        "peak_memory_mb": _peak_bytes() / 1e6,
        "peak_device_memory_mb": _peak_device_mb(),
        "steps_per_execution": min(steps, execution.chunk()),
        "xla": execution.xla,
        "feeding": str(choice.settings.feeding),
        "why": choice.why,
        "outcome": outcome.key if outcome else None,
        "chosen": outcome.chosen if outcome else None,
        "trial_s": outcome.seconds if outcome else None,
        "tried": [
            {
                "settings": str(one.settings), "examples_per_s": one.examples_per_s, "loss": one.loss, "out": one.out
            }
            for one in (outcome.candidates if outcome else ())
        ],
    }  # fmt: skip


def _peak_bytes() -> int:
    """Return the most memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _peak_device_mb() -> float | None:
    import tensorflow as tf

    if not tf.config.list_logical_devices("GPU"):
        return None
    return float(tf.config.experimental.get_memory_info("GPU:0")["peak"]) / 1e6
