"""How fast the steps of a fit were, and with which settings, as a type; and as rows of a table."""

from __future__ import annotations

from pydantic import Field

from pipeline.config import Frozen


class Tried(Frozen):
    """Settings that a trial has looked at; `out` says why they cannot be taken, empty: they can."""

    settings: str
    examples_per_s: float | None = None
    loss: float | None = None
    out: str = ""


class Speed(Frozen):
    """A fit's speed, of the call that ended it; steps that compile are left out.

    `input_share` is the share of the time of the steps in which they waited for their batch, taken inside the graph
    around the iterator's `next`. `peak_memory_mb` (10^6 bytes) is the process's so far, `peak_device_memory_mb` that of
    the first GPU, null without one. `steps_per_execution` is how many ran at once. `why` says how the settings were
    chosen, `outcome` is the key of the trial in the store, `tried` its candidates.
    """

    of: str = ""
    examples_per_s: float | None
    step_ms: float | None
    input_share: float | None
    steps: int
    seconds: float
    peak_memory_mb: float
    peak_device_memory_mb: float | None = None
    steps_per_execution: int
    xla: bool
    feeding: str
    why: str
    outcome: str | None = None
    chosen: int | None = None
    trial_s: float | None = None
    tried: tuple[Tried, ...] = Field(default=())


def settings(speed: Speed) -> str:
    """Return in words how a fit's steps were carried out."""
    plural = "step" if speed.steps_per_execution == 1 else "steps"
    return f"{speed.steps_per_execution} {plural} at once, {'XLA' if speed.xla else 'no XLA'}, {speed.feeding}"


def said(speed: Speed) -> str:
    """Return a fit's speed in a line."""
    chosen = f"{settings(speed)}: {speed.why}"
    memory = f"{speed.peak_memory_mb:,.0f} MB"
    if speed.peak_device_memory_mb is not None:
        memory += f" and {speed.peak_device_memory_mb:,.0f} MB of the GPU"
    if speed.examples_per_s is None or speed.step_ms is None or speed.input_share is None:
        return f"no step was timed; {memory}; {chosen}"
    return (
        f"{speed.examples_per_s:,.0f} examples/s, {speed.step_ms:.3g} ms a step, {100 * speed.input_share:.0f} % of it "
        f"waiting for input, {memory}; {chosen}"
    )
