"""A recurrent network over the words of a text, the highest state of each unit over all of them (Conneau et al., 2017).

Not the last state: behind a text's last word stands padding, which a pooled network need not learn to sit through. No
mask either: with one, no converter knows the loop any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from models import layers, rnn
from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    from pipeline.predictor import Spec


class Config(rnn.RecurrentConfig):
    """A recurrent network for texts."""

    architecture: Literal["text_rnn"] = "text_rnn"
    embedding: int = Field(default=32, gt=0, description="numbers that stand for a word")


def check(config: Config, input_shape: tuple[int, ...]) -> None:
    """Do nothing: any text will do; see `models.check`."""


def build(config: Config, spec: Spec, seed: int) -> Any:
    """Return the untrained model; see `models.build`."""
    keras = load_keras()
    seed_of = layers.seeds(seed)
    raw, x = layers.begin_text(spec, config.embedding, next(seed_of))
    for place, units in enumerate(config.units, start=1):
        x = rnn.recurrent(x, config, units, place, seed_of, sequences=True)
    x = keras.layers.GlobalMaxPooling1D(name="highest")(x)
    for place, units in enumerate(config.dense, start=1):
        x = layers.dense(x, config, units, place, seed_of)
    return layers.end(raw, x, config, spec, "text_rnn", seed_of)
