"""What the report says of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.data.split import NAMES
from pipeline.predictor import heads, in_memory
from pipeline.report.data import Data, Output, SplitFacts

if TYPE_CHECKING:
    from pipeline.data.config import DataConfig
    from pipeline.data.divide import Split, Splits
    from pipeline.predictor import Head, Spec


def summary(splits: Splits, config: DataConfig) -> Data:
    """Return the inputs, outputs, sizes and notes of some splits."""
    spec = splits.spec
    return Data(
        source=config.source,
        inputs={one.name: list(one.shape) for one in spec.inputs},
        outputs=[
            Output(name=head.name, task=head.task, metric=head.metric, classes=list(_classes(head)))
            for head in spec.heads
        ],
        splits={name: _facts(getattr(splits, name), spec) for name in NAMES},
        by=config.split.by,
        on_disk=not in_memory(splits.train.x),
        notes=list(splits.notes),
    )


def _classes(head: Head) -> tuple[str, ...]:
    return ("normal", "anomaly") if head.task == "anomaly" else head.classes


def _facts(part: Split, spec: Spec) -> SplitFacts:
    import numpy as np

    for head, y in heads(spec, part.y):
        if classes := _classes(head):
            counts = np.bincount(y, minlength=len(classes)) if y.ndim == 1 else y.sum(axis=0)
            return SplitFacts(samples=len(part), of_classes=[int(one) for one in counts])
    return SplitFacts(samples=len(part))
