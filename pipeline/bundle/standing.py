"""Why a bundled file is not known to be good: the top of its card, and what the command warns of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import GateError
from pipeline.push import passed

if TYPE_CHECKING:
    from pipeline.report.document import Artifact, Report


@dataclass(frozen=True)
class Warned:
    """A reason, in one sentence behind a word in capitals."""

    word: str
    why: str


def require(report: Report, item: Artifact) -> None:
    """Check that the run passed, and that nothing of the run failed with the file itself.

    Raises:
        GateError: it did, or something did.
    """
    passed.require(report, "bundle")
    if item.error:
        raise GateError(
            f"{item.id} failed in the run", expected="a file that every stage behind its export took",
            found=item.error, todo="choose another artifact, or bundle it all the same: --force",
        )  # fmt: skip


def warnings(report: Report, item: Artifact) -> Iterator[Warned]:
    """Yield what a reader has to know first, the worst first; nothing: limits were for this file, and they held."""
    if item.error:
        yield Warned("WARNING: this file failed in the run", item.error)
    if report.verdict in ("fail", "error"):
        yield Warned(f"WARNING: the run's verdict is {report.verdict.upper()}", "; ".join(passed.why(report)))
    if not report.gates:
        yield Warned("NOT JUDGED", "The run compared nothing with limits: it is not known to be good.")
    elif all(gate.artifact != item.id for gate in report.gates):
        judged = ", ".join(dict.fromkeys(gate.artifact for gate in report.gates))
        yield Warned("NOT JUDGED", f"No limit of the run was for this file: its verdict is of {judged}.")
