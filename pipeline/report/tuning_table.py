"""What a search has found, on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.report import tuning
from pipeline.report.tuning import Tuning

# trials that are shown; tune.json has all
MOST = 10


def show(found: Tuning, console: Console) -> None:
    """Print the best trials, why others failed, and what sharing saved."""
    console.print(Text(found.title(), "bold"))
    ranked = found.ranked()
    keys = list(found.space)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("trial", justify="right")
    for one in found.objectives:
        table.add_column(one.noun, justify="right")
    for key in keys:
        table.add_column(key.replace(".", ".\n"), justify="right", overflow="fold")
    table.add_column("")
    for trial in ranked[:MOST]:
        values = trial.values or {}
        mark = "best" if trial.number == found.best else "Pareto" if trial.number in found.pareto else ""
        table.add_row(
            str(trial.number), *(one.written(values[one.name]) for one in found.objectives),
            *(Text(tuning.value(trial.params[key]) if key in trial.params else "-") for key in keys), mark,
            style="bold" if trial.number == found.best else None,
        )  # fmt: skip
    console.print(table)
    if len(ranked) > MOST:
        console.print(Text(f"and {len(ranked) - MOST} more", "dim"))
    for trial in found.trials:
        if trial.state == "failed":
            console.print(Text(f"trial {trial.number} failed: {trial.why()}", "yellow"))
    for name, shares in (found.importance or {}).items():
        told = ", ".join(f"{key} {share:.0%}" for key, share in shares.items())
        noun = next(one.noun for one in found.objectives if one.name == name)
        console.print(Text(f"what decides {noun} (fANOVA): {told}", "dim"))
    for line in (found.sharing(), *found.notes):
        if line:
            console.print(Text(line, "dim"))
