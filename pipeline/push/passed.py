"""Whether a run stands by its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import GateError

if TYPE_CHECKING:
    from pipeline.report.document import Report


def require(report: Report, verb: str = "push") -> None:
    """Raise GateError unless a run passed, or nothing was judged; `verb` says what --force would do all the same."""
    if report.verdict not in ("fail", "error"):
        return
    raise GateError(
        f"the run's verdict is {report.verdict}", expected="pass", found="\n    ".join(why(report)),
        todo=f"improve the model, or {verb} it all the same: --force",
    )  # fmt: skip


def why(report: Report) -> list[str]:
    """Return what a run failed of, or the gates that it missed and what it could not make or run, a line each."""
    if report.failure:
        return [report.failure.message]
    missed = [f"{gate.name}: {gate.message}" for gate in report.gates if not gate.passed]
    missed += [f"{one.what}: {one.error.splitlines()[0]}" for one in (report.edge.failures() if report.edge else ())]
    broken = [one for one in report.artifacts if one.error and not one.optional]
    return missed + [f"{one.id}: {str(one.error).splitlines()[0]}" for one in broken]
