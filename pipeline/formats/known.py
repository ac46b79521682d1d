"""What is known to fail on the way of a Keras model to a file, told by its layers before a converter is started.

The tests hold the table against the converters themselves. What recurrent loops do is in `recurrent`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.formats import ConversionError, precisions, recurrent
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
# the same of a .tflite with int16 activations
NO_INT16X8: Mapping[str, str] = {
    "LayerNormalization": "LiteRT dies of what becomes of it with int16 activations (SQUARED_DIFFERENCE)",
    "GroupNormalization": "the converter takes no int16 activations for what becomes of it (ZEROS_LIKE)",
    "UnitNormalization": "the converter takes no int16 activations for what becomes of it (L2_NORMALIZATION)",
}
# of them those that TensorFlow's own operators make up for (export.select_tf_ops)
SELECTABLE = ("AveragePooling3D", "MaxPooling3D")
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


def way(model: Any, item: Planned, unrolled_steps: int, *, trained: bool, select_tf_ops: bool = False) -> Way:
    """Return how a file comes of a Keras model, or why it cannot.

    Args:
        model: tf_keras, or a graph without layers.
        item: the artifact.
        unrolled_steps: see `recurrent.way`.
        trained: whether the model has learned to be int8 (QAT); else an int8 file is quantized after training.
        select_tf_ops: whether operators of TensorFlow's may be in a .tflite.
    """
    if not _through_tflite(item):
        return Way()
    try:
        require(model, item, select_tf_ops=select_tf_ops)
        written = recurrent.way(
            model, unrolled_steps, item.precision, post_training=item.precision in precisions.STATIC and not trained
        )
        if item.format == "onnx" and written == "single":
            raise recurrent.one_at_a_time(f"the int8 .tflite of {item.stage}")
    except ConversionError as error:
        return Way(refused=f"{error.what}; {error.todo}" if error.todo else error.what)
    batch = precisions.Variant.of(item.variant).batch
    if written == "unrolled":
        return Way(batch=batch, steps=sum(loop.steps or 0 for loop in recurrent.loops(model)))
    return Way(batch=batch or (1 if written == "single" else None))


def require(model: Any, item: Planned, *, select_tf_ops: bool = False) -> None:
    """Refuse a file that cannot hold one of the model's layers.

    Args:
        model: tf_keras, or a graph without layers.
        item: the artifact.
        select_tf_ops: whether operators of TensorFlow's may be in a .tflite.

    Raises:
        ConversionError: with the layers and why.
    """
    found = _refused(model, item.precision) if _through_tflite(item) else {}
    if select_tf_ops and item.format == "tflite":
        found = {name: one for name, one in found.items() if one[0] not in SELECTABLE}
    if found:
        target = f"{item.format} {item.precision}"
        kinds = "; ".join(f"{name} ({kind}): {why}" for name, (kind, why) in found.items())
        selectable = item.format == "tflite" and {kind for kind, _ in found.values()} <= set(SELECTABLE)
        raise ConversionError(
            f"the model cannot be converted to {target}: {kinds}",
            todo=f"remove {target} from the recipe's export section, or replace these layers"
            + ("; or, if the app brings TensorFlow's kernels along (Flex), set export.select_tf_ops=true" * selectable),
        )


def _through_tflite(item: Planned) -> bool:
    """Return whether a file is a .tflite, or made from one."""
    return item.format == "tflite" or (item.format, item.precision, item.variant) == ("onnx", "int8", "")


def _refused(model: Any, precision: str) -> dict[str, tuple[str, str]]:
    """Return layer name -> its kind and why not, for each layer of Keras that a .tflite of that precision cannot hold.

    Those inside others are among them.
    """
    if not hasattr(model, "layers"):
        return {}
    layers, found = load_keras().layers, {}
    for layer in model._flatten_layers(include_self=False):
        kind = type(layer).__name__
        few = kind == "GroupNormalization" and layer.input_spec.ndim <= _GROUPED
        why = "" if few else NO_TFLITE.get(kind, "")
        if precision == "int16x8":
            why = why or NO_INT16X8.get(kind, "")
        if why and type(layer) is getattr(layers, kind):
            found[layer.name] = kind, why
    return found
