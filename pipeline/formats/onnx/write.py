"""Writes an .onnx: float from a Keras model, int8 from the float32 file or from an int8 .tflite."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

from pipeline.formats import OPSET, converting, recurrent
from pipeline.formats.onnx import convert, finish, half, quantize, unsigned
from pipeline.formats.onnx.simplify import simplified
from pipeline.predictor import Samples, Spec, require_ends

Precision = Literal["float32", "float16", "int8"]


def write(
    source: Any, path: Path, spec: Spec, precision: Precision = "float32", calibration: Samples | None = None, *,
    opset: int = OPSET, simplify: bool = True,
) -> str:  # fmt: skip
    """Write an .onnx with a dynamic batch and float32 ends; texts go in as int32 token ids.

    Args:
        source: a Keras model; for another precision than float32 also the float32 file that was written of it.
        path: the file to write; above 2 GiB of weights these are written beside it (`external`).
        spec: names and shapes.
        precision: `float32`; `float16` (weights and what is computed with them); `int8` (by ONNX Runtime's static
            quantization: weights per channel, activations).
        calibration: raw samples, n >= 1, texts as token ids, that fix the ranges of activations; `int8` only.
        opset: version of ONNX's operators.
        simplify: remove what need not be computed, where the model then answers alike.

    Returns:
        Why the graph is not simplified, though that was asked for; empty: it is, or `source` is a file.

    Raises:
        ConversionError: tf2onnx, ONNX Runtime's tools or the ONNX checker refuse the model.
        InputError: `int8` without calibration samples.
    """
    import onnx

    why = ""
    if not isinstance(source, Path):
        with converting("onnx float32"):
            proto = convert.converted(source, spec, opset)
            finish.canonical(proto)
            if simplify:
                proto, why = simplified(proto, spec)
                finish.canonical(proto)
        if precision == "float32":
            with converting("onnx float32"):
                finish.save(proto, path, spec)
            return why
        # Beside the target, so that even a killed process leaves nothing elsewhere.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".onnx-") as folder:
            given = Path(folder) / "float32.onnx"
            with converting("onnx float32"):
                finish.save(proto, given, spec)
            write(given, path, spec, precision, calibration)
        return why
    with converting(f"onnx {precision}"):
        if precision == "float16":
            proto = half.halved(onnx.load(str(source)))
        else:
            proto = quantize.quantized(source, spec, calibration)
        finish.canonical(proto)
        finish.save(proto, path, spec)
    return why


def write_from_tflite(tflite_path: Path, onnx_path: Path, spec: Spec, *, opset: int = OPSET) -> None:
    """Write an int8 .tflite as a QDQ ONNX file (QuantizeLinear, DequantizeLinear) with a dynamic batch.

    From the .tflite and not from Keras, because tf2onnx has no handler for per-channel fake quantization; and so both
    files hold the same integers.

    Raises:
        ConversionError: tf2onnx or the ONNX checker refuses the file.
    """
    from pipeline import legacy_keras
    from pipeline.formats import tflite

    legacy_keras.load()
    signature, tensors = tflite.signature(tflite_path), tflite.tensor_names(tflite_path)
    require_ends(
        tflite_path.name,
        spec,
        inputs={one.name: (None, *one.shape) for one in spec.inputs if one.name in signature["inputs"]},
        outputs=signature["outputs"],
    )
    if tflite.batch(tflite_path) is not None:
        raise recurrent.one_at_a_time(tflite_path.name)
    names = {tensors[index]: name for ends in signature.values() for name, index in ends.items()}
    with converting("onnx int8"):
        import tf2onnx

        proto, _ = tf2onnx.convert.from_tflite(str(tflite_path), opset=opset)
        convert.require_known(proto, "onnx int8")
        finish.canonical(proto, names)
        unsigned.activations(proto)
        unsigned.own_zero_points(proto)
        finish.canonical(proto)
        finish.save(proto, onnx_path, spec)
