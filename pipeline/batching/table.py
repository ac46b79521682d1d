"""What a search over batching parameters has found, on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.batching import words
from pipeline.batching.document import Search, Trial
from pipeline.report.model import Interval

_COLUMNS = (
    "size x threads, wait, queue", "rungs", "blocks", "highest rate/s", "VALID at", "p50 ms", "p99 ms", "shed", "met"
)  # fmt: skip


def show(found: Search, console: Console) -> None:
    """Print every candidate, the best first, and what batching buys."""
    console.print(Text(words.title(found), "bold"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name.startswith("size") or name == "met" else "right")
    baseline, *others = found.trials
    ranked = sorted(others, key=lambda one: (one.name != found.finalist, -one.max_rate_per_s.value))
    for one in (baseline, *ranked):
        table.add_row(*_row(one), style="bold" if one.name == found.finalist else None)
    console.print(table)
    at = "over all blocks that met the bound" if found.rate_per_s is None else f"at {found.rate_per_s:g}/s"
    console.print(Text(f"p50, p99 and shed {at}; in brackets 95 % intervals", "dim"))
    console.print(Text(words.verdict(found), "green" if found.verdict == "found" else "yellow"))
    for line in words.advice(found):
        console.print(Text(f"what would help: {line}" if found.verdict == "missed" else line))
    for line in words.notes(found):
        console.print(Text(line, "dim"))


def _row(one: Trial) -> tuple[str, ...]:
    there = one.pooled
    return (
        one.name, str(one.rungs), str(len(one.blocks)), words.interval(one.max_rate_per_s),
        f"{one.max_valid_rate_per_s:.4g}" if one.max_valid_rate_per_s else "-",
        _ms(there.p50_ms) if there else "-", _ms(there.p99_ms) if there else "-",
        f"{there.shed_share:.2%}" if there else "-", ("yes" if there.met else "no") if there else "no",
    )  # fmt: skip


def _ms(one: Interval | None) -> str:
    return "late" if one is None else words.interval(one)
