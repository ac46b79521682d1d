"""The one face of everything that answers, and what goes into and comes out of it.

A Keras model, a SavedModel in process, a .tflite in LiteRT, an .onnx in ONNX Runtime and a served model are all
`Predictor`s: accuracy, parity and latency are measured through this face, by one piece of code.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pipeline.errors import RunError

if TYPE_CHECKING:
    import numpy as np

LOGITS = "logits"
PROBABILITIES = "probabilities"


@dataclass(frozen=True)
class Spec:
    """What goes into and comes out of a model.

    Attributes:
        input_name: the data source's name for the input; the same in every format and signature.
        input_shape: shape of one sample, without the batch dimension.
        value_range: lowest and highest raw value; the model scales it itself.
        classes: the label names, in the order of the logits.
    """

    input_name: str
    input_shape: tuple[int, ...]
    value_range: tuple[float, float]
    classes: tuple[str, ...]


class Predictor(Protocol):
    """Answers for a batch of raw samples."""

    def predict(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Run the model once.

        Args:
            batch: float32 [n, *input_shape], raw values, n >= 1.

        Returns:
            {"logits": float32 [n, classes], "probabilities": float32 [n, classes]}.
        """
        ...

    def close(self) -> None:
        """Release the runtime's memory; the predictor is not used afterwards."""
        ...


class FormatError(RunError):
    """A file or a served model does not have the inputs and outputs that the spec promises."""


def require_ends(
    name: str, spec: Spec, *, inputs: Mapping[str, tuple[int | None, ...]], outputs: Collection[str]
) -> None:
    """Raise FormatError unless a model has the spec's input, with its sample shape, and both outputs.

    Args:
        name: the file or the served model, for the message.
        spec: what the model promises.
        inputs: name to shape, with the batch dimension.
        outputs: the names.
    """
    expected = f"input {spec.input_name} {list(spec.input_shape)} per sample, outputs {LOGITS} and {PROBABILITIES}"
    samples = {end: shape[1:] for end, shape in inputs.items()}
    if samples != {spec.input_name: spec.input_shape} or not {LOGITS, PROBABILITIES} <= set(outputs):
        inputs_text = ", ".join(f"{end} {list(shape)}" for end, shape in samples.items())
        raise FormatError(
            f"{name} is not a model for this data",
            expected=expected,
            found=f"input {inputs_text or 'none'} per sample, outputs {' and '.join(sorted(outputs)) or 'none'}",
            todo="export it again from the model that was trained on this data",
        )
