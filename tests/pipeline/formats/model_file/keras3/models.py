"""Whole models as Keras 3 has them: from the module `keras` to the model. Nothing is imported here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def sequential(k: Any) -> Any:
    inner = k.Sequential([k.Input((4,)), k.layers.Dense(3, "relu"), k.layers.BatchNormalization()], name="inner")
    return k.Sequential(
        [k.Input((6,)), k.layers.Dense(4, name="first"), inner, k.layers.Dense(3, "softmax")], name="chain"
    )


def sequential_without_input(k: Any) -> Any:
    model = k.Sequential([k.layers.Conv2D(4, 3), k.layers.Flatten(), k.layers.Dense(3)])
    model.build((None, 6, 6, 2))
    return model


def ends(k: Any) -> Any:
    """Return a model with several inputs and outputs by name, whose order is not that of their names."""
    inputs = {"zebra": k.Input((4,), name="zebra"), "ant": k.Input((3,), name="ant")}
    both = k.layers.Concatenate()([inputs["zebra"], inputs["ant"]])
    outputs = {"yes": k.layers.Dense(2, name="yes")(both), "no": k.layers.Dense(3, name="no")(inputs["ant"])}
    return k.Model(inputs, outputs)


def shared(k: Any) -> Any:
    """Return a model with a layer and a model that are called several times, one of them on its own output."""
    layers = k.layers
    i = k.Input((4,))
    again, within = (layers.Dense(4, "tanh", name=name) for name in ("again", "within"))
    a = k.Input((4,))
    inner = k.Model(a, [layers.Dense(4, name="left")(within(a)), layers.Dense(4)(within(within(a)))], name="inner")
    left, right = inner(again(again(i)))
    more = inner(right)
    return k.Model(i, [left, more[1], inner(left)[0]])


def shared_by_two(k: Any) -> Any:
    """Return a model with a layer that is called inside of a model and outside of it."""
    i, a, again = k.Input((4,)), k.Input((4,)), k.layers.Dense(4)
    return k.Model(i, k.Model(a, again(a))(again(i)))


def nested_output(k: Any) -> Any:
    """Return a model whose outputs are those of models inside, the first one called twice."""
    i, a, b = k.Input((4,)), k.Input((4,)), k.Input((4,))
    first = k.Model(a, k.layers.Dense(4)(a), name="first")
    second = k.Sequential([b, k.layers.Dense(2)], name="second")
    x = first(i)
    return k.Model(i, [first(x), second(x), x])


def distributed_model(k: Any) -> Any:
    inner = k.Sequential([k.Input((5, 5, 2)), k.layers.Conv2D(3, 2), k.layers.GlobalAveragePooling2D()], name="each")
    i = k.Input((4, 5, 5, 2))
    return k.Model(i, k.layers.Bidirectional(k.layers.GRU(3))(k.layers.TimeDistributed(inner)(i)))


def masked(k: Any) -> Any:
    layers = k.layers
    i = k.Input((9,), dtype="int32")
    x = layers.Embedding(6, 4, mask_zero=True)(i)
    y = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    attended = layers.MultiHeadAttention(2, 3)(y, y)
    pooled = layers.GlobalAveragePooling1D()(attended)
    return k.Model(i, [pooled, layers.GRU(3)(x), layers.Attention()([x, x])])


def embedded_floats(k: Any) -> Any:
    """Return a model whose indices come as float32, as Keras 3's Input has them by default."""
    i = k.Input((5,))
    return k.Model(i, k.layers.Dense(2)(k.layers.Flatten()(k.layers.Embedding(4, 3)(i))))


def states(k: Any) -> Any:
    i, j = k.Input((None, 3)), k.Input((5, 3))
    _, h, c = k.layers.LSTM(4, return_state=True)(i)
    return k.Model([i, j], k.layers.LSTM(4)(j, initial_state=[h, c]))


def frozen(k: Any) -> Any:
    layers = k.layers
    i = k.Input((6, 6, 2))
    inner = k.Sequential([k.Input((6, 6, 2)), layers.Conv2D(3, 2), layers.BatchNormalization()], name="base")
    inner.trainable = False
    return k.Model(i, layers.Dense(2)(layers.Flatten()(inner(i, training=False))))


def activations(k: Any) -> Any:
    """Return a model with each activation that is translated, inside of a layer and as one."""
    from pipeline.formats.model_file.keras3 import tables

    i = k.Input((5,))
    names = sorted(tables.ACTIVATIONS | set(tables.SAME_ACTIVATIONS) | set(tables.COMPOSED_ACTIVATIONS))
    dense = k.layers.Dense(3, "hard_silu", name="twice")
    outputs = [dense(i), dense(2 * i)]
    for name in names:
        outputs += [
            k.layers.Dense(3, name)(i),
            k.layers.Activation(name)(i),
            k.layers.Conv1D(2, 1, activation=name)(i[..., None]),
        ]
    outputs += [k.layers.Dense(3, activation=k.layers.LeakyReLU(0.1))(i)]
    outputs += [k.layers.Dense(3, activation=k.activations.relu)(i)]
    return k.Model(i, outputs)


