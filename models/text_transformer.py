"""A small Transformer encoder (Vaswani et al., 2017) over the words of a text, pooled.

Positions are the paper's sines, added by a Rescaling layer: there is nothing to learn and to look up. Layers are
normalized before they compute (Xiong et al., 2020), which trains without a warm-up. There is no mask: a mask of huge
negative numbers would take up the whole range of an int8 file; padding is a word like others, which the model learns.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from models import layers
from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.predictor import Spec


class Config(layers.LayerConfig):
    """A small Transformer encoder for texts."""

    architecture: Literal["text_transformer"] = "text_transformer"
    embedding: int = Field(default=32, gt=0, description="numbers that stand for a word, in every block")
    blocks: int = Field(default=1, gt=0, description="blocks of self-attention and feed-forward layers")
    heads: int = Field(default=2, gt=0, description="heads of each attention; a divisor of embedding")
    feed_forward: int = Field(default=64, gt=0, description="units of the hidden layer of each block")
    pooling: Literal["max", "average"] = Field(default="max", description="how the words' outputs become the text's")
    dense: tuple[Annotated[int, Field(gt=0)], ...] = Field(default=(), description="units of hidden dense layers")
    initializer: layers.Initializer = Field(default="glorot_uniform", description="how kernels start")
    batch_norm: bool = Field(
        default=True, description="batch normalization in hidden dense layers, before the activation"
    )


def check(config: Config, input_shape: tuple[int, ...]) -> None:  # noqa: ARG001 - every architecture has the same face
    """Refuse heads that do not share the embedding.

    Raises:
        InputError: with the embedding that is possible.
    """
    if config.embedding % config.heads:
        raise InputError(
            "model.heads do not share model.embedding evenly", expected=f"a multiple of {config.heads}",
            found=f"model.embedding {config.embedding}",
            todo=f"set model.embedding to {math.ceil(config.embedding / config.heads) * config.heads}",
        )  # fmt: skip


def build(config: Config, spec: Spec, seed: int) -> Any:
    """Return the untrained model; see `models.build`."""
    keras = load_keras()
    seed_of = layers.seeds(seed)
    raw, x = layers.begin_text(spec, config.embedding, next(seed_of))
    (length,) = spec.input.shape
    # section 3.4: embeddings are multiplied by the square root of their width
    scale = math.sqrt(config.embedding)
    x = keras.layers.Rescaling(scale, offset=_positions(length, config.embedding), name="positions")(x)
    for place in range(1, config.blocks + 1):
        x = _block(x, config, place, seed_of)
    x = keras.layers.LayerNormalization(name="norm")(x)
    pool = keras.layers.GlobalMaxPooling1D if config.pooling == "max" else keras.layers.GlobalAveragePooling1D
    x = pool(name="pool")(x)
    for place, units in enumerate(config.dense, start=1):
        x = layers.dense(x, config, units, place, seed_of)
    return layers.end(raw, x, config, spec, "text_transformer", seed_of)


def _positions(length: int, width: int) -> list[list[float]]:
    """Return a sine or cosine for each place and number, wavelengths from 2 pi to 10,000 * 2 pi (section 3.5)."""
    functions = (math.sin, math.cos)
    return [[functions[i % 2](place / 10_000 ** (i // 2 * 2 / width)) for i in range(width)] for place in range(length)]


def _block(x: Any, config: Config, place: int, seed: Iterator[int]) -> Any:
    keras = load_keras()

    def added(x: Any, computed: Any, name: str) -> Any:
        if config.dropout:
            computed = keras.layers.Dropout(config.dropout, seed=next(seed), name=f"{name}_dropout_{place}")(computed)
        return keras.layers.Add(name=f"{name}_add_{place}")([x, computed])

    normal = keras.layers.LayerNormalization(name=f"attention_norm_{place}")(x)
    attention = keras.layers.MultiHeadAttention(
        config.heads, config.embedding // config.heads, name=f"attention_{place}",
        kernel_regularizer=layers.kernel(config, 0)["kernel_regularizer"],
    )  # fmt: skip
    x = added(x, attention(normal, normal), "attention")
    _start(attention, config, seed)
    normal = keras.layers.LayerNormalization(name=f"feed_forward_norm_{place}")(x)
    hidden = keras.layers.Dense(
        config.feed_forward, activation="relu", name=f"feed_forward_{place}", **layers.kernel(config, next(seed))
    )(normal)
    wide = keras.layers.Dense(config.embedding, name=f"feed_forward_out_{place}", **layers.kernel(config, next(seed)))(
        hidden
    )
    return added(x, wide, "feed_forward")


def _start(attention: Any, config: Config, seed: Iterator[int]) -> None:
    """Start the four projections each in its own way: given one seed, Keras starts all of them with equal kernels."""
    weights = attention.get_weights()
    for place, values in enumerate(weights):
        if values.ndim == 3:  # [in, heads, size], the last projection's [heads, size, out]
            start = layers.kernel(config, next(seed))["kernel_initializer"]
            weights[place] = start((config.embedding, config.embedding)).numpy().reshape(values.shape)
    attention.set_weights(weights)
