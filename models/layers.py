"""What all architectures share: the options of a layer with weights, and both ends of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipeline.config import Frozen
from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.predictor import Spec

Initializer = Literal["he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "lecun_normal", "lecun_uniform"]


class LayerConfig(Frozen):
    """Options that hold for every layer with weights."""

    initializer: Initializer = Field(default="he_normal", description="how kernels start")
    l1: float = Field(default=0.0, ge=0, description="L1 penalty on kernels")
    l2: float = Field(default=0.0, ge=0, description="L2 penalty on kernels")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share of units silenced at random in training")
    batch_norm: bool = Field(default=True, description="batch normalization before each activation")
    batch_norm_momentum: float = Field(
        default=0.9,
        ge=0,
        lt=1,
        description="how slowly the statistics used in evaluation forget; 0.99 needs many steps",
    )


def seeds(seed: int) -> Iterator[int]:
    """Yield one seed a layer, so that a layer's start depends on nothing but the run's seed and its place."""
    import numpy as np

    root = np.random.SeedSequence(seed)
    while True:
        yield int(root.spawn(1)[0].generate_state(1)[0]) & 0x7FFFFFFF


def kernel(config: LayerConfig, seed: int) -> dict[str, Any]:
    """Return the keyword arguments that start and penalize a layer's kernel."""
    keras = load_keras()
    start = keras.initializers.get({"class_name": config.initializer, "config": {"seed": seed}})
    penalty = keras.regularizers.L1L2(l1=config.l1, l2=config.l2) if config.l1 or config.l2 else None
    return {"kernel_initializer": start, "kernel_regularizer": penalty}


def begin(spec: Spec) -> tuple[Any, Any]:
    """Return the input of raw values and the same scaled to [0, 1], each column of a table by its own range."""
    keras = load_keras()
    low, high = spec.input.bounds
    raw = keras.Input(spec.input.shape, name=spec.input.name, dtype="float32")
    scale, offset = 1 / (high - low), -low / (high - low)
    if spec.input.column_ranges:  # as a config can hold them
        scale, offset = scale.tolist(), offset.tolist()
    return raw, keras.layers.Rescaling(scale, offset=offset, name="rescaling")(raw)


def begin_text(spec: Spec, width: int, seed: int) -> tuple[Any, Any]:
    """Return the input of token ids [n, length] and what they stand for, [n, length, width]."""
    keras = load_keras()
    low, high = spec.input.value_range
    raw = keras.Input(spec.input.shape, name=spec.input.name, dtype="int32")
    start = keras.initializers.RandomUniform(-0.05, 0.05, seed=seed)
    return raw, keras.layers.Embedding(int(high - low) + 1, width, start, name="embedding")(raw)


def dense(x: Any, config: LayerConfig, units: int, place: int, seed: Iterator[int]) -> Any:
    """Dense, batch norm, ReLU, dropout; the ReLU is part of the Dense where there is no batch norm between."""
    keras = load_keras()
    inside = None if config.batch_norm else "relu"
    x = keras.layers.Dense(
        units, activation=inside, use_bias=not config.batch_norm, name=f"dense_{place}", **kernel(config, next(seed))
    )(x)
    if config.batch_norm:
        x = keras.layers.BatchNormalization(momentum=config.batch_norm_momentum, name=f"dense_bn_{place}")(x)
        x = keras.layers.ReLU(name=f"dense_relu_{place}")(x)
    if config.dropout:
        x = keras.layers.Dropout(config.dropout, seed=next(seed), name=f"dropout_{place}")(x)
    return x


def end(raw: Any, x: Any, config: LayerConfig, spec: Spec, name: str, seed: Iterator[int]) -> Any:
    """Return the model from `raw` to the head's logits or values [n, k], computed from `x`."""
    keras = load_keras()
    head = spec.head
    options = {"units": head.shape[0], **kernel(config, next(seed))}
    if head.task == "regression":  # learns standardized values, whatever the unit
        x = keras.layers.Dense(name="standardized", **options)(x)
        answers = keras.layers.Rescaling(list(head.deviation), offset=list(head.mean), name=head.end)(x)
    else:
        answers = keras.layers.Dense(name=head.end, **options)(x)
    return keras.Model(raw, answers, name=name)
