"""TensorFlow's converter: a SavedModel becomes the content of a .tflite, in the precisions that it knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.formats import ConversionError, converting, saved_model
from pipeline.formats.precisions import BY_QUANTIZER, PLAIN, STATIC, Variant
from pipeline.predictor import Samples, Spec, count, rows


@dataclass(frozen=True)
class Settings:
    """What a .tflite is to be.

    Attributes:
        precision: as in `precisions.TFLITE`; what is quantized from a float32 file comes out of the converter as such.
        variant: its ends, and its fixed batch.
        calibration: raw samples, n >= 1, that fix the ranges of activations where these are quantized after training.
        fake_quant: the SavedModel brings its ranges along, from quantization-aware training.
        select_tf_ops: what TFLite has no operator for is left to TensorFlow's own.
    """

    precision: str
    variant: Variant = PLAIN
    calibration: Samples | None = None
    fake_quant: bool = False
    select_tf_ops: bool = False

    @property
    def calibrated(self) -> bool:
        """Whether activations are quantized after training."""
        return self.precision in STATIC and not self.fake_quant


def convert(folder: Path, spec: Spec, settings: Settings) -> bytes:
    """Return the content of a .tflite.

    Args:
        folder: of a SavedModel; it holds `1/`.
        spec: names and shapes.
        settings: what the file is to be.

    Raises:
        ConversionError: the converter refuses the model; with the operators that are lacking, where it is that.
    """
    from pipeline import legacy_keras

    legacy_keras.load()
    import tensorflow as tf

    precision, sets = settings.precision, tf.lite.OpsSet
    path = str(folder / saved_model.VERSION)
    with converting(f"tflite {precision}"):
        converter = tf.lite.TFLiteConverter.from_saved_model(path, signature_keys=[saved_model.SIGNATURE])
        if precision == "sparse-float32":
            converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
        elif precision not in ("float32", *BY_QUANTIZER):
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        # without this an operator that has no integer kernel would quietly stay float
        known = {"int8": sets.TFLITE_BUILTINS_INT8, "int16x8": _INT16X8} if settings.calibrated else {}
        name = known.get(precision, sets.TFLITE_BUILTINS)
        converter.target_spec.supported_ops = [sets(name), *([sets.SELECT_TF_OPS] if settings.select_tf_ops else [])]
        if settings.calibrated:
            converter.representative_dataset = lambda: _batches(spec, settings)
        if settings.variant.ends != "float32":
            ends = tf.as_dtype(settings.variant.ends)
            converter.inference_input_type = converter.inference_output_type = ends
        try:
            return bytes(converter.convert())
        except Exception as error:
            if (lacking := _lacking(str(error), settings)) is not None:
                raise lacking from error
            raise


_INT16X8 = "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"


def _batches(spec: Spec, settings: Settings) -> Iterator[dict[str, np.ndarray]]:
    """Yield all calibration samples in batches as the model takes them; the last one is filled from the first."""
    assert settings.calibration is not None
    every, size = count(settings.calibration), settings.variant.batch or 1
    for place in range(0, every, size):
        yield spec.named(rows(settings.calibration, np.arange(place, place + size) % every))


def _lacking(message: str, settings: Settings) -> ConversionError | None:
    """Return the error for operators that do not exist; None where the converter's complaint is another."""
    precision = settings.precision
    if narrow := sorted(set(re.findall(r"16x8-bit not yet supported for op: '(\w+)'", message))):
        return ConversionError(
            f"the model cannot be converted to tflite int16x8: no operator of it takes int16 activations for "
            f"{', '.join(narrow)}",
            todo="remove int16x8 from the recipe's export section, or replace the layers that hold them",
        )
    foreign = sorted(set(re.findall(r"'tf\.(\w+)' op is neither a custom op nor a flex op", message)))
    if not foreign:
        return None
    named = ", ".join(foreign)
    if settings.select_tf_ops:
        return ConversionError(
            f"the model cannot be converted to tflite {precision}: neither TFLite nor its TensorFlow operators "
            f"(export.select_tf_ops) have {named}",
            todo=f"remove tflite {precision} from the recipe's export section, or replace the layers that hold them",
        )
    return ConversionError(
        f"the model cannot be converted to tflite {precision}: TFLite has no operator {named}",
        todo=f"remove tflite {precision} from the recipe's export section, or replace the layers that hold them; or, "
        "if the app brings TensorFlow's kernels along (Flex), set export.select_tf_ops=true",
    )
