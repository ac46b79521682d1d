"""The loss and the metrics of the user's own, for training; an artifact tells the stages after it."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError
from pipeline.files import write_json
from pipeline.legacy_keras import load as load_keras
from pipeline.own_code import package
from pipeline.own_code.config import Builder
from pipeline.own_code.source import Source, look

if TYPE_CHECKING:
    import numpy as np

OBJECTIVE = "objective.json"
# what the loop has under these names already
_TAKEN = ("loss", "accuracy", "r2", "learning_rate")


@dataclass(frozen=True)
class Objective:
    """What a fit minimizes and shows, by name.

    Attributes:
        module: the module of the user's code.
        loss: its loss; None: the cross-entropy.
        metrics: its metrics.
    """

    module: str
    loss: str | None
    metrics: tuple[str, ...]

    def made(self) -> tuple[Any | None, list[Any]]:
        """Return the Keras loss, or None, and the Keras metrics, new ones."""
        keras = load_keras()
        module = importlib.import_module(self.module)

        def made(name: str, kind: type) -> Any:
            found = getattr(module, name)
            if isinstance(found, type):
                return found()
            return found if isinstance(found, kind) or not callable(found) else _of_plain_labels(found)

        metrics = []
        for name in self.metrics:
            one = made(name, keras.metrics.Metric)
            if not isinstance(one, keras.metrics.Metric):
                one = keras.metrics.MeanMetricWrapper(one, name=name)
            one._name = name  # what the recipe calls it is what the curves are called
            metrics.append(one)
        return made(self.loss, keras.losses.Loss) if self.loss else None, metrics


def _of_plain_labels(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a function that gets the labels as [n], though Keras hands them over as [n, 1]."""

    def called(labels: Any, logits: Any) -> Any:
        import tensorflow as tf

        labels = tf.convert_to_tensor(labels)
        column = labels.shape.rank == 2 and labels.shape[-1] == 1 and logits.shape[-1] != 1
        return function(tf.squeeze(labels, -1) if column else labels, logits)

    return called


def of(config: Any) -> Objective | None:
    """Return the objective that a model's section asks for; None where that is the usual one.

    Raises:
        RunError: the code is not what the model was built by.
    """
    if not isinstance(config, Builder) or not (config.loss or config.metrics):
        return None
    source = look(config)
    if source.module not in sys.modules:
        raise package.changed(source, "another content than when the model was built")
    return Objective(source.module, config.loss, config.metrics)


def write(objective: Objective | None, folder: Path) -> None:
    """Write an objective into an artifact's folder, with the code that it is in."""
    if objective is not None:
        package.keep([objective.module], folder)
        write_json(folder / OBJECTIVE, dataclasses.asdict(objective))


def read(folder: Path) -> Objective | None:
    """Return the objective in an artifact's folder, its code introduced; None where it has none."""
    if not (folder / OBJECTIVE).exists():
        return None
    package.take(folder)
    fields = json.loads((folder / OBJECTIVE).read_text(encoding="utf-8"))
    return Objective(fields["module"], fields["loss"], tuple(fields["metrics"]))


def require(objective: Objective, source: Source, labels: np.ndarray, logits: np.ndarray, *, judged: str) -> None:
    """Try the loss and the metrics on some samples, before anything is trained with them.

    Args:
        source: the code that they are in.
        labels: what the fit learns: int64 [n] of classes, else float32 [n, ...].
        logits: float32 [n, classes], or values.
        judged: the metric that the model is judged by, which is in the history too.

    Raises:
        InputError: one raises, has a name that is taken, or gives no number.
    """
    import numpy as np

    names = tuple(dict.fromkeys((*_TAKEN, judged)))
    taken = [name for name in objective.metrics if name.removeprefix("val_") in names]
    if taken:
        raise InputError(
            "model.metrics has names that are taken", expected=f"others than {', '.join(names)}",
            found=", ".join(taken), todo="rename them in the file",
        )  # fmt: skip
    with package.told(source, f"the loss or a metric of {source.file} cannot be made"):
        loss, metrics = objective.made()
    for key, name, one in (("loss", objective.loss, loss), *(("metrics", m.name, m) for m in metrics)):
        if one is None:
            continue
        if not callable(one):
            raise InputError(
                f"model.{key}: {name} of {source.file} cannot be called with labels and logits",
                expected="a function of (labels, logits), or a Loss or Metric of tf_keras", found=f"a {one!r}",
                todo="write it as a function",
            )  # fmt: skip
        with package.told(source, f"model.{key}: {name} of {source.file} fails"):
            value = np.asarray(one(labels, logits))
        if not np.issubdtype(value.dtype, np.floating) or value.ndim > 1 or not np.isfinite(value).all():
            raise InputError(
                f"model.{key}: {name} of {source.file} gives no number", expected="floats, one for all or one a sample",
                found=f"{value.dtype} {list(value.shape)}: {value.ravel()[:3]}",
                todo="reduce over the classes, for example with tf.reduce_mean(..., axis=-1)",
            )  # fmt: skip
    for metric in metrics:
        metric.reset_state()
