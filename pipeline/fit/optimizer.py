"""The optimizer of a fit, and the learning rate of each of its steps as part of the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.fit.config import Adagrad, Adam, AdamW, FitConfig, Momentum, Nesterov, RmsProp, Sgd
from pipeline.legacy_keras import load as load_keras


class Rates:
    """Learning rates by the optimizer's own count of steps, so that many steps can run without Python in between.

    Attributes:
        table: float32 [steps of the whole fit], before any plateau's factor.
        schedule: what a Keras optimizer takes for its learning rate.
    """

    def __init__(self, table: np.ndarray) -> None:
        import tensorflow as tf

        self.table = table
        self._factor = factor = tf.Variable(1.0, trainable=False, dtype=tf.float32, name="plateau_factor")
        rates = tf.constant(table, tf.float32)

        class Table(load_keras().optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
            def __call__(self, step: Any) -> Any:
                return tf.gather(rates, tf.minimum(tf.cast(step, tf.int64), len(table) - 1)) * factor

            def get_config(self) -> dict[str, Any]:
                return {}

        self.schedule = Table()

    def scale(self, factor: float) -> None:
        """Multiply the rates of all steps from now on by a plateau's factor."""
        self._factor.assign(factor)

    def at(self, step: int, factor: float) -> float:
        """Return the rate of a step, counted from 0, as the graph computes it."""
        return float(self.table[step] * np.float32(factor))


def make(config: FitConfig, learning_rate: Any = None) -> Any:
    """Return the Keras optimizer that a config describes.

    Args:
        learning_rate: a Keras schedule; None: the config's peak, for all steps.
    """
    optimizers = load_keras().optimizers
    chosen = config.optimizer
    clip: dict[str, float] = {}
    if config.clip:
        key = {"global_norm": "global_clipnorm", "norm": "clipnorm", "value": "clipvalue"}[config.clip.by]
        clip[key] = config.clip.limit
    build: Callable[..., Any]
    match chosen:
        case Sgd():
            build, options = optimizers.SGD, {}
        case Momentum() | Nesterov():
            build, options = optimizers.SGD, {"momentum": chosen.momentum, "nesterov": isinstance(chosen, Nesterov)}
        case Adagrad():
            build = optimizers.Adagrad
            options = {"initial_accumulator_value": chosen.initial_accumulator, "epsilon": chosen.epsilon}
        case RmsProp():
            build = optimizers.RMSprop
            options = {"rho": chosen.rho, "momentum": chosen.momentum, "epsilon": chosen.epsilon}
        case Adam() | AdamW():
            build = optimizers.AdamW if isinstance(chosen, AdamW) else optimizers.Adam
            options = {"beta_1": chosen.beta_1, "beta_2": chosen.beta_2, "epsilon": chosen.epsilon}
            if isinstance(chosen, AdamW):
                options["weight_decay"] = chosen.weight_decay
    optimizer = build(learning_rate=learning_rate or chosen.learning_rate, **options, **clip)
    if isinstance(chosen, AdamW):
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
