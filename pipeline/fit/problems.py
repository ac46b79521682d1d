"""What a section that trains asks for and cannot have: keys of another task, or beside a loss of the user's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.fit.config import FitConfig
    from pipeline.predictor import Task

# what is learned are values; of all other tasks labels
_VALUES: Mapping[str, str] = {
    "regression": "a regression", "reconstruction": "a reconstruction", "anomaly": "an anomaly detector",
}  # fmt: skip


def of_task(section: str, config: FitConfig, task: Task | None) -> Iterator[str]:
    """Yield the keys that are not for a task.

    Args:
        section: its name, as in train.loss.
        task: None: it is not known before the data is read.
    """
    if task is None:
        return
    if task not in _VALUES:
        if config.loss is not None:
            yield (
                f"{section}.loss is {config.loss}, which is for values, and a {task} has labels: leave it out, what is "
                "minimized is their cross-entropy"
            )
        return
    for key in ("label_smoothing", "class_weights"):
        if getattr(config, key):
            yield f"{section}.{key} is for labels, which {_VALUES[task]} has not: leave it out"


def of_names(section: str, config: FitConfig, classes: Sequence[str]) -> Iterator[str]:
    """Yield the names of classes that are not among those of the data."""
    given = config.class_weights
    unknown = [name for name in given if name not in classes] if isinstance(given, Mapping) else []
    if unknown:
        yield f"{section}.class_weights names {', '.join(unknown)}; the classes are {', '.join(classes)}"


def beside_own_loss(section: str, config: FitConfig) -> Iterator[str]:
    """Yield the keys that change a loss which the user has written."""
    if config.label_smoothing:
        yield f"{section}.label_smoothing is for the cross-entropy: leave it out, or leave out model.loss"
    if config.class_weights is not None:
        yield (
            f"{section}.class_weights is for the cross-entropy: leave it out and weigh in your own loss, or leave out "
            "model.loss"
        )
    if config.loss is not None:
        yield f"{section}.loss is {config.loss}, and model.loss is your own: leave one of them out"
