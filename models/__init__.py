"""Architectures, one a module: `build` takes a config to a Keras model that ends in logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from models import cnn, mlp, rnn

if TYPE_CHECKING:
    from pipeline.predictor import Spec

MODELS = {"cnn": cnn, "mlp": mlp, "rnn": rnn}

ModelConfig = Annotated[cnn.Config | mlp.Config | rnn.Config, Field(discriminator="architecture")]


def check(config: ModelConfig, input_shape: tuple[int, ...]) -> None:
    """Refuse a config that is impossible for inputs of this shape; cheap, loads no TensorFlow.

    Raises:
        InputError: with what is possible.
    """
    MODELS[config.architecture].check(config, input_shape)


def build(config: ModelConfig, spec: Spec, seed: int) -> Any:
    """Return the untrained Keras model of a config: raw values in, logits out, weights decided by `seed`.

    Raises:
        InputError: the config is impossible for inputs of this shape.
    """
    check(config, spec.input_shape)
    return MODELS[config.architecture].build(config, spec, seed)
