"""What is known of a run while it walks through its stages."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.again import Again
from pipeline.artifact import Artifact, Manifest, Store
from pipeline.report import document
from pipeline.stage import Surroundings

if TYPE_CHECKING:
    from pipeline.isolate import Child
    from pipeline.report.forecast import Forecast


@dataclass
class Walk:
    """What is known so far of a run; the report is made of it, after an error too."""

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

    def tell(self, stage: str, status: str, reason: str = "", manifest: Manifest | None = None) -> None:
        """Add a stage to the report."""
        facts = {"seconds": manifest.seconds, "metrics": manifest.metrics, "fits": manifest.fits} if manifest else {}
        self.stages.append(document.Stage.model_validate({"name": stage, "status": status, "reason": reason} | facts))
