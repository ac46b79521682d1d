"""Architectures, one a module: `build` takes a config to a Keras model that ends in logits, or in values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from models import autoencoder, cnn, ds_cnn, efficientnet, mlp, mobilenet, resnet, rnn, text_rnn, text_transformer
from pipeline.errors import InputError
from pipeline.predictor import GIVING_BACK

if TYPE_CHECKING:
    from pipeline.predictor import Spec, Task

MODELS = {
    "cnn": cnn,
    "mlp": mlp,
    "resnet": resnet,
    "mobilenet": mobilenet,
    "efficientnet": efficientnet,
    "ds_cnn": ds_cnn,
    "autoencoder": autoencoder,
    "rnn": rnn,
    "text_rnn": text_rnn,
    "text_transformer": text_transformer,
}
# what gives its input back; all others answer classes or values
REBUILDING = ("autoencoder",)
# what takes texts; all others take numbers
READING = ("text_rnn", "text_transformer")

ModelConfig = Annotated[
    cnn.Config
    | mlp.Config
    | resnet.Config
    | mobilenet.Config
    | efficientnet.Config
    | ds_cnn.Config
    | autoencoder.Config
    | rnn.Config
    | text_rnn.Config
    | text_transformer.Config,
    Field(discriminator="architecture"),
]  # fmt: skip


def check(config: ModelConfig, input_shape: tuple[int, ...], task: Task | None = None) -> None:
    """Refuse a config that is impossible for inputs of this shape, or for the task; cheap, loads no TensorFlow.

    Args:
        input_shape: of one sample; empty where it is a text.
        task: None: what the labels make of it, classification or regression.

    Raises:
        InputError: with what is possible.
    """
    rebuilds = config.architecture in REBUILDING
    if rebuilds != (task in GIVING_BACK):
        possible = "reconstruction or anomaly" if rebuilds else "classification, multilabel or regression"
        raise InputError(
            f"model.architecture {config.architecture!r} is not for this task", expected=f"data.task {possible}",
            found=f"{task or 'classification or regression, by the labels'}",
            todo=f"set data.task to {possible}" if rebuilds else f"set model.architecture to {' or '.join(REBUILDING)}",
        )  # fmt: skip
    reads = config.architecture in READING
    if reads != (input_shape == ()):
        others = [name for name in MODELS if name not in (*READING, *REBUILDING)]
        raise InputError(
            f"model.architecture {config.architecture!r} takes {'texts' if reads else 'numbers'}",
            expected="an array of strings [n]" if reads else "arrays of numbers",
            found=f"inputs of shape {input_shape}" if reads else "texts",
            todo=f"set model.architecture to {' or '.join(others if reads else READING)}",
        )
    MODELS[config.architecture].check(config, input_shape)


def build(config: ModelConfig, spec: Spec, seed: int) -> Any:
    """Return the untrained Keras model of a config: raw values in, logits or values out, weights decided by `seed`.

    Raises:
        InputError: the config is impossible for inputs of this shape, or for the task.
    """
    check(config, spec.input.raw_shape, spec.head.task)
    return MODELS[config.architecture].build(config, spec, seed)
