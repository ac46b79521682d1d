"""Files of a builder as users write them."""

from __future__ import annotations

import textwrap
from pathlib import Path

from pipeline.own_code.config import Builder

NET = """
    import tensorflow as tf
    import tf_keras as keras

    from .models import Scale


    def build(input_shape, classes, units=16):
        raw = keras.Input(input_shape)
        x = keras.layers.Flatten()(Scale(1 / 16)(raw))
        x = keras.layers.Dense(units, activation="relu")(x)
        return keras.Model(raw, keras.layers.Dense(classes, activation="softmax")(x))


    def focal(labels, logits):
        hard = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return (1 - tf.exp(-hard)) ** 2 * hard


    def top_2(labels, logits):
        return keras.metrics.sparse_top_k_categorical_accuracy(labels, logits, 2)
"""
# beside it, called as one of ours
MODELS = """
    import tf_keras as keras


    class Scale(keras.layers.Layer):
        def __init__(self, by, **kwargs):
            super().__init__(**kwargs)
            self.by = by

        def build(self, shape):
            self.gain = self.add_weight(name="gain", shape=(1,), initializer="ones")

        def call(self, x):
            return x * self.by * self.gain

        def get_config(self):
            return {**super().get_config(), "by": self.by}
"""


def net(folder: Path, text: str = NET, **others: str) -> Builder:
    """Write net.py, and NAME.py for each of the others; returns the section that names `build` in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {"net": text, **others}.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(content), encoding="utf-8")
    return Builder(builder=f"{folder}/net.py:build")


def scaled(folder: Path) -> Builder:
    """Write the network with a layer of its own, in a file beside it."""
    return net(folder, models=MODELS)
