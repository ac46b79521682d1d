"""Saves functions as the signatures of a SavedModel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def save(path: Path, **signatures: tuple[Callable[..., Any], list[Any]]) -> None:
    """Write signature name -> (function, its input specs)."""
    import tensorflow as tf

    made = {
        name: tf.function(function, input_signature=specs, autograph=False).get_concrete_function()
        for name, (function, specs) in signatures.items()
    }
    tf.saved_model.save(tf.Module(), str(path), signatures=made)


def spec(name: str, dtype: Any = "float32", shape: Any = (None,)) -> Any:
    """Return the spec of an input."""
    import tensorflow as tf

    return tf.TensorSpec(shape, dtype, name=name)
