"""Files that other tools make of a float Keras 2 model, by their own public interfaces, without a line of modelmill.

    python -m tests.benchmarks.peer_files MODEL.keras CALIBRATION.npy FOLDER

All are given the same model and the same calibration samples, float32 [n, ...], and are left at their defaults, but
that onnxruntime quantizes kernels per channel, as the others do by themselves. It makes a second file with uint8
activations, which its documentation advises for x86. A file that is there is not made again.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 32  # of what onnxruntime is given at once; ranges do not depend on it
FLOAT_TFLITE, FLOAT_ONNX, PREPARED = "float32.tflite", "float32.onnx", "prepared.onnx"
TENSORFLOW, EDGE, SIGNED, UNSIGNED = (
    "tensorflow.tflite", "ai-edge-quantizer.tflite", "onnxruntime.onnx", "onnxruntime-uint8.onnx",
)  # fmt: skip


def float_tflite(model: Any, path: Path) -> None:
    """What ai-edge-quantizer begins with."""
    import tensorflow as tf

    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


def float_onnx(model: Any, path: Path) -> None:
    """What onnxruntime begins with."""
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec(one.shape, tf.float32, name=one.name) for one in model.inputs]
    tf2onnx.convert.from_keras(model, signature, opset=18, output_path=str(path))


def tensorflow(model: Any, samples: np.ndarray, path: Path) -> None:
    """TensorFlow's converter: every operator in int8, with float32 ends."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
    path.write_bytes(converter.convert())


def ai_edge_quantizer(source: Path, samples: np.ndarray, path: Path) -> None:
    """Recipe static_wi8_ai8: every operator in int8, with int8 ends."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    ((key, ends),) = Interpreter(str(source)).get_signature_list().items()
    made = quantizer.Quantizer(str(source), recipe.static_wi8_ai8())
    ranges = made.calibrate({key: [{ends["inputs"][0]: sample[None]} for sample in samples]})
    path.write_bytes(made.quantize(ranges).quantized_model)


def onnxruntime(source: Path, samples: np.ndarray, path: Path, **options: Any) -> None:
    """Static quantization as QDQ, of a model that was prepared as its documentation says; float32 ends."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            name = onnx.load(str(source)).graph.input[0].name
            self._batches: Iterator[dict[str, np.ndarray]] = (
                {name: samples[start : start + BATCH]} for start in range(0, len(samples), BATCH)
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._batches, None)

    prepared = path.with_name(PREPARED)
    quant_pre_process(str(source), str(prepared))
    quantization.quantize_static(str(prepared), str(path), Reader(), per_channel=True, **options)
    prepared.unlink()


def once(path: Path, make: Callable[[Path], None]) -> None:
    """Make a file that is not there; what stands under its name is whole."""
    if not path.exists():
        partial = path.with_name(f"partial-{path.name}")
        make(partial)
        partial.rename(path)


def main() -> None:
    """Make all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tf_keras
    from onnxruntime.quantization import QuantType

    model, samples, folder = tf_keras.models.load_model(given.model), np.load(given.calibration), given.folder
    folder.mkdir(parents=True, exist_ok=True)
    lite, onnx = folder / FLOAT_TFLITE, folder / FLOAT_ONNX
    once(lite, lambda path: float_tflite(model, path))
    once(onnx, lambda path: float_onnx(model, path))
    once(folder / TENSORFLOW, lambda path: tensorflow(model, samples, path))
    once(folder / EDGE, lambda path: ai_edge_quantizer(lite, samples, path))
    once(folder / SIGNED, lambda path: onnxruntime(onnx, samples, path))
    once(folder / UNSIGNED, lambda path: onnxruntime(onnx, samples, path, activation_type=QuantType.QUInt8))


if __name__ == "__main__":
    main()
