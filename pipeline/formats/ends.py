"""What exports make of a Keras model's outputs: logits get probabilities, reconstructions raw values and a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.predictor import Head, Input, Spec


def call(model: Any, spec: Spec, samples: Mapping[str, Any]) -> list[Any]:
    """Return what a Keras model answers, one tensor [n, ...] for each head.

    Args:
        samples: a tensor [n, *shape] of raw values for each input, by name.
    """
    given = [samples[one.name] for one in spec.inputs]
    found = model(given[0] if len(given) == 1 else given, training=False)
    return list(found) if isinstance(found, (list, tuple)) else [found]


def answers(model: Any, spec: Spec, samples: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec's outputs, as tensors; see `Head`."""
    found: dict[str, Any] = {}
    for head, end in zip(spec.heads, call(model, spec, samples), strict=True):
        found |= zip(head.outputs, _of(head, end, spec.inputs, samples), strict=True)
    return found


def _of(head: Head, end: Any, inputs: Sequence[Input], samples: Mapping[str, Any]) -> list[Any]:
    import tensorflow as tf

    match head.task:
        case "classification":
            return [tf.identity(end), tf.nn.softmax(end)]
        case "multilabel":
            return [tf.identity(end), tf.nn.sigmoid(end)]
        case "regression":
            return [tf.identity(end)]
        case "reconstruction" | "anomaly":
            (one,) = inputs
            low, high = (tf.constant(end, tf.float32) if one.column_ranges else end for end in one.bounds)
            scaled = (samples[one.name] - low) / (high - low)
            axes = list(range(1, 1 + len(one.shape)))
            # multiplied: of a square the converter makes an operator that LiteRT has no int16 kernel for
            lacking = end - scaled
            return [end * (high - low) + low, tf.reduce_mean(tf.multiply(lacking, lacking), axis=axes)]
