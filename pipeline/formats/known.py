"""What is known to fail on the way of a Keras model to a file, told by its layers before a converter is started.

The tests hold the table against the converters themselves. What recurrent loops do is in `recurrent`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.formats import ConversionError, recurrent
from pipeline.legacy_keras import load as load_keras
from pipeline.plan import Planned

_LISTS = "the converter refuses the lists in which its steps are collected (TensorListReserve)"
# layers of Keras that no .tflite can hold, in no precision, nor the int8 .onnx that is made from one; and why
NO_TFLITE: Mapping[str, str] = {
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _LISTS),
    "AveragePooling3D": "TFLite has no such operator (AvgPool3D)",
    "MaxPooling3D": "TFLite has no such operator (MaxPool3D)",
    "GroupNormalization": "LiteRT cannot run what becomes of it over more than two axes (BROADCAST_TO)",
}
# share of zeros from which on TensorFlow's converter stores a kernel without them
SPARSE = 0.3
# dimensions over which LiteRT runs a GroupNormalization, the batch's among them
_GROUPED = 3


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
    if not _through_tflite(item):
        return Way()
    try:
        require(model, item)
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


def require(model: Any, item: Planned) -> None:
    """Refuse a file that cannot hold one of the model's layers.

    Args:
        model: tf_keras, or a graph without layers.
        item: the artifact.

    Raises:
        ConversionError: with the layers and why.
    """
    found = _refused(model) if _through_tflite(item) else {}
    if found:
        target = f"{item.format} {item.precision}"
        kinds = "; ".join(f"{name} ({kind}): {NO_TFLITE[kind]}" for name, kind in found.items())
        raise ConversionError(
            f"the model cannot be converted to {target}: {kinds}",
            todo=f"remove {target} from the recipe's export section, or replace these layers",
        )


def _through_tflite(item: Planned) -> bool:
    """Return whether a file is a .tflite, or made from one."""
    return item.format == "tflite" or (item.format, item.precision) == ("onnx", "int8")


def _refused(model: Any) -> dict[str, str]:
    """Return layer name -> kind, for each layer of Keras that no .tflite can hold, those inside others included."""
    if not hasattr(model, "layers"):
        return {}
    layers = load_keras().layers
    return {
        layer.name: type(layer).__name__
        for layer in model._flatten_layers(include_self=False)
        if type(layer).__name__ in NO_TFLITE
        and type(layer) is getattr(layers, type(layer).__name__)
        and (type(layer) is not layers.GroupNormalization or layer.input_spec.ndim > _GROUPED)
    }
