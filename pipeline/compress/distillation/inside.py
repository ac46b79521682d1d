"""A student and its teacher seen from inside: both with the features and embeddings that are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.compress.distillation import layers
from pipeline.compress.distillation.features import attention_loss, hint_loss
from pipeline.compress.distillation.relations import angle_loss, distance_loss
from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    from pipeline.fit.teach import Attention, Fitnet, Relations

# of a student that learns by hints
_REGRESSORS = "regressors"


@dataclass
class Inside:
    """What is compared inside of two models.

    Attributes:
        features, relations: how, and the layers: none where they are not compared.
        student, teacher: the models with further outputs, on the same layers: what they answer, and what the pairs'
            layers do.
    """

    how: tuple[Fitnet | Attention | None, Relations | None]
    features: Sequence[layers.Pair]
    relations: Sequence[layers.Pair]
    student: Any
    teacher: Any
    _regressors: Any = field(default=None)

    @staticmethod
    def of(
        student: Any, teacher: Any, features: Fitnet | Attention | None, relations: Relations | None, key: str
    ) -> Inside:
        """Return what the section `key` compares.

        Raises:
            InputError: see `layers.features` and `layers.relations`.
        """
        keras = load_keras()
        looked = layers.features(student, teacher, features, f"{key}.features") if features else []
        related = layers.relations(student, teacher, relations, f"{key}.relations") if relations else []
        pairs = [*looked, *related]
        seen = keras.Model(student.input, [*student.outputs, *(pair.seen for pair in pairs)], name="seen")
        shown = keras.Model(teacher.input, [*teacher.outputs, *(pair.shown for pair in pairs)], name="shown")
        return Inside((features, relations), looked, related, seen, shown)

    def see(self, x: Any) -> tuple[Any, list[Any]]:
        """Return what the student answers in training, and what its layers do."""
        answer, *seen = self.student(x, training=True)
        return answer, seen

    def show(self, x: Any) -> tuple[Any, list[Any]]:
        """Return what the teacher answers, and what its layers do."""
        import tensorflow as tf

        answer, *shown = self.teacher(x, training=False)
        return answer, [tf.stop_gradient(one) for one in shown]

    def attach(self, student: Any, seed: int) -> None:
        """Give the student the regressors of hints: a dense layer on the channels, as wide as the teacher's."""
        if self.how[0] is None or self.how[0].method != "fitnet":
            return
        keras = load_keras()
        ins, outs = [], []
        for place, pair in enumerate(self.features):
            start = keras.initializers.GlorotUniform(seed=seed + place)
            ins.append(keras.Input(tuple(pair.seen.shape[1:]), name=f"guided_{place}"))
            # on the last axis, so in maps a convolution of 1x1
            units = int(pair.shown.shape[-1])
            outs.append(keras.layers.Dense(units, kernel_initializer=start, name=f"regressor_{place}")(ins[-1]))
        self._regressors = keras.Model(ins, outs, name=_REGRESSORS)
        setattr(student, _REGRESSORS, self._regressors)

    def detach(self, student: Any) -> None:
        """Take the regressors away again: they are no part of the result."""
        if hasattr(student, _REGRESSORS):
            delattr(student, _REGRESSORS)

    def loss(self, seen: Sequence[Any], shown: Sequence[Any]) -> Any:
        """Return the weighted sum of what differs, of features the mean over pairs of layers, of relations too.

        Args:
            seen, shown: what the pairs' layers answer, as `see` and `show` give it.
        """
        import tensorflow as tf

        features, relations = self.how
        count = len(self.features)
        losses = []
        if features is not None:
            guided = list(seen[:count])
            if self._regressors is not None:
                guided = tf.nest.flatten(self._regressors(guided))
            compared = hint_loss if features.method == "fitnet" else attention_loss
            pairs = zip(shown[:count], guided, strict=True)
            losses += [features.weight / count * compared(one, other) for one, other in pairs]
        for one, other in zip(shown[count:], seen[count:], strict=True):
            assert relations is not None
            both = _flat(one), _flat(other)
            if relations.distance_weight:
                losses.append(relations.distance_weight / len(self.relations) * distance_loss(*both))
            if relations.angle_weight:
                losses.append(relations.angle_weight / len(self.relations) * angle_loss(*both))
        return tf.add_n(losses)

    def told(self) -> list[str]:
        """Return in words what is compared, how and where."""
        features, relations = self.how
        lines = []
        if features is not None:
            lines.append(f"features by {features.method} (weight {features.weight:g}): {_said(self.features)}")
        if relations is not None:
            given = {"distances": relations.distance_weight, "angles": relations.angle_weight}
            weights = ", ".join(f"{name} weight {weight:g}" for name, weight in given.items() if weight)
            lines.append(f"relations ({weights}): {_said(self.relations)}")
        return lines


def _flat(embeddings: Any) -> Any:
    import tensorflow as tf

    return tf.reshape(embeddings, (tf.shape(embeddings)[0], -1))


def _said(pairs: Sequence[layers.Pair]) -> str:
    return ", ".join(f"{pair.student} from {pair.teacher}" for pair in pairs)
