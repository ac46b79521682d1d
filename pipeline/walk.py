"""What is known of a run while it walks through its stages."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

from pipeline.again import Again
from pipeline.artifact import Artifact, Manifest, Store
from pipeline.errors import ModelmillError
from pipeline.report import document
from pipeline.stage import Surroundings

if TYPE_CHECKING:
    from pipeline.compute.meeting import Meeting
    from pipeline.compute.scope import Scope
    from pipeline.isolate import Child
    from pipeline.report.forecast import Forecast


@dataclass
class Walk:
    """What is known so far of a run; the report is made of it, after an error too.

    Attributes:
        meeting: of the workers, while they make stages together.
        workers: how many make the present stage together.
        absent: why there is no meeting of them: nothing can be trained then.
        over: set when they need each other no longer.
    """

    store: Store
    again: Again
    profile: bool = False
    stages: list[document.Stage] = field(default_factory=list)
    done: dict[str, Artifact] = field(default_factory=dict)
    around: dict[str, Surroundings] = field(default_factory=dict)
    at: str | None = None
    forecast: Forecast | None = None
    held: ExitStack = field(default_factory=ExitStack)
    children: dict[str, Child] = field(default_factory=dict)
    scope: Scope | None = None
    meeting: Meeting | None = None
    workers: int = 1
    absent: ModelmillError | None = None
    over: Event = field(default_factory=Event)

    def tell(self, stage: str, status: str, reason: str = "", manifest: Manifest | None = None) -> None:
        """Add a stage to the report."""
        facts = {"seconds": manifest.seconds, "metrics": manifest.metrics, "fits": manifest.fits} if manifest else {}
        self.stages.append(document.Stage.model_validate({"name": stage, "status": status, "reason": reason} | facts))
