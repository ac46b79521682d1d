"""Which of a run's files to put behind a server, in a sentence: the fastest that is proven so, else the smallest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.document import Artifact, Report, ServedSpeed
from pipeline.report.quality import change
from pipeline.report.words import PROTOCOLS, ratio


@dataclass(frozen=True)
class Advice:
    """`text` names the artifact, how it is served, and why it; a sentence without its full stop."""

    artifact: str
    text: str


def advice(report: Report) -> Advice | None:
    """Return which file to serve; None where nothing was compared behind a server, or the run did not pass."""
    if report.fastest is None or report.verdict not in ("pass", "incomplete"):
        return None
    files = {item.id: item for item in report.artifacts}
    usable = [row for row in report.fastest.rows if row.artifact in files and _holds(files[row.artifact], report)]
    slower = {row.artifact for row in report.fastest.rows if _sound(row) and row.speedup and row.speedup.high < 1}
    for row in usable:  # gRPC before REST, the fastest first
        if _sound(row) and row.speedup and row.speedup.low > 1 and row.artifact not in slower:
            return Advice(row.artifact, _proven(files[row.artifact], row, report))
    chosen = files.get(report.to_serve or "")
    if chosen is None or not chosen.path:
        return None
    but = f", and it is slower than {report.fastest.against}" if chosen.id in slower else ""
    text = f"Serve {chosen.id} ({_kind(chosen, report.artifacts)}): nothing is proven faster here{but}"
    return Advice(chosen.id, text)


def _sound(row: ServedSpeed) -> bool:
    return row.valid and row.speedup is not None and row.speedup.valid


def _holds(item: Artifact, report: Report) -> bool:
    """Return whether a file may be served: it is no imitation, and what it answers is as right as it has to be."""
    gates = [gate for gate in report.gates if gate.artifact == item.id]
    if item.precision == "fake-quant" or item.error or not all(gate.passed for gate in gates):
        return False
    allowed = any(gate.name == "max_accuracy_drop" for gate in gates)
    lost = change(item.runs[0], "drop") if item.runs else None
    return allowed or lost is None or lost.found.low <= 0


def _proven(item: Artifact, row: ServedSpeed, report: Report) -> str:
    assert row.speedup is not None
    how = " as model.tflite with --prefer_tflite_model" if item.format == "tflite" else ""
    by = f"{ratio(row.speedup.value)} over {PROTOCOLS[row.protocol or 'grpc']}"
    text = f"Serve {item.id}{how}: fastest here, proven {by} (95 % {row.speedup.low:.2f} to {row.speedup.high:.2f})"
    if report.to_serve in (None, item.id):
        return text
    return f"{text}; push and image take it with --artifact {item.id}, and {report.to_serve} without"


def _kind(item: Artifact, artifacts: Sequence[Artifact]) -> str:
    floats = [one for one in artifacts if (one.format, one.precision) == ("saved_model", "float32") and one.path]
    if len(floats) < 2:
        return "the float SavedModel"
    sizes = [one.gzip_bytes for one in floats if one.gzip_bytes]
    return (
        "the smallest float SavedModel" if item.gzip_bytes == min(sizes, default=None) else "the last float SavedModel"
    )
