"""The arithmetic of bench.html's figures; the template draws them as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.bench.document import Bench, Result, Target, Trial
from pipeline.report import distribution
from pipeline.report.axis import linear, logarithmic
from pipeline.report.distribution import Place
from pipeline.report.tuning_figures import HEIGHT, WIDTH, Mark, Plot
from pipeline.report.words import milliseconds, number


@dataclass(frozen=True)
class Part:
    """A piece of a bar; `x` and `width` are shares of the longest bar, in per cent."""

    kind: str  # "network", "server" or "runtime"
    x: float
    width: float
    ms: float


@dataclass(frozen=True)
class Bar:
    """Where a target's time goes: `parts` add up to what the client waited."""

    name: str
    title: str
    client_ms: float
    parts: tuple[Part, ...]
    said: str


KINDS = {"network": "network, serialization and client", "server": "server without the model", "runtime": "the model"}


def distributions(found: Bench) -> list[Place]:
    """Return how the latencies of each scenario are distributed, its targets on one axis."""
    places = []
    for title in found.titles():
        rows = [
            (target.name, one, buckets)
            for target, one in found.of(title)
            if (buckets := distribution.buckets(one.histogram))
        ]
        if rows:
            places.append(distribution.place(title, "in turns", rows))
    return places


def bars(found: Bench) -> list[Bar]:
    """Return the split of the client's time, of every result whose server tells its own."""
    told = [(target, one) for target in found.targets for one in target.results if one.server is not None]
    longest = max((one.server.client_ms for _, one in told if one.server), default=1.0)
    return [_bar(target, one, longest) for target, one in told]


def _bar(target: Target, one: Result, longest: float) -> Bar:
    assert one.server is not None
    spent = one.server
    split = {"network": spent.network_ms, "server": spent.server_ms, "runtime": spent.runtime_ms}
    parts, at = [], 0.0
    for kind, ms in split.items():
        if ms is not None:
            width = 100 * ms / longest
            parts.append(Part(kind, round(at, 2), round(width, 2), ms))
            at += width
    words = ", ".join(f"{KINDS[part.kind]} {milliseconds(part.ms)} ms" for part in parts)
    said = f"{target.name}, {one.title}: {milliseconds(spent.client_ms)} ms for the client: {words}"
    return Bar(target.name, one.title, spent.client_ms, tuple(parts), said)


def searches(found: Bench) -> list[Plot]:
    """Return for each search the rates it tried against their p99; filled is what met the bound."""
    plots: list[Plot] = []
    for title in found.titles():
        for target, one in found.of(title):
            if drawn := [trial for trial in one.trials if trial.p99_ms is not None and trial.rate_per_s > 0]:
                plots.append(_search(f"search-{len(plots)}", target, one, drawn))
    return plots


def _search(key: str, target: Target, one: Result, trials: Sequence[Trial]) -> Plot:
    x = linear([trial.rate_per_s for trial in trials], number)
    bound = one.bound_ms or 1.0
    y = logarithmic([*(max(trial.p99_ms or 0, 1e-3) for trial in trials), bound], number, room=1.1, ticks=5)
    marks = tuple(
        Mark(
            place, WIDTH * x.at(trial.rate_per_s), HEIGHT * (1 - y.at(trial.p99_ms or 0)), trial.valid,
            f"round {trial.round}: {number(round(trial.rate_per_s, 1))}/s, p99 {milliseconds(trial.p99_ms or 0)} ms"
            + (f", {trial.shed} shed" if trial.shed else ""),
        )
        for place, trial in enumerate(trials)
    )  # fmt: skip
    height = HEIGHT * (1 - y.at(bound))
    limit = f"0.0,{height:.1f} {WIDTH:.1f},{height:.1f}"
    highest = one.max_rate_per_s
    said = f"{target.name}: {len(trials)} rates were tried in {one.blocks} rounds; " + (
        f"the highest within {bound:g} ms is {number(round(highest.value, 1))}/s" if highest else "none met the bound"
    )
    return Plot(
        key, f"{target.name}, {one.title}", "arrivals per second", f"p99 in ms, line: {bound:g} ms", x, y, marks,
        limit, said,
    )  # fmt: skip
