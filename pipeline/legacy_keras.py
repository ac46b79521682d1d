"""The one place that loads Keras 2 (`tf_keras`), before TensorFlow decides which Keras it means, and TF-MOT."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_TFMOT = "tensorflow_model_optimization"


def load() -> ModuleType:
    """Return `tf_keras`, with the environment set that TensorFlow reads at its first import.

    TF-MOT works on Keras 2 only, and `tf.lite` and `tf.saved_model` must agree with it about what a layer is.
    """
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    with _importing("tf_keras"):
        import tf_keras

    module: ModuleType = tf_keras
    return module


def load_tfmot() -> Any:
    """Return `tensorflow_model_optimization`.

    It looks for Keras 2's engine below the name `keras`; where that is Keras 3, it imports all of that, which takes
    seconds, and finds none. Here it finds none at once. And its layers branch by tf.cond, as Keras' own do: autograph,
    which would take seconds to read their source, has nothing to convert there.
    """
    load()
    from tensorflow.python.autograph.core import config

    if not any(rule.matches(_TFMOT) for rule in config.CONVERSION_RULES):
        config.CONVERSION_RULES = (config.DoNotConvert(_TFMOT), *config.CONVERSION_RULES)
    absent = "keras" not in sys.modules
    if absent:
        sys.modules["keras"] = None  # type: ignore[assignment]  # what the import system takes for "there is none"
    try:
        with _importing(_TFMOT):
            import tensorflow_model_optimization
    finally:
        if absent:
            del sys.modules["keras"]
    return tensorflow_model_optimization


@contextmanager
def _importing(name: str) -> Iterator[None]:
    """Keep the garbage collector from what an import makes, while it is made and ever after.

    It would walk over hundreds of thousands of objects that stay again and again, and once more at the exit: a quarter
    of the time of a process that does little else.
    """
    if name in sys.modules:
        yield
        return
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
