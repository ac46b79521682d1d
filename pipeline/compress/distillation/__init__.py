"""Knowledge distillation: what a student takes over of its teachers' answers, and of what is inside of the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.compress.distillation.inside import Inside
from pipeline.compress.distillation.logits import binary_loss, binary_targets, soft_loss, soft_targets, value_loss
from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    from pipeline.fit.teach import Attention, Fitnet, Relations, TeachConfig
    from pipeline.predictor import Head

__all__ = ["Teaching", "binary_loss", "binary_targets", "soft_loss", "soft_targets", "taught", "told", "value_loss"]


@dataclass(frozen=True)
class Teaching:
    """Who teaches, what, and how much of the loss is theirs.

    Attributes:
        teachers: Keras models, raw values in, logits [n, classes] out, or values; at least one.
        temperature: T > 0 that softens both sides of logits.
        soft_weight: share of the soft loss in [0, 1]; the labels have the rest.
        features, relations: what is learned of the first teacher besides its answers; None: nothing.
    """

    teachers: Sequence[Any]
    temperature: float
    soft_weight: float
    features: Fitnet | Attention | None = None
    relations: Relations | None = None

    @staticmethod
    def by(teach: TeachConfig, teachers: Sequence[Any]) -> Teaching:
        """Return what a recipe's section `teach` says, with its teachers."""
        return Teaching(teachers, teach.temperature, teach.soft_weight, teach.features, teach.relations)

    def inside(self, model: Any, stage: str) -> Inside | None:
        """Return what is compared inside of a student and the first teacher; None: nothing.

        Raises:
            InputError: see `layers.features` and `layers.relations`.
        """
        if self.features is None and self.relations is None:
            return None
        return Inside.of(model, self.teachers[0], self.features, self.relations, f"{stage}.teach")


@contextmanager
def taught(
    model: Any, teaching: Teaching | None, head: Head, distance: Callable[[Any], Any] | None = None, *,
    stage: str = "distill", seed: int = 0,
) -> Iterator[None]:  # fmt: skip
    """Let `model`, compiled with a loss of (wanted, answered), learn from its teachers too inside the block.

    What is minimized is (1 - w) hard + w soft + the layers' penalties + what differs inside, times its weights. The
    metrics stay those of the labels alone, so that curves with and without a teacher can be compared. Regressors are
    the model's while the block lasts: its optimizer trains them, and its checkpoints hold them.

    Args:
        distance: of values; see `value_loss`. What is learned of a teacher costs as what is learned of the data.
        stage: whose key `teach` messages name.
        seed: of the regressors' first weights.

    Raises:
        InputError: features or relations are asked of layers that do not match.
    """
    inside = teaching.inside(model, stage) if teaching else None
    if teaching is None or (teaching.soft_weight == 0 and inside is None):
        yield
        return
    import tensorflow as tf

    before = vars(model).get("compute_loss")
    plain: Callable[..., Any] = model.compute_loss
    # each has the mean over its part of a batch, and gradients are summed: Keras divides what it computes itself
    replicas = tf.distribute.get_strategy().num_replicas_in_sync

    def compute_loss(
        x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, seen: Any = None
    ) -> Any:
        """Return the whole loss in training; elsewhere nothing was `seen` inside, and only answers are compared."""
        loss = plain(x, y, y_pred, sample_weight)
        # one pass for what the first teacher answers and shows
        first, shown = inside.show(x) if inside else (teaching.teachers[0](x, training=False), ())
        if teaching.soft_weight > 0:
            others = [teacher(x, training=False) for teacher in teaching.teachers[1:]]
            answers = [tf.stop_gradient(one) for one in (first, *others)]
            soft = _soft(answers, y_pred, teaching, head, distance)
            penalties = tf.add_n(model.losses) / replicas if model.losses else 0.0
            hard = loss - penalties
            loss = (1 - teaching.soft_weight) * hard + teaching.soft_weight * soft / replicas + penalties
        return loss + inside.loss(seen, shown) / replicas if inside and seen is not None else loss

    model.compute_loss = compute_loss
    try:
        if inside:
            inside.attach(model, seed)
            model.train_step = _step(model, inside)
        yield
    finally:
        if before is None:
            del model.compute_loss
        else:
            model.compute_loss = before
        if inside:
            del model.train_step
            inside.detach(model)


def told(model: Any, teaching: Teaching, head: Head, stage: str) -> tuple[str, ...]:
    """Return in words what a student learns of its teachers, a line for each kind of loss."""
    several = f" of {len(teaching.teachers)} teachers" if len(teaching.teachers) > 1 else ""
    lines = []
    if teaching.soft_weight > 0:
        soft = f"temperature {teaching.temperature:g}, " if head.classes else ""
        lines.append(f"{head.end}{several} ({soft}weight {teaching.soft_weight:g})")
    inside = teaching.inside(model, stage)
    first = " of the first teacher" if several else ""
    return (*lines, *(f"{line}{first}" for line in (inside.told() if inside else ())))


def _soft(
    answers: Sequence[Any], y_pred: Any, teaching: Teaching, head: Head, distance: Callable[[Any], Any] | None
) -> Any:
    match head.task:
        case "classification":
            return soft_loss(soft_targets(answers, teaching.temperature), y_pred, teaching.temperature)
        case "multilabel":
            return binary_loss(binary_targets(answers, teaching.temperature), y_pred, teaching.temperature)
        case _:
            return value_loss(answers, y_pred, head.deviation, distance)


def _step(model: Any, inside: Inside) -> Callable[[Any], Any]:
    """Return Keras' training step, with the features that the model's own pass goes through handed to its loss."""
    import tensorflow as tf

    keras = load_keras()

    def train_step(data: Any) -> Any:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred, seen = inside.see(x)
            loss = model.compute_loss(x, y, y_pred, sample_weight, seen)
        model.optimizer.minimize(loss, model.trainable_variables, tape=tape)
        return model.compute_metrics(x, y, y_pred, sample_weight)

    return train_step