def operations(k: Any) -> Any:
    """Return a model with each operation that is translated; those of one class stand in one line."""
    o, layers = k.ops, k.layers
    i, j, image = k.Input((6,)), k.Input((6,)), k.Input((4, 4, 3))
    small, flags = o.tanh(i), i > 0
    positive = o.exp(small)
    outputs = [
        layers.Dense(2)(i),
        i + j, i + 1.5, 2 - i, i - j, i * j, 3 * i, i / 4, 1.0 / (positive + 1), i // 2.0, i % 3.0, positive**2, -i,
        o.maximum(i, j), o.maximum(i, 0.1), o.minimum(i, j),
        o.multiply(image, o.mean(image, axis=(1, 2), keepdims=True)),
        o.abs(i), o.absolute(i), o.sign(i), o.square(i), o.sqrt(positive), o.rsqrt(positive), o.reciprocal(positive),
        o.exp(small), o.expm1(small), o.log(positive), o.log1p(positive), o.erf(i), o.floor(i), o.ceil(i), o.round(i),
        o.sin(small), o.cos(small), o.tan(small), o.sinh(small), o.cosh(small), o.arcsin(small), o.arccos(small),
        o.arctan(i), o.arctan2(i, j), o.divide(i, positive), o.true_divide(i, positive), o.divide_no_nan(i, o.relu(j)),
        o.where(flags, i, j), o.where(o.logical_and(flags, o.logical_not(i < j)), i, 0.0),
        o.where(o.logical_or(i >= j, i <= 0), 1.0, j), o.where(o.equal(i, j), i, j), o.where(o.not_equal(i, j), i, j),
        o.where(o.isnan(i), i, j), o.where(o.isfinite(i), i, j), o.floor_divide(i, 2.0), o.mod(i, 2.0),
        o.mean(i, axis=-1), o.sum(image, axis=[1, 2]), o.max(i, axis=1, keepdims=True), o.min(i, axis=1),
        o.amax(i, axis=1), o.amin(i, axis=1), o.prod(small, axis=1), o.std(i, axis=1), o.var(i, axis=1),
        o.cast(o.any(flags, axis=1), "float32"), o.cast(o.all(flags, axis=1), "float32"), o.logsumexp(small, axis=1),
        o.argmax(i, axis=-1), o.argmin(i, axis=-1), o.cumsum(i, axis=1),
        o.concatenate([i, j], axis=-1), o.concatenate([i, j], axis=1), o.stack([i, j], axis=1),
        o.split(i, 3, axis=-1)[1],
        o.split(i, [1, 4], axis=1)[2], o.reshape(i, (-1, 2, 3)), o.transpose(image, (0, 3, 1, 2)),
        o.swapaxes(image, 1, 3),
        o.expand_dims(i, -1), o.squeeze(o.expand_dims(i, 1), axis=1), o.tile(i, (1, 2)), o.repeat(i, 2, axis=1),
        o.flip(i, axis=1), o.roll(i, 2, axis=1), o.pad(image, ((0, 0), (1, 2), (0, 1), (0, 0))),
        o.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"), o.take(i, [0, 3], axis=1),
        o.ones_like(i), o.zeros_like(i), o.clip(i, -0.5, 0.5),
        i[:, 1:4], i[:, -1], i[..., None], image[:, ::2, 1], image[..., 0], image[:, 1, None, ..., None, :2],
        o.matmul(image, o.transpose(image, (0, 1, 3, 2))),
        o.tensordot(i, o.ones((6, 2)), axes=1), o.one_hot(o.cast(flags, "int32"), 2), o.copy(i), o.stop_gradient(i),
        o.relu(i), o.relu6(i * 9), o.leaky_relu(i), o.leaky_relu(i, negative_slope=0.3), o.elu(i), o.selu(i),
        o.silu(i),
        o.gelu(i), o.gelu(i, approximate=False), o.sigmoid(i), o.log_sigmoid(i), o.hard_sigmoid(i), o.hard_silu(i),
        o.hard_tanh(i), o.softplus(i), o.softsign(i), o.softmax(i), o.softmax(image, axis=1), o.log_softmax(i),
        o.tanh(i),
        o.broadcast_to(o.expand_dims(o.mean(image, axis=(0, 1, 2)), 0), (2, 3)),
    ]  # fmt: skip
    return k.Model([i, j, image], outputs)


def open_sides(k: Any) -> Any:
    i = k.Input((None, None, 3))
    x = k.layers.Conv2D(4, 3, padding="same")(i)
    return k.Model(i, k.layers.GlobalMaxPooling2D()(x + k.layers.Conv2D(4, 1)(i)))


def adapted(k: Any) -> Any:
    import numpy as np

    layer = k.layers.Normalization()
    layer.adapt(np.arange(24, dtype="float32").reshape(8, 3) ** 2)
    return k.Sequential([k.Input((3,)), layer, k.layers.Dense(2)])


def fixed_batch(k: Any) -> Any:
    """Return a model that takes four samples at a time, and no other number."""
    return k.Sequential([k.Input(batch_shape=(4, 5, 2)), k.layers.Flatten(), k.layers.Dense(3)])


def composed_ends(k: Any) -> Any:
    """Return a model with outputs by name that end in activations that tf_keras has not."""
    i = k.Input((4,))
    digit, parity = k.layers.Dense(3, "hard_sigmoid", name="digit"), k.layers.Dense(2, name="parity_logits")
    return k.Model(i, [digit(i), k.layers.Activation("hard_silu", name="parity")(parity(i))])


def trained(k: Any) -> Any:
    """Return a model with an optimizer, metrics and Dropout, which was trained for a step."""
    import numpy as np

    model = k.Sequential([k.Input((3,)), k.layers.Dense(4), k.layers.Dropout(0.5), k.layers.Dense(2)])
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    return model


MODELS: dict[str, Callable[[Any], Any]] = {
    make.__name__: make
    for make in (
        sequential, sequential_without_input, ends, shared, shared_by_two, nested_output, distributed_model, masked,
        embedded_floats, states, frozen, activations, operations, open_sides, adapted, fixed_batch,
        composed_ends, trained,
    )
}  # fmt: skip
