"""What the page says of files that an app opens by itself: how they start, what they need, at which threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.report.document import Artifact, Report, Run
from pipeline.report.operators import Operators
from pipeline.report.startup import Startup
from pipeline.report.words import milliseconds, percent, threads, where


@dataclass(frozen=True)
class File:
    """A file in its own runtime, with a run for each number of threads."""

    artifact: Artifact
    runtime: str
    runs: tuple[Run, ...]


def files(report: Report) -> list[File]:
    """Return the files whose start was measured, or what other threads do for them, in the report's order."""
    return [found for artifact in report.artifacts for found in _of(artifact)]


def _of(artifact: Artifact) -> Iterator[File]:
    own = [run for run in artifact.runs if run.startup or run.unstarted]
    runs = sorted((*own, *artifact.at_other_threads), key=lambda run: run.threads or 0)
    if runs:
        yield File(artifact, where(runs[0].runtime, None), tuple(runs))


def compared(report: Report) -> bool:
    """Return whether some file ran with several numbers of threads."""
    return any(artifact.at_other_threads for artifact in report.artifacts)


def method(report: Report) -> str:
    """Return what the figures rest on; empty where nothing was started."""
    found = next((run.startup for file in files(report) for run in file.runs if run.startup), None)
    if found is None:
        return ""
    text = (
        f"Load and first answer: medians of {found.repeats} fresh processes with the file in the system's cache, and "
        "below them the lowest and the highest, which are no 95 % interval; the runtime's import is not in it. Memory: "
        "what both add at their peak, private pages and those of the file that "
        "are mapped, without the runtime's code"
    )
    turns = ". Files with the same number of threads took turns, those with others did not"
    return text + turns * compared(report)


def spread(values: Sequence[float]) -> str:
    """Return the lowest and the highest of some milliseconds."""
    return f"{milliseconds(min(values))} to {milliseconds(max(values))}"


def unknown(report: Report) -> list[str]:
    """Return whose start could not be measured, and why, a sentence each."""
    return [
        f"How {file.artifact.id} starts with {threads(run)} is not known: {run.unstarted}"
        for file in files(report)
        for run in file.runs
        if run.unstarted
    ]


def memory(start: Startup | None) -> str:
    """Return the memory that a start adds, in MiB."""
    return "-" if start is None or start.memory_mib is None else f"{start.memory_mib:.2f}"


def accelerated(artifact: Artifact) -> str:
    """Return how many operators XNNPACK takes, and which are left: "7 of 8 operators in 2 pieces; left: SOFTMAX"."""
    found = artifact.delegated()
    if found is None:
        return ""
    pieces = f" in {found.partitions} pieces" if found.partitions > 1 else ""
    left = f"; left: {_counted(found.left)}" if found.left else ""
    return f"{found.taken} of {found.operators} operators{pieces}{left}"


def kinds(graph: Operators) -> str:
    """Return every kind of operator with its count, and the share of those that compute in integers."""
    text = _counted({name: kind.count for name, kind in graph.kinds.items()})
    share = graph.integer_share
    return text if share is None or not text else f"{text}; {percent(share)} % of what computes in integers"


def _counted(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{name} x{count}" if count > 1 else name for name, count in kinds.items())
