"""What the stages promised, asserted on an exported file: zeros, clusters, and integer operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import PromiseError
from pipeline.formats.export_config import QUANTIZE
from pipeline.formats.operators import Operators
from pipeline.formats.precisions import Variant
from pipeline.plan import Planned
from pipeline.predictor import GIVING_BACK, Spec

if TYPE_CHECKING:
    import numpy as np

    from pipeline.report.model import Clustered, Model

# precisions that leave a kernel the numbers that it was trained to have
_AS_TRAINED = ("float32", "sparse-float32", "float16")
_TODO = "report this model; without the section quantize it is quantized after training"


@dataclass(frozen=True)
class Found:
    """What is in a file.

    Attributes:
        kernels: by name, as they are stored.
        operators: counted.
        path: the file.
    """

    kernels: dict[str, np.ndarray]
    operators: Operators
    path: Path


def require(
    item: Planned, model: Model, plain: Callable[[], Any], found: Found, spec: Spec
) -> Clustered | None:  # fmt: skip
    """Assert on a file what its stage promised: zeros, clusters, and integer operators where no layer was left float.

    Args:
        item: the artifact.
        model: what its stage says of the model.
        plain: reads the Keras model itself, without what imitates quantization.
        found: what is in the file.
        spec: of the model.

    Returns how the file is clustered.

    Raises:
        PromiseError: the file lacks zeros that the model has, has more distinct weights, computes in float what the
            model has in int8, or converts at an end that was to be int8.
    """
    trained = item.stage == QUANTIZE
    clustered = _require_kernels(item, model, plain, found, trained=trained)
    if item.format != "tflite":  # what an .onnx computes in integers is the runtime's decision
        return clustered
    # what is added behind a reconstruction, its score and its raw values, is no part of the model and stays float
    added = any(head.task in GIVING_BACK for head in spec.heads)
    whole = all(layer.precision.startswith("int8") for layer in model.layers) and not added
    if trained:
        _require_trained(item, model, found, whole=whole)
    if Variant.of(item.variant).ends == "int8" and (whole or not trained):
        _require_no_conversion(item, found)
    return clustered


def held(model: Model, precision: str) -> int:
    """Return how many layers have kernels of a precision."""
    return sum(layer.precision.startswith(precision) and layer.histogram is not None for layer in model.layers)


def _require_kernels(
    item: Planned, model: Model, plain: Callable[[], Any], found: Found, *, trained: bool
) -> Clustered | None:  # fmt: skip
    if not any(layer.target is not None or layer.clusters for layer in model.layers):
        return None
    from pipeline.compress import promises

    # what a batch normalization multiplies with is in the scales of a kernel that learned to be int8, and in others
    folded = {
        layer.name
        for layer in model.layers
        if item.format != "saved_model" and not (trained and layer.precision.startswith("int8"))
    }
    return promises.require_in_file(
        found.kernels, plain(), promises.told(model), axes=found.operators.channel_axes, name=item.id, folded=folded,
        scaled=not trained and item.precision not in _AS_TRAINED,
    )  # fmt: skip


def _require_trained(item: Planned, model: Model, found: Found, *, whole: bool) -> None:
    wanted, integers = held(model, "int8"), sum(array.dtype == "int8" for array in found.kernels.values())
    if integers < wanted:
        raise PromiseError(
            f"{item.id}: kernels that were trained for int8 are float in the file",
            expected=f"{wanted} int8 kernels", found=f"{integers}", todo=_TODO,
        )  # fmt: skip
    graph = found.operators
    if whole and (graph.floating or not graph.first_integer):
        kinds = ", ".join(f"{kind} x{count}" for kind, count in graph.floating_names.items())
        raise PromiseError(
            f"{item.id}: operators compute in float, though every layer was trained for int8",
            expected="integer operators alone", found=kinds or f"{graph.first} comes first", todo=_TODO,
        )  # fmt: skip


def _require_no_conversion(item: Planned, found: Found) -> None:
    from pipeline.formats import tflite

    if converted := tflite.converted_ends(found.path):
        raise PromiseError(
            f"{item.id}: an end is converted on its way, though it is int8 as what computes is",
            expected="no QUANTIZE or DEQUANTIZE next to an input or an output", found=", ".join(converted),
            todo="report this model; the plain int8 file has float32 ends",
        )  # fmt: skip
