"""Chance inside a model (dropout and the like) as a function of (seed, epoch), so that a fit can go on exactly.

Keras' random layers draw from operations whose hidden state no checkpoint holds. For the length of a fit they draw
from generators that are set anew before each epoch. Layers whose code is not Keras' may draw in ways of their own:
with one of them in the model, TensorFlow's global seed is set and the training step traced again each epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from pipeline.legacy_keras import load as load_keras

_KNOWN = ("tf_keras.", "tensorflow_model_optimization.")


class Chance:
    """Sets a model's randomness before each epoch.

    Attributes:
        opaque: whether layers may draw in ways of their own, so that the training step has to be traced again after
            each `begin_epoch`.
        drawn: whether anything is drawn at all, as far as that is known.
    """

    def __init__(self, generators: list[Any], opaque: bool) -> None:
        self._generators, self.opaque = generators, opaque

    @property
    def drawn(self) -> bool:
        return bool(self._generators) or self.opaque

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """Make what follows a function of (seed, epoch)."""
        seeds = np.random.SeedSequence((seed, epoch)).generate_state(len(self._generators) + 1) & 0x7FFFFFFF
        for generator, state in zip(self._generators, seeds[1:], strict=True):
            generator.reset_from_seed(int(state))
        if self.opaque:
            load_keras().utils.set_random_seed(int(seeds[0]))


@contextmanager
def controlled(model: Any) -> Iterator[Chance]:
    """Take the randomness of `model` into hand; on leaving, its layers are as they were (compile it inside)."""
    load_keras()
    import tensorflow as tf

    taken: list[tuple[Any, str, Any]] = []
    opaque = False
    for layer in _layers(model):
        random = getattr(layer, "_random_generator", None)
        if random is not None and _draws(layer):
            taken.append((random, random._rng_type, getattr(random, "_generator", None)))
            random._rng_type, random._built = random.RNG_STATEFUL, True
            random._generator = tf.random.Generator.from_seed(0)
        elif not type(layer).__module__.startswith(_KNOWN) or type(layer).__name__ in ("Lambda", "TFOpLambda"):
            opaque = True
    try:
        yield Chance([random._generator for random, _, _ in taken], opaque)
    finally:
        for random, kind, generator in taken:
            random._rng_type, random._generator = kind, generator


def _layers(model: Any) -> list[Any]:
    """Return all layers, also those inside wrappers, cells and models inside the model."""
    base = load_keras().layers.Layer
    return [module for module in model.submodules if isinstance(module, base)]


def _draws(layer: Any) -> bool:
    """Return whether a layer with a generator uses it: recurrent cells have one with their dropout off, too."""
    rates = [getattr(layer, key) for key in ("dropout", "recurrent_dropout") if hasattr(layer, key)]
    return any(rates) if rates else True
