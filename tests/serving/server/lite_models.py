"""Writes the models in LiteRT's format; see `models`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.serving.server.saved import save, spec


def write(folder: Path) -> None:
    """Write lite/1, a SavedModel with its model.tflite; lite_unsigned/1 and lite_int8/1, which have only that."""
    import numpy as np
    import tensorflow as tf

    def convert(name: str, converter: Any) -> None:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "model.tflite").write_bytes(converter.convert())

    source = folder / "lite" / "1"
    weights = tf.reshape(tf.range(8.0), (4, 2))
    signatures: dict[str, Any] = {
        "serving_default": (
            lambda x: {"y": tf.matmul(x, weights), "rows": tf.fill([tf.shape(x)[0]], tf.shape(x)[0])},
            [spec("x", shape=(None, 4))],
        ),
        "other": (lambda x: {"y": x * 10}, [spec("x")]),
        "text": (lambda s: {"backwards": tf.gather(s, tf.shape(s)[0] - 1 - tf.range(tf.shape(s)[0]))},
                 [spec("s", "string")]),
        "single": (lambda x: {"y": x - tf.reduce_mean(x)}, [spec("x", shape=(1, 2))]),
        "fixed": (lambda x: {"y": x + tf.constant([1.0, 2.0, 3.0])}, [spec("x", shape=(3,))]),
        "pair": (lambda a, b: {"y": a + b}, [spec("a", shape=(None, None)), spec("b", shape=(None, None))]),
    }  # fmt: skip
    save(source, **signatures, only_in_tensorflow=(lambda x: {"y": x}, [spec("x")]))
    from_saved_model = tf.lite.TFLiteConverter.from_saved_model
    convert("lite/1", from_saved_model(str(source), signature_keys=list(signatures)))
    function = tf.function(lambda x: x * 2, input_signature=[spec("x", shape=(None, 2))]).get_concrete_function()
    convert("lite_unsigned/1", tf.lite.TFLiteConverter.from_concrete_functions([function]))
    converter = from_saved_model(str(source), signature_keys=["single"])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: [{"x": np.array([[-1.0, 1.0]], np.float32)}]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    convert("lite_int8/1", converter)
