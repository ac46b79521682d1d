"""Axes: from values to places along a line, with ticks that are round numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

Form = Callable[[float], str]
_NARROW = 4  # from the lowest to the highest value


@dataclass(frozen=True)
class Tick:
    """`at` is a place along the axis, in [0, 1]."""

    at: float
    label: str


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, in equal steps or, where `log`, in equal ratios."""

    low: float
    high: float
    log: bool
    ticks: tuple[Tick, ...]

    def at(self, value: float) -> float:
        """Return the place of a value, in [0, 1]; what is outside is put on the edge."""
        return min(max(_share(value, self.low, self.high, log=self.log), 0.0), 1.0)


def _share(value: float, low: float, high: float, *, log: bool) -> float:
    if log:
        value, low, high = (math.log(max(number, 1e-300)) for number in (value, low, high))
    return (value - low) / (high - low)


def linear(values: Iterable[float], form: Form = "{:g}".format, *, ticks: int = 4, most: float | None = None) -> Axis:
    """Return an axis that holds all values, its ends on ticks.

    Args:
        values: at least one, finite.
        form: the words for a tick.
        ticks: how many intervals, about.
        most: where the axis ends at the latest.
    """
    found = list(values)
    low, high = min(found), max(found)
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # all are equal: some room around them
        room = abs(high) / 10 or 1.0
        low, high = low - room, high + room
    step = _round_step((high - low) / ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ends = first * step, last * step
    if most is not None and ends[1] > most:
        ends = ends[0], most
    marks = [number * step for number in range(first, last + 1) if number * step <= ends[1] + step * 1e-6]
    # steps of 0.1 add up to 0.30000000000000004
    marks = [round(mark, 12) for mark in marks]
    return Axis(*ends, False, tuple(Tick(_share(mark, *ends, log=False), form(mark)) for mark in marks))


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))


def logarithmic(values: Iterable[float], form: Form = "{:g}".format, *, room: float = 1.0, ticks: int = 7) -> Axis:
    """Return an axis in equal ratios.

    Args:
        values: at least one, all above 0.
        form: the words for a tick.
        room: the ratio that is left free at both ends, >= 1.
        ticks: how many at most.
    """
    found = list(values)
    low, high = min(found) / room, max(found) * room
    if high / low < 1.5:
        low, high = low / 1.25, high * 1.25
    if high / low < _NARROW:  # few round numbers: those of a linear axis, at their places on this one
        steps = linear([low, high], form, ticks=ticks - 2)
        marks = [steps.low + tick.at * (steps.high - steps.low) for tick in steps.ticks]
        kept = [(round(mark, 12), tick.label) for mark, tick in zip(marks, steps.ticks, strict=True)]
        return Axis(
            low, high, True,
            tuple(Tick(_share(mark, low, high, log=True), label) for mark, label in kept if low <= mark <= high),
        )  # fmt: skip
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    chosen: list[float] = []
    for factors in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        chosen = [factor * 10.0**power for power in powers for factor in factors]
        chosen = [mark for mark in chosen if low <= mark <= high]
        if len(chosen) <= ticks:
            break
    every = math.ceil(len(chosen) / ticks) if chosen else 1
    return Axis(low, high, True, tuple(Tick(_share(mark, low, high, log=True), form(mark)) for mark in chosen[::every]))
