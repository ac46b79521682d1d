"""What the terminal and the page say in the same words: columns, captions, remarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.bench.document import Bench, Ratio, Result, Target
from pipeline.report.model import Interval
from pipeline.report.words import milliseconds, number

INVALID = "INVALID"
Row = tuple[Target, Result]


@dataclass(frozen=True)
class Column:
    """One column of a scenario's table."""

    title: str
    cell: Callable[[Target, Result], str]
    numeric: bool = True


def columns(rows: Sequence[Row], against: str) -> list[Column]:
    """Return the columns that a scenario's rows fill, beside the target's own."""
    results = [one for _, one in rows]
    found: list[Column] = []
    if any(one.trials for one in results):
        found.append(Column("highest rate/s", lambda _, one: _spread(one.max_rate_per_s, _rate)))
    found += [
        Column("p50 ms", lambda _, one: _plain(one.p50_ms, milliseconds)),
        Column("p90 ms", lambda _, one: _plain(one.p90_ms, milliseconds)),
        Column("p99 ms", lambda _, one: _plain(one.p99_ms, milliseconds)),
        Column("samples/s", lambda _, one: _plain(one.throughput_per_s, _rate)),
        Column("queries", lambda _, one: number(one.queries)),
        Column("valid", lambda _, one: "valid" if one.valid else INVALID, numeric=False),
    ]
    if any(one.shed for one in results):
        found.append(Column("shed", lambda _, one: number(one.shed)))
    if any(one.bound_ms for one in results):
        found.append(Column("late", lambda _, one: number(one.late)))
    if any(one.server for one in results):
        found.append(Column("server ms", lambda _, one: milliseconds(one.server.request_ms) if one.server else "-"))
    for key, title in (
        ("latency_speedup", "times as fast"),
        ("throughput_ratio", "times samples/s"),
        ("max_rate_ratio", "times the rate"),
    ):
        if any(getattr(one, key) for one in results):
            found.append(Column(title, _ratios(key, against)))
    return found


def _ratios(key: str, against: str) -> Callable[[Target, Result], str]:
    def cell(target: Target, one: Result) -> str:
        ratio: Ratio | None = getattr(one, key)
        if ratio is None:
            return "1" if target.name == against else "-"
        return _spread(ratio, _times) + ("" if ratio.valid else f" {INVALID}")

    return cell


def _plain(one: Interval | None, form: Callable[[float], str]) -> str:
    return "-" if one is None else form(one.value)


def _spread(one: Interval | None, form: Callable[[float], str]) -> str:
    return "-" if one is None else f"{form(one.value)} ({form(one.low)} to {form(one.high)})"


def _times(value: float) -> str:
    """Return a ratio in two or three digits: 0.0067, 0.85, 1.42, 12.3, 1,234."""
    if value < 0.1:
        return f"{value:#.2g}"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def caption(title: str, rows: Sequence[Row], against: str) -> str:
    """Return a scenario's title with what holds for all its rows."""
    one = rows[0][1]
    parts = [title]
    if one.rate_per_s is not None:
        parts.append(f"{one.rate_per_s:g} samples/s arrive (Poisson)")
    if one.bound_ms is not None:
        parts.append(f"p{100 * one.percentile:g} within {one.bound_ms:g} ms")
    fewest = min(result.blocks for _, result in rows)
    unit = "search" if any(result.trials for _, result in rows) else "block"
    # whole searches take turns and not their blocks, so that what else the machine does hits them less evenly
    turns = ", one after the other's" if unit == "search" and len(rows) > 1 else ""
    parts.append(f"{fewest} {unit}{'' if fewest == 1 else 'e' * (unit == 'search') + 's'} each{turns}")
    if len(rows) > 1:
        parts.append(f"ratios to {against}, with 95 % intervals")
    return "; ".join(parts)


def _sent(target: Target) -> str:
    """Return how a served target's tensors travel, and to which server; empty of a file."""
    if not target.encoding or not target.results:
        return ""
    who = " ".join(str(part) for part in (target.server or {}).values() if part)
    return f"tensors as {target.encoding}, {target.connection}" + (f"; server: {who}" if who else "")


def remarks(found: Bench) -> list[str]:
    """Return what a reader has to know, in sentences."""
    lines = [
        f"{target.name}: {'measured no further' if target.results else 'not measured'}: {target.error}"
        for target in found.targets
        if target.error
    ]
    if found.stopped:
        lines.insert(0, "STOPPED before its end: blocks, scenarios or targets are missing")
    lines += found.invalid()
    if any("_duration_ms" in text for target in found.targets for one in target.results for text in one.advice):
        lines.append("min_duration_ms is --duration; max_duration_ms four times that, and at least 60000")
    for target in found.targets:
        limited = [one for one in target.results if one.client_limited]
        if limited:
            most = max(one.client_cores or 0 for one in limited)
            lines.append(
                f"{target.name}: the client in Python took up to {most:.2f} cores: it limits the rate of "
                f"{' and '.join(one.title for one in limited)}, not what is measured alone"
            )
        lines += [f"{target.name}: {note}" for note in target.notes]
    for said in dict.fromkeys(target.samples for target in found.targets if target.samples):
        of = [target.name for target in found.targets if target.samples == said]
        lines.append(f"Samples of {'all' if len(of) == len(found.targets) else ', '.join(of)}: {said}")
    for said in dict.fromkeys(filter(None, map(_sent, found.targets))):
        lines.append(f"{', '.join(target.name for target in found.targets if _sent(target) == said)}: {said}")
    if not any(target.results for target in found.targets):
        return lines
    cpu, cores = found.machine.get("cpu"), found.machine.get("cores")
    generators = dict.fromkeys(one.generator for target in found.targets for one in target.results)
    lines.append(f"Measured by {' and '.join(generators)} on {cpu}, {cores} cores")
    lines.append(f"Each figure: {found.method}")
    return lines
