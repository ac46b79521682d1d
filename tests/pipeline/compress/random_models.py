"""Random Keras models of all layers that channel removal follows, with several inputs, branches and outputs."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np

from pipeline.legacy_keras import load as load_keras
from tests.pipeline.compress import random_layers as layers
from tests.pipeline.compress.random_layers import Step, chance, rank, spatial

VOCABULARY = 7
WORDS = (5,)

_ANY: tuple[Step, ...] = (
    layers.dense, layers.batch_norm, layers.layer_norm, layers.activation, layers.noise, layers.operator,
    layers.residual,
)  # fmt: skip
_SPATIAL: tuple[Step, ...] = (
    layers.conv, layers.conv, layers.transposed, layers.pooling, layers.frame, layers.global_pooling, layers.reshaped,
    layers.permuted, layers.flat, layers.group_norm,
)  # fmt: skip
_BY_RANK: dict[int, tuple[Step, ...]] = {
    1: (*_ANY, layers.dense, layers.reshaped, layers.repeated, layers.group_norm, layers.strange),
    2: (
        *_ANY, *_SPATIAL, layers.depthwise, layers.separable, layers.recurrent, layers.recurrent, layers.attention,
        layers.attention, layers.squeeze_and_excite, layers.strange,
    ),
    3: (
        *_ANY, *_SPATIAL, layers.depthwise, layers.depthwise, layers.separable, layers.squeeze_and_excite,
        layers.channels_first, layers.residual, layers.strange,
    ),
    4: (*_ANY, *_SPATIAL),
}  # fmt: skip


def build(random: Random, most: int = 7) -> Any:
    """Return a functional model of up to `most` steps, each of one or a few layers, with no weight near its start."""
    keras = load_keras()
    inputs = [_input(random) for _ in range(2 if chance(random, 0.25) else 1)]
    pool = [_begun(random, values) for values in inputs]
    for _ in range(random.randint(1, most)):
        pool.append(_step(random, pool))
    used = {id(end) for values in _nodes(pool) for end in values}
    ends = [values for values in pool if id(values) not in used] or pool[-1:]
    model = keras.Model(inputs, [_ended(random, end) for end in ends])
    fill(model, random.randrange(2**16))
    return model


def _input(random: Random) -> Any:
    shapes: tuple[tuple[int, ...], ...] = (
        (4, 5, 3),
        (4, 4, 2),
        (6, 6, 1),
        (5, 4),
        (4, 3),
        (6, 2),
        (6,),
        (3, 3, 4, 2),
        (5,),
        (5,),
    )
    shape = random.choice(shapes)
    words = shape == WORDS
    return load_keras().Input(shape, dtype="int32" if words else "float32")


def _begun(random: Random, x: Any) -> Any:
    """Put a first layer behind an input that has channels, so that there is something to remove."""
    keras = load_keras()
    if x.dtype == "int32":
        return keras.layers.Embedding(VOCABULARY, random.choice(layers.WIDTHS), mask_zero=chance(random, 0.3))(x)
    return layers.conv(random, x) if rank(x) > 1 else layers.dense(random, x)


def _step(random: Random, pool: list[Any]) -> Any:
    # the newest most of the time: deep models rather than bushes
    x = pool[-1] if chance(random, 0.7) else random.choice(pool)
    if chance(random, 0.25) and len(pool) > 1:
        return _joined(random, x, random.choice(pool))
    if chance(random, 0.07):
        return _shared(random, x)
    return random.choice(_BY_RANK[rank(x)])(random, x)


def _joined(random: Random, one: Any, other: Any) -> Any:
    """Let two branches meet, made alike first where they are not."""
    merging = load_keras().layers
    if rank(one) != rank(other) or spatial(one) != spatial(other):
        one, other = _vector(random, one), _vector(random, other)
    if chance(random, 0.4):
        return merging.Concatenate()([one, other])
    if one.shape[-1] != other.shape[-1]:
        if chance(random, 0.5):
            other = layers.dense(random, other, one.shape[-1])
        else:
            one = layers.dense(random, one, other.shape[-1])
    if chance(random, 0.3):
        return one + other if chance(random, 0.5) else one * other
    return getattr(merging, random.choice(layers.MERGES))()([one, other])


def _vector(random: Random, x: Any) -> Any:
    if rank(x) == 1:
        return x
    pooled = load_keras().layers.Flatten()(x)
    return pooled if pooled.shape[-1] < 40 and chance(random, 0.4) else layers.dense(random, pooled)


def _shared(random: Random, x: Any) -> Any:
    """Call one layer twice: on a tensor and on another made of it."""
    keras = load_keras()
    shared = keras.layers.Dense(x.shape[-1] if chance(random, 0.5) else random.choice(layers.WIDTHS))
    other = layers.dense(random, x, x.shape[-1])
    if shared.units == x.shape[-1] and chance(random, 0.5):
        return shared(shared(x))
    return getattr(keras.layers, random.choice((*layers.MERGES, "Concatenate")))()([shared(x), shared(other)])


def _ended(random: Random, x: Any) -> Any:
    """Put a last dense layer behind an end; or let it be an output as it is."""
    if chance(random, 0.15):
        return load_keras().layers.Activation("linear")(x)
    if rank(x) > 1:
        x = layers.global_pooling(random, x) if chance(random, 0.5) else load_keras().layers.Flatten()(x)
    return load_keras().layers.Dense(3)(x)


def _nodes(pool: list[Any]) -> Iterator[list[Any]]:
    """Yield what each node between the inputs and the tensors of a pool reads."""
    open_, seen = list(pool), set[int]()
    while open_:
        history = open_.pop()._keras_history
        node = history.layer._inbound_nodes[history.node_index]
        if id(node) not in seen:
            seen.add(id(node))
            yield node.keras_inputs
            open_.extend(node.keras_inputs)


def fill(model: Any, seed: int) -> None:
    """Give every weight distinct values away from zero, about as large as keep a signal's size; variances positive."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        shape = tuple(weight.shape)
        size = int(np.prod(shape))
        ramp = np.linspace(0.5, 1.5, size) if size > 1 else np.ones(1)
        values = random.permutation(ramp)
        name = weight.name.split("/")[-1]
        if "variance" not in name:
            values *= random.choice((-1, 1), size)
        if "gamma" in name:
            values = np.abs(values)
        if len(shape) > 1 and "alpha" not in name and "embeddings" not in name:
            values *= 1.5 / np.sqrt(max(1.0, size / shape[-1]))
        else:
            values *= 0.7
        weight.assign(values.reshape(shape))
    for place, layer in enumerate(model.layers):
        if layer.weights:
            layer.trainable = bool((seed + place) % 5)


def samples(model: Any, count: int = 3) -> list[Any]:
    """Return random inputs, one array a model input; tokens are never all of them the padding token 0."""
    random = np.random.default_rng(1)
    found: list[Any] = []
    for end in model.inputs:
        shape = (count, *end.shape[1:])
        words = end.dtype == "int32"
        found.append(
            random.integers(1, VOCABULARY, shape).astype(np.int32)
            if words
            else random.normal(size=shape).astype(np.float32)
        )
        if words:
            found[-1][:, -1] = 0
    return found


def described(model: Any) -> str:
    """Return a model as text: a line for each call of a layer, with its options and what it reads."""
    lines = []
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            read = ", ".join(f"{end._keras_history.layer.name}{tuple(end.shape[1:])}" for end in node.keras_inputs)
            config = {
                key: value
                for key, value in node.layer.get_config().items()
                if key not in ("name", "dtype", "trainable")
                and value not in (None, False, "channels_last")
                and "initializer" not in key
            }
            lines.append(f"{node.layer.name} {type(node.layer).__name__} {config} <- {read}")
    return "\n".join(lines)
