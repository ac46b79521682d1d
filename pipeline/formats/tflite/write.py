"""Writes a .tflite, converted from a SavedModel."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import InputError
from pipeline.formats import UNROLLED_STEPS, ConversionError, by_layer, converting, recurrent, saved_model
from pipeline.formats.precisions import BY_QUANTIZER, PLAIN, Variant
from pipeline.formats.tflite import columns_ahead, detours, metadata, quantizer
from pipeline.formats.tflite import half_weights as halving
from pipeline.formats.tflite.converter import Settings, convert
from pipeline.formats.tflite.read import parsed, signature_of
from pipeline.predictor import Samples, Spec, count

Precision = Literal[
    "float32", "sparse-float32", "float16", "dynamic-int8", "dynamic-int4", "weight-int8", "weight-int4", "mixed",
    "int16x8", "int8",
]  # fmt: skip
_FLOAT = ("float32", "sparse-float32", "float16")


def write(
    source: Any, path: Path, spec: Spec, precision: Precision, calibration: Samples | None = None, *,
    variant: Variant = PLAIN, fake_quant: bool = False, half_weights: bool = False,
    unrolled_steps: int = UNROLLED_STEPS, mixed: Mapping[str, str] | None = None, select_tf_ops: bool = False,
) -> None:  # fmt: skip
    """Write one .tflite file with the signature `serving_default`; texts go in as int32 token ids.

    The tensors at the ends are called as the ends are: TensorFlow Serving knows a .tflite's ends by these names alone.

    Args:
        source: a Keras model, or, where `takes_keras` does not ask for one, the folder of a SavedModel that holds `1/`
            (several precisions then share it).
        path: the file to write.
        spec: names and shapes.
        precision: `float32`; `sparse-float32` (kernels with many zeros are stored without them); `float16` (weights);
            `dynamic-int8`, `dynamic-int4` (weights; activations quantized while it runs); `weight-int8`, `weight-int4`
            (weights, which are made floats again); `mixed` (weights, by layer); `int16x8` (int16 activations and int8
            weights); `int8` (weights per channel, activations, every operator).
        calibration: raw samples, n >= 1, texts as token ids, that fix the ranges of activations; `int8` and `int16x8`.
        variant: integer ends, but for token ids, with scale and zero point in the tensors (`int8` only); a fixed batch.
        fake_quant: the source brings its ranges along, from quantization-aware training; what it computes in float
            stays float.
        half_weights: what computes in float32 has its kernels as float16 (`half_weights.py`).
        unrolled_steps: see `recurrent.way`.
        mixed: see `by_layer.precisions`; `mixed` only.
        select_tf_ops: what TFLite has no operator for is left to TensorFlow's own, which LiteRT alone cannot run.

    Raises:
        ConversionError: the converter refuses the model, stores no kernel of a `sparse-float32` file sparsely, or
            leaves an end float that was to be an integer; `mixed` names what is no layer, or one whose kernel cannot be
            what it says.
        InputError: `int8` or `int16x8` without calibration samples.
    """
    settings = Settings(precision, variant, calibration, fake_quant, select_tf_ops)
    if settings.calibrated and (calibration is None or count(calibration) == 0):
        raise InputError(
            f"an {precision} .tflite needs calibration samples",
            expected="at least one sample in the calibration split",
            found="none",
            todo="set data.split.calibration above 0",
        )
    ahead = None
    if precision not in _FLOAT and not fake_quant and not isinstance(source, Path):
        if variant.ends != "float32":
            columns_ahead.require_one_scale(source, spec)
        elif columns_ahead.scales(source, spec):
            ahead = columns_ahead.of(source, spec)
            scaled = None if calibration is None else ahead.scaled(calibration)
            settings = Settings(precision, variant, scaled, fake_quant, select_tf_ops)
    with converting(f"tflite {precision}"):
        content = _content(source if ahead is None else ahead.rest, path, spec, settings, unrolled_steps)
        if precision == "mixed":
            content = quantizer.mix(content, by_layer.precisions(source, mixed or {}))
        elif precision in BY_QUANTIZER:
            content = quantizer.quantize(content, precision)
        model = parsed(content)
        if ahead is not None:
            columns_ahead.prepend(model, ahead)
        if precision == "sparse-float32" and not any(one.sparsity for one in model.subgraphs[0].tensors):
            raise ConversionError(
                "no kernel has zeros enough for the converter to store it sparsely",
                expected="kernels with many zeros, as prune makes them", found="too few in each",
                todo="raise prune.final_sparsity, or take sparse-float32 out of export.tflite",
            )  # fmt: skip
        if fake_quant:
            detours.remove(model)
        if half_weights:
            halving.halve(model)
        name_ends(model)
        _require_ends(model, spec, variant, precision)
        content = metadata.add(model, spec, *_ends(model))
    path.write_bytes(content)


def takes_keras(model: Any, spec: Spec, precision: str, variant: Variant) -> bool:
    """Return whether a file cannot be made from a Keras model's SavedModel, but from the model itself alone.

    Loops are written in another way, a SavedModel takes texts as strings and any number of samples, the scaling of
    columns is cut off before a file is quantized, and `mixed` goes by the names of layers.
    """
    special = variant.batch is not None or precision == "mixed"
    return special or bool(recurrent.loops(model)) or spec.takes_text or columns_ahead.scales(model, spec)


def _content(source: Any, path: Path, spec: Spec, settings: Settings, unrolled_steps: int) -> bytes:
    """Return what the converter makes of a model, or of the SavedModel of one."""
    if isinstance(source, Path):
        return convert(source, spec, settings)
    way = recurrent.way(source, unrolled_steps, settings.precision, post_training=settings.calibrated)
    batch = settings.variant.batch or (1 if way == "single" else None)
    # Beside the target, so that even a killed process leaves nothing elsewhere.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saved_model-") as folder:
        with recurrent.written(source, way, fused=not settings.fake_quant):
            saved_model.write(source, Path(folder), spec, batch=batch, strings=False)
        return convert(Path(folder), spec, settings)


def _require_ends(model: Any, spec: Spec, variant: Variant, precision: str) -> None:
    """Assert that the main graph's ends are of the type that was asked for: the converter leaves some float instead."""
    from ai_edge_litert.schema_py_generated import TensorType

    text = {one.name for one in spec.inputs if one.vectorizer is not None}
    tensors = model.subgraphs[0].tensors
    wanted = getattr(TensorType, variant.ends.upper())
    wrong = [
        name
        for ends in signature_of(model).values()
        for name, index in ends.items()
        if name not in text and tensors[index].type != wanted
    ]
    if wrong:
        raise ConversionError(
            f"the model cannot be converted to tflite {precision} with {variant.ends} ends: what is computed next to "
            f"{', '.join(wrong)} stays float",
            expected=f"{variant.ends} inputs and outputs", found=f"another type of {', '.join(wrong)}",
            todo=f"take {precision}, whose ends are float32, instead",
        )  # fmt: skip


def _ends(model: Any) -> tuple[list[str], list[str]]:
    """Return the names of inputs and of outputs in the order in which the main graph has them."""
    graph, names = model.subgraphs[0], signature_of(model)
    ordered = []
    for places, by_name in ((graph.inputs, names["inputs"]), (graph.outputs, names["outputs"])):
        named = {index: name for name, index in by_name.items()}
        ordered.append([named[int(index)] for index in places])
    return ordered[0], ordered[1]


def name_ends(model: Any) -> None:
    """Call the tensors at the main graph's ends as the signature calls the ends; who has such a name gives it up."""
    tensors = model.subgraphs[0].tensors
    wanted = {index: name for ends in signature_of(model).values() for name, index in ends.items()}
    for index, tensor in enumerate(tensors):
        if index not in wanted and tensor.name.decode() in wanted.values():
            tensor.name = f"{tensor.name.decode()}#{index}".encode()
    for index, name in wanted.items():
        tensors[index].name = name.encode()
