"""A graph of the user's as a function from raw values to logits; `model.saved_model/` in an artifact's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.formats.endings import HALVES, single
from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    from pipeline.predictor import Head

MODEL = "model.saved_model"
# key of spec.json: whether the graph answers probabilities
PROBABILITIES = "graph_answers_probabilities"
SIGNATURE = "serving_default"
# the least probability that is told from none, Keras' own epsilon: what is less becomes a logit of -16.1, and neither
# minus infinity nor a range that int8 could not hold
LEAST = 1e-7


class PlainModel:
    """What a stage's Keras model is to all that only calls it.

    Where probabilities are of one label each, or of the second of two classes, their log-odds are the logits.

    Attributes:
        variables: the weights that the signature reads.
        function: the signature `serving_default`, from its input's name to its output's.
    """

    def __init__(self, folder: Path, *, probabilities: bool, head: Head | None = None) -> None:
        load_keras()
        import tensorflow as tf

        self._loaded = tf.saved_model.load(str(folder))  # its variables live as long as it does
        self.function: Any = self._loaded.signatures[SIGNATURE]
        self.variables: tuple[Any, ...] = tuple(self.function.variables)
        self._probabilities = probabilities
        shapes = [tuple(end.shape) for end in self.function.structured_outputs.values()]
        self._single = head is not None and single(head, shapes[0])
        # what each output is a probability of by itself
        self._sides = self._single or (head is not None and head.task == "multilabel")

    def __call__(self, samples: Any, training: bool = False) -> Any:
        """Return the logits float32 [n, classes] of raw samples float32 [n, *input_shape].

        Args:
            training: as a Keras model has it; a graph has one way to answer.
        """
        assert not training
        import tensorflow as tf

        answers = self.raw(tf.convert_to_tensor(samples, tf.float32))
        if self._probabilities:
            there = tf.math.log(tf.maximum(answers, LEAST))
            answers = there - tf.math.log(tf.maximum(1 - answers, LEAST)) if self._sides else there
        return answers * tf.constant(HALVES) if self._single else answers

    def raw(self, samples: Any) -> Any:
        """Return what the graph itself answers."""
        (name,) = self.function.structured_input_signature[1]
        (answers,) = self.function(**{name: samples}).values()
        return answers
