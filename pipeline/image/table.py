"""What the command shows of an image: its measurements, the gates, and how to start it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from pipeline.report.words import size

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.image.document import Image
    from pipeline.report.document import Gate


def show(image: Image, path: Path, console: Console) -> None:
    """Print it."""
    base = f"{image.base.name}, {size(image.base.bytes)}"
    console.print(f"\n[bold]{escape(image.artifact.id)}[/] as {image.name} version {image.version}, on {base}")
    if image.artifact.runs:
        console.print(_measured(image))
    console.print(_gates(image.gates))
    if image.tag:
        console.print(f"[bold green]tagged[/] {image.tag}, {size(image.added)} above its base", soft_wrap=True)
        console.print(f"start:  {image.command}", soft_wrap=True)
    else:
        console.print(f"[bold red]not tagged[/] {image.wanted}: {escape(_reason(image))}", soft_wrap=True)
    console.print(f"facts:  {path}", soft_wrap=True)


def _reason(image: Image) -> str:
    """Return why it has no tag; of an error the first line, as the rest was told when it happened."""
    missed = [gate.name for gate in image.gates if gate.word == "fail"]
    reasons = [f"it failed {', '.join(missed)}"] if missed else []
    reasons += [image.artifact.error.splitlines()[0]] if image.artifact.error else []
    again = "; the same command tries again" if image.verdict == "error" else ""
    return f"{'; '.join(reasons)}; it is removed{again}"


def _measured(image: Image) -> Table:
    table = Table("", "quality", "parity", "p50 ms", "p99 ms", "samples/s, batched", "first request ms")
    first: dict[str, str] = {one.protocol: f"{min(one.tries_ms):.3g}" for one in image.first_requests}
    for run in image.artifact.runs:
        single, batched = run.single_stream(), run.batched()
        quality = ", ".join(f"{name} {run.metrics[name].value:.4g}" for name in run.judged if name in run.metrics)
        times = [f"{value:.3g}" for value in (single.p50_ms, single.p99_ms)] if single else ["", ""]
        throughput = f"{batched.throughput_per_s:.0f}" if batched else ""
        protocol = run.protocol or ""
        agreement = f"{run.parity.agreement().value:.4g}" if run.parity else ""
        table.add_row(protocol, quality, agreement, *times, throughput, first.get(protocol, ""))
    return table


def _gates(gates: list[Gate]) -> Table:
    table = Table("gate", "", "found")
    for gate in gates:
        colour = "green" if gate.passed else "red"
        table.add_row(
            gate.name, f"[{colour}]{gate.word}[/]", "" if gate.word == "not measured" else escape(gate.message)
        )
    return table
