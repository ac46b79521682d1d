"""The one place that loads Keras 2 (`tf_keras`), before TensorFlow decides which Keras it means."""

from __future__ import annotations

import os
from types import ModuleType


def load() -> ModuleType:
    """Return `tf_keras`, with the environment set that TensorFlow reads at its first import.

    TF-MOT works on Keras 2 only, and `tf.lite` and `tf.saved_model` must agree with it about what a layer is.
    """
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    import tf_keras

    module: ModuleType = tf_keras
    return module
