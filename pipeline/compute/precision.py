"""Mixed precision: matrix products and convolutions in 16 bits, and all weights, sums and losses in float32.

TensorFlow rewrites the graph of a step (its automatic mixed precision; Micikevicius et al., 2018): models, their files
and what stages look at in them stay float32. Gradients of float16 are kept from becoming zero by a factor on the loss,
which is halved where one overflows, whose step is left out, and doubled every 2000 steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pipeline.compute.choose import Policy
from pipeline.legacy_keras import load as load_keras

# what TensorFlow's graph optimizer calls it; a TPU multiplies in bfloat16 whatever it is told
_REWRITES = {"mixed_float16": "auto_mixed_precision", "mixed_bfloat16": "auto_mixed_precision_onednn_bfloat16"}

_policy: ContextVar[Policy] = ContextVar("policy", default="float32")


@contextmanager
def asked(policy: Policy) -> Iterator[None]:
    """Let fits inside the block compute so."""
    token = _policy.set(policy)
    try:
        yield
    finally:
        _policy.reset(token)


@contextmanager
def rewritten() -> Iterator[None]:
    """Let the steps that run inside the block compute in the precision that is asked for."""
    name = _REWRITES.get(_policy.get())
    if name is None:
        yield
        return
    load_keras()
    import tensorflow as tf

    before = tf.config.optimizer.get_experimental_options().get(name, False)
    tf.config.optimizer.set_experimental_options({name: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({name: before})


def mixed() -> bool:
    """Return whether fits compute in 16 bits now."""
    return _policy.get() != "float32"


def scaled(optimizer: Any) -> Any:
    """Return an optimizer that multiplies the loss where gradients are float16; else the one that is given."""
    if _policy.get() != "mixed_float16":
        return optimizer
    return load_keras().mixed_precision.LossScaleOptimizer(optimizer)


def variables(optimizer: Any) -> list[Any]:
    """Return all variables of an optimizer, those of the loss's factor included, in an order of their own."""
    found = list(optimizer.variables)
    scale = getattr(optimizer, "_loss_scale", None)
    return (
        found if scale is None else [*found, optimizer._loss_scale._current_loss_scale, optimizer._loss_scale._counter]
    )
