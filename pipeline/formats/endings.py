"""What the outputs of a user's model end in, and what makes logits of them: distillation, parity and quantization want
logits, exports add probabilities.

A softmax or sigmoid at the end is taken off. One number for two classes becomes a logit for each, minus and plus half
of it: their softmax is its sigmoid, at every temperature.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    import numpy as np

    from pipeline.predictor import Head, Spec

# what a number stands for, as a logit of the first class and of the second
HALVES = (-0.5, 0.5)


@dataclass(frozen=True)
class Ending:
    """What one output ends in.

    Attributes:
        function: "softmax", "sigmoid" or "".
        single: whether it is one number for two classes.
    """

    function: str
    single: bool

    def of_file(self, logits: np.ndarray) -> np.ndarray:
        """Return what the user's model answers where the imported one answers these logits."""
        import tensorflow as tf

        found: np.ndarray = logits[:, 1:] / HALVES[1] if self.single else logits
        if not self.function:
            return found
        answers: np.ndarray = {"softmax": tf.nn.softmax, "sigmoid": tf.sigmoid}[self.function](found).numpy()
        return answers


def single(head: Head, shape: tuple[int | None, ...]) -> bool:
    """Return whether an output of this shape, batch included, is one number for two classes."""
    return head.task == "classification" and head.shape == (2,) and tuple(shape[1:]) == (1,)


def found(model: Any, spec: Spec) -> tuple[Ending, ...]:
    """Return what each output of a model ends in, in the spec's order."""
    return tuple(_ending(head, end) for head, end in zip(spec.heads, model.outputs, strict=True))


def _ending(head: Head, end: Any) -> Ending:
    last, one = _maker(end), single(head, tuple(end.shape))
    if head.task == "multilabel" or one:
        return Ending("sigmoid" if _function(last) == "sigmoid" else "", one)
    softmax = type(last).__name__ == "Softmax" or _function(last) == "softmax"
    return Ending("softmax" if softmax and head.task == "classification" else "", single=False)


def linear(end: Any) -> bool:
    """Return whether an output comes from a layer with weights that has no function: one of logits, if of classes."""
    return _function(_maker(end)) == "linear"


def _maker(end: Any) -> Any:
    """Return the layer that makes an output."""
    return end._keras_history.layer


def _function(layer: Any) -> str:
    name: str = getattr(getattr(layer, "activation", None), "__name__", "")
    return name


def to_logits(model: Any, spec: Spec) -> tuple[Any, tuple[str, ...]]:
    """Return a model up to its logits, its layers new ones, and notes on what was changed."""
    keras = load_keras()
    ends, linear, notes = [], set(), []
    kinds = found(model, spec)
    for head, end, ending in zip(spec.heads, model.outputs, kinds, strict=True):
        last = _maker(end)
        if ending.function and type(last).__name__ in ("Softmax", "Activation"):
            ends.append(last.input)
            notes.append(f"the model ends in {last.name}: it is cut off, and its input is taken as the logits")
        else:
            ends.append(end)
            if ending.function:
                linear.add(last.name)
                notes.append(f"the {ending.function} inside {last.name} is taken off: its inputs are the logits")
        if ending.single:
            notes.append(
                f"the model answers one number for two classes, {head.classes[1]} where it is above 0: it becomes two "
                "logits, minus and plus half of it"
            )
    fresh = _fresh(keras.Model(model.inputs, ends, name=model.name), linear)
    if any(ending.single for ending in kinds):
        taken = {layer.name for layer in fresh.layers}
        ends = [
            keras.layers.Rescaling(list(HALVES), name=_free(head.end, taken))(end) if ending.single else end
            for head, end, ending in zip(spec.heads, fresh.outputs, kinds, strict=True)
        ]
        fresh = keras.Model(fresh.inputs, ends, name=fresh.name)
    return fresh, tuple(notes)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_of_both"
    taken.add(name)
    return name


def _fresh(functional: Any, linear: Collection[str]) -> Any:
    """Return a copy whose layers belong to nothing else, those named in `linear` without their function."""
    keras = load_keras()

    def copy(layer: Any) -> Any:
        config = layer.get_config()
        return type(layer).from_config(dict(config, activation="linear") if layer.name in linear else config)

    fresh = keras.models.clone_model(functional, clone_function=copy)
    fresh.set_weights(functional.get_weights())
    return fresh
