"""A translated model against what Keras 3 itself answers, before anything is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import RunError
from pipeline.formats.model_file.keras3.reference import Reference

if TYPE_CHECKING:
    import numpy as np

# of the largest answer of an output: both compute in float32 (6e-8) by different kernels, whose rounding adds up along
# a network's depth; a wrong option or two swapped weights are off by 1e-3 and more
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Agreement:
    """What was found equal.

    Attributes:
        layers: number of the layers that were translated, those inside of others included.
        weights: number of the weights that were taken over.
        batches: sizes of the batches of random inputs.
        difference: the largest of an answer, relative to the largest one of its output.
        version: of Keras 3.
    """

    layers: int
    weights: int
    batches: tuple[int, ...]
    difference: float
    version: str

    def __str__(self) -> str:
        sizes = " and ".join(map(str, self.batches))
        return (
            f"Keras {self.version} -> tf_keras: {self.layers} layers translated, {self.weights} weights equal, largest "
            f"difference on random inputs (batches of {sizes}) {self.difference:.1e} of the answers "
            f"(tolerance {TOLERANCE:g})"
        )


def require_equal(path: Path, model: Any, reference: Reference) -> Agreement:
    """Compare a translated model with Keras 3.

    Args:
        path: the user's file, for messages.
        model: the tf_keras model.
        reference: random inputs and what Keras 3 answered.

    Raises:
        RunError: they differ.
    """
    keras_model = type(model)(model.inputs, model.outputs)
    worst = 0.0
    scales = [max(map(_largest, answers)) for answers in zip(*reference.outputs, strict=True)]
    for inputs, outputs in zip(reference.inputs, reference.outputs, strict=True):
        answer = keras_model(list(inputs) if len(inputs) > 1 else inputs[0], training=False)
        found = [one.numpy() for one in (answer if isinstance(answer, list | tuple) else [answer])]
        if [one.shape for one in found] != [one.shape for one in outputs]:
            raise _differs(path, f"answers of the shapes {[one.shape for one in found]}",
                           f"{[one.shape for one in outputs]}")  # fmt: skip
        worst = max([worst, *map(difference, found, outputs, scales)])
    if not worst <= TOLERANCE:
        raise _differs(path, f"a difference of {worst:.3g} of the answers", f"answers within {TOLERANCE:g}")
    layers = [layer for layer in model._flatten_layers(include_self=False) if type(layer).__name__ != "InputLayer"]
    sizes = tuple(len(inputs[0]) for inputs in reference.inputs)
    return Agreement(len(layers), len(model.weights), sizes, worst, reference.version)


def difference(found: np.ndarray, wanted: np.ndarray, scale: float | None = None) -> float:
    """Return the largest difference of two answers [n, ...] of one output, relative to its largest number.

    Not to that of each sample: where an output is one number, it is near zero for some samples, as a difference of
    large ones, and their rounding is large beside it.

    Args:
        scale: the largest number of the output; None: that of `wanted`.
    """
    import numpy as np

    one, two = (np.asarray(each, np.float64) for each in (found, wanted))
    if one.size == 0:
        return 0.0
    # an infinity is as good as any number, where both have it
    same = (one == two) | (np.isnan(one) & np.isnan(two))
    apart = np.where(same, 0, one) - np.where(same, 0, two)
    relative = np.abs(apart).max() / max(_largest(two) if scale is None else scale, np.finfo(np.float32).tiny)
    return float(np.nan_to_num(relative, nan=np.inf))


def _largest(answers: np.ndarray) -> float:
    """Return the largest number, by its size, that is finite; 0 where there is none."""
    import numpy as np

    return float(np.abs(np.where(np.isfinite(answers), answers, 0)).max(initial=0))


def _differs(path: Path, found: str, expected: str) -> RunError:
    return RunError(
        f"the model in {path} does not answer in tf_keras as in Keras 3", expected=expected, found=found,
        todo="report this model; a layer that answers differently each time cannot be proven",
    )  # fmt: skip
