"""SavedModel folders as users have them, and as they should not be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import legacy_keras


def graph(path: Path, answer: Callable[[Any], Any], *, shape: tuple[int | None, ...] = (None, 8, 8, 1)) -> None:
    """Write a graph with 64 x 10 weights, without Keras; `answer` takes the logits to what it answers."""
    legacy_keras.load()
    import tensorflow as tf

    module = tf.Module()
    module.kernel = tf.Variable(np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32) / 16)
    module.bias = tf.Variable(tf.zeros(10))

    def serve(pixels: Any) -> Any:
        return {"scores": answer(tf.matmul(tf.reshape(pixels, [-1, 64]), module.kernel) + module.bias)}

    signature = [tf.TensorSpec(shape, tf.float32, name="pixels")]
    module.serve = tf.function(serve, autograph=False, input_signature=signature)
    tf.saved_model.save(module, str(path), signatures=module.serve)
