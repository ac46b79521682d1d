"""What is known to fail on the way of a Keras model to a file, told by its layers before a converter is started.

The tests hold the table against the converters themselves. What recurrent loops do is in `recurrent`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.formats import ConversionError, recurrent
from pipeline.plan import Planned


@dataclass(frozen=True)
class Way:
    """How an artifact is made.

    Attributes:
        refused: why it cannot be; empty where it can.
        batch: the only number of samples that it takes at once; None: any.
        steps: time steps of recurrent layers that are written out in it.
    """

    refused: str = ""
    batch: int | None = None
    steps: int = 0


def way(model: Any, item: Planned, unrolled_steps: int, *, trained: bool) -> Way:
    """Return how a file comes of a Keras model, or why it cannot.

    Args:
        model: tf_keras, or a graph without layers.
        item: the artifact.
        unrolled_steps: see `recurrent.way`.
        trained: whether the model has learned to be int8 (QAT); else an int8 file is quantized after training.
    """
    if item.format == "saved_model" or (item.format, item.precision) == ("onnx", "float32"):
        return Way()
    try:
        written = recurrent.way(
            model, unrolled_steps, item.precision, post_training=item.precision == "int8" and not trained
        )
        if item.format == "onnx" and written == "single":
            raise recurrent.one_at_a_time(f"the int8 .tflite of {item.stage}")
    except ConversionError as error:
        return Way(refused=f"{error.what}; {error.todo}" if error.todo else error.what)
    if written == "unrolled":
        return Way(steps=sum(loop.steps or 0 for loop in recurrent.loops(model)))
    return Way(batch=1 if written == "single" else None)
