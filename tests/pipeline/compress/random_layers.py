"""Layers with random options for random models: each function puts one or a few of them behind a tensor.

They are grouped by what they take: maps [height, width, channels], sequences [steps, channels], volumes and vectors.
Sizes are tiny, and widths are drawn from a few that divide each other, so that channels meet and groups divide.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from pipeline.legacy_keras import load as load_keras

Step = Callable[[Random, Any], Any]

WIDTHS = (2, 3, 4, 6, 8)
# most are zero at zero; the others show whether a removed channel is really gone behind them
FUNCTIONS = ("linear", "relu", "tanh", "sigmoid", "softplus", "swish", "elu", "gelu")
MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")


def rank(x: Any) -> int:
    """Return the number of dimensions of a sample: 1 vector, 2 sequence, 3 map, 4 volume."""
    return len(x.shape) - 1


def spatial(x: Any) -> tuple[int, ...]:
    return tuple(x.shape[1:-1])


def function(random: Random) -> str:
    return random.choice(FUNCTIONS)


def chance(random: Random, share: float) -> bool:
    return random.randrange(20) < 20 * share


def _options(random: Random) -> dict[str, Any]:
    """Return options that most layers with a kernel share; a regularizer must survive in the config."""
    found: dict[str, Any] = {"activation": function(random), "use_bias": chance(random, 0.7)}
    if chance(random, 0.15):
        found["kernel_regularizer"] = "l2"
    if chance(random, 0.1):
        found["kernel_constraint"] = "max_norm"
    return found


def _window(random: Random, x: Any) -> int:
    return random.randint(1, min(3, *spatial(x)))


def _groups(random: Random, channels: int) -> int:
    return random.choice([each for each in (1, 2, 3, 4, channels) if channels % each == 0])


def conv(random: Random, x: Any, filters: int | None = None, same: bool = False) -> Any:
    """Put a plain, grouped, dilated or strided convolution behind a sequence, map or volume."""
    layer = getattr(load_keras().layers, f"Conv{rank(x) - 1}D")
    options = _options(random)
    if filters is None:
        filters = random.choice(WIDTHS)
        if rank(x) < 4 and chance(random, 0.3):
            options["groups"] = _groups(random, x.shape[-1])
            filters = options["groups"] * random.randint(1, 3)
    size = _window(random, x)
    options["padding"] = "same" if same else random.choice(("same", "valid"))
    if rank(x) == 2 and chance(random, 0.2):
        options["padding"] = "causal"
    if not same and chance(random, 0.25):
        options["strides"] = 2
    elif options["padding"] == "same" and chance(random, 0.15) and rank(x) < 4:
        options["dilation_rate"] = 2
    return layer(filters, size, **options)(x)


def transposed(random: Random, x: Any) -> Any:
    if max(spatial(x)) > 6:
        return conv(random, x)
    layer = getattr(load_keras().layers, f"Conv{rank(x) - 1}DTranspose")
    padding = random.choice(("same", "valid"))
    strides = random.choice((1, 2)) if rank(x) < 4 else 1
    return layer(random.choice(WIDTHS), _window(random, x), strides=strides, padding=padding, **_options(random))(x)


def separable(random: Random, x: Any) -> Any:
    layer = getattr(load_keras().layers, f"SeparableConv{rank(x) - 1}D")
    options = {"depth_multiplier": random.choice((1, 2)), "padding": "same", "use_bias": chance(random, 0.6)}
    return layer(random.choice(WIDTHS), _window(random, x), activation=function(random), **options)(x)


def depthwise(random: Random, x: Any) -> Any:
    layer = getattr(load_keras().layers, f"DepthwiseConv{rank(x) - 1}D")
    options = {"depth_multiplier": random.choice((1, 1, 2)), "padding": random.choice(("same", "valid"))}
    return layer(_window(random, x), activation=function(random), use_bias=chance(random, 0.7), **options)(x)


def dense(random: Random, x: Any, units: int | None = None) -> Any:
    return load_keras().layers.Dense(units or random.choice(WIDTHS), **_options(random))(x)


def batch_norm(random: Random, x: Any) -> Any:
    options = {"center": chance(random, 0.8), "scale": chance(random, 0.8)}
    return load_keras().layers.BatchNormalization(**options)(x)


def layer_norm(random: Random, x: Any) -> Any:
    axis = -1 if chance(random, 0.8) else list(range(1, rank(x) + 1))
    options = {"center": chance(random, 0.8), "scale": chance(random, 0.8)}
    return load_keras().layers.LayerNormalization(axis=axis, **options)(x)


def group_norm(random: Random, x: Any) -> Any:
    options = {"center": chance(random, 0.8), "scale": chance(random, 0.8)}
    return load_keras().layers.GroupNormalization(_groups(random, x.shape[-1]), **options)(x)


def activation(random: Random, x: Any) -> Any:
    layers = load_keras().layers
    kind = random.choice(("Activation", "ReLU", "LeakyReLU", "ELU", "PReLU", "Softmax", "ThresholdedReLU"))
    if kind == "Activation":
        return layers.Activation(function(random))(x)
    if kind == "PReLU":
        shared = list(range(1, rank(x))) if rank(x) > 1 and chance(random, 0.5) else None
        return layers.PReLU(shared_axes=shared)(x)
    if kind == "Softmax":
        return layers.Softmax(axis=1 if rank(x) > 1 and chance(random, 0.7) else -1)(x)
    return layers.ReLU(max_value=6.0)(x) if kind == "ReLU" else getattr(layers, kind)()(x)


def noise(random: Random, x: Any) -> Any:
    layers = load_keras().layers
    name = random.choice(("Dropout", "GaussianNoise", "GaussianDropout", "AlphaDropout", "Spatial"))
    name = "ActivityRegularization" if chance(random, 0.2) else name
    if name == "Spatial":
        name = f"SpatialDropout{rank(x) - 1}D" if rank(x) > 1 else "Dropout"
    return getattr(layers, name)(0.2)(x)


def operator(random: Random, x: Any) -> Any:
    """Put one of TensorFlow's own functions, or an operator with a number, behind a tensor."""
    load_keras()
    import tensorflow as tf

    which: tuple[Callable[[Any], Any], ...] = (
        tf.nn.relu, tf.nn.relu6, tf.sigmoid, tf.tanh, tf.abs, tf.square, tf.nn.silu, tf.math.softplus,
        lambda values: values + 0.5, lambda values: 2.0 - values, lambda values: 0.7 * values, lambda values: -values,
        lambda values: values / 2.0, lambda values: tf.clip_by_value(values, -0.5, 0.5),
    )  # fmt: skip
    return random.choice(which)(x)


def pooling(random: Random, x: Any) -> Any:
    layer = getattr(load_keras().layers, f"{random.choice(('Max', 'Average'))}Pooling{rank(x) - 1}D")
    return layer(min(2, *spatial(x)), strides=random.choice((1, 2)), padding=random.choice(("same", "valid")))(x)


def frame(random: Random, x: Any) -> Any:
    """Put padding, cropping or upsampling behind a sequence, map or volume."""
    layers = load_keras().layers
    if min(spatial(x)) > 2 and (max(spatial(x)) > 6 or chance(random, 0.4)):
        return getattr(layers, f"Cropping{rank(x) - 1}D")(1)(x)
    if max(spatial(x)) > 6:
        return pooling(random, x)
    kind = random.choice(("ZeroPadding", "UpSampling"))
    if kind == "UpSampling" and rank(x) == 3 and chance(random, 0.3):
        return layers.UpSampling2D(2, interpolation="bilinear")(x)
    return getattr(layers, f"{kind}{rank(x) - 1}D")(1 if kind == "ZeroPadding" else 2)(x)


def global_pooling(random: Random, x: Any) -> Any:
    load_keras()
    import tensorflow as tf

    axes, kept = list(range(1, rank(x))), chance(random, 0.4)
    if chance(random, 0.25):
        return random.choice((tf.reduce_mean, tf.reduce_max, tf.reduce_sum))(x, axis=axes, keepdims=kept)
    kind = f"Global{random.choice(('Average', 'Max'))}Pooling{rank(x) - 1}D"
    return getattr(load_keras().layers, kind)(keepdims=kept)(x)


def reshaped(random: Random, x: Any) -> Any:
    """Put a Reshape behind a tensor; of some, the channels stay the last dimension."""
    layer = load_keras().layers.Reshape
    *sizes, channels = (int(size) for size in x.shape[1:])
    if rank(x) == 1:
        return layer(random.choice(((1, 1, channels), (1, channels), (channels, 1))))(x)
    if chance(random, 0.2):
        return layer((*sizes[:-1], sizes[-1] * channels))(x)
    if rank(x) == 2:
        return layer((1, *sizes, channels))(x)
    return layer((-1, channels))(x)


def permuted(random: Random, x: Any) -> Any:
    order = list(range(1, rank(x)))
    random.shuffle(order)
    order.append(rank(x))
    if chance(random, 0.2):
        random.shuffle(order)
    return load_keras().layers.Permute(order)(x)


def channels_first(random: Random, x: Any) -> Any:
    """Put layers behind a map that read it with the channels first, and turn it back or pool it."""
    layers, first = load_keras().layers, {"data_format": "channels_first"}
    x = layers.Permute((3, 1, 2))(x)
    for _ in range(random.randint(1, 2)):
        kind = random.choice(("norm", "pad", "up", "function"))
        if kind == "norm":
            x = layers.BatchNormalization(axis=1)(x)
        elif kind == "pad":
            x = layers.ZeroPadding2D(1, **first)(x)
        elif kind == "up" and max(x.shape[2:]) < 5:
            x = layers.UpSampling2D(2, **first)(x)
        else:
            x = layers.Activation(function(random))(x)
    end = random.choice(("back", "pool", "flat"))
    if end == "pool":
        return layers.GlobalAveragePooling2D(**first)(x)
    if end == "flat" and max(x.shape[2:]) < 6:
        return dense(random, layers.Flatten(**first)(x))
    return layers.Permute((2, 3, 1))(x)


def flat(random: Random, x: Any) -> Any:
    x = load_keras().layers.Flatten()(x)
    return dense(random, x) if x.shape[-1] > 96 or chance(random, 0.8) else x


def repeated(random: Random, x: Any) -> Any:
    return load_keras().layers.RepeatVector(random.randint(2, 4))(x)


def recurrent(random: Random, x: Any) -> Any:
    """Put an LSTM, GRU or simple recurrent layer behind a sequence, in one direction or both."""
    layers = load_keras().layers
    kind = random.choice(("LSTM", "GRU", "SimpleRNN"))
    options: dict[str, Any] = {"return_sequences": chance(random, 0.5), "use_bias": chance(random, 0.8)}
    options["go_backwards"] = chance(random, 0.2)
    if kind == "GRU":
        options["reset_after"] = chance(random, 0.5)
    if chance(random, 0.3):
        options["activation"] = random.choice(("relu", "sigmoid", "softsign"))
    layer = getattr(layers, kind)(random.choice(WIDTHS[:4]), **options)
    if chance(random, 0.4):
        layer = layers.Bidirectional(layer, merge_mode=random.choice(("concat", "sum", "mul", "ave", None)))
    found = layer(x)
    return layers.Add()(found) if isinstance(found, (list, tuple)) else found


def attention(random: Random, x: Any) -> Any:
    """Put attention of a sequence to itself behind it, alone or as a block with its norm and dense layers."""
    layers = load_keras().layers
    heads, channels = random.randint(1, 4), x.shape[-1]
    options: dict[str, Any] = {"use_bias": chance(random, 0.7)}
    if chance(random, 0.4):
        options["value_dim"] = random.choice((2, 3))
    if chance(random, 0.3):
        options["output_shape"] = random.choice(WIDTHS)
    found = layers.MultiHeadAttention(heads, random.choice((2, 3)), **options)(x, x)
    if found.shape[-1] != channels or chance(random, 0.4):
        return found
    x = layers.LayerNormalization()(layers.Add()([x, found]))
    inner = dense(random, dense(random, x), channels)
    return x + inner if chance(random, 0.5) else layers.Add()([x, inner])


def squeeze_and_excite(random: Random, x: Any) -> Any:
    layers, channels = load_keras().layers, x.shape[-1]
    inner = random.choice(WIDTHS[:3])
    if chance(random, 0.5):
        weights = getattr(layers, f"GlobalAveragePooling{rank(x) - 1}D")(keepdims=True)(x)
    else:
        weights = getattr(layers, f"GlobalAveragePooling{rank(x) - 1}D")()(x)
        weights = layers.Reshape((*[1] * (rank(x) - 1), channels))(weights)
    weights = layers.Dense(channels, activation="sigmoid")(layers.Dense(inner, activation="relu")(weights))
    return layers.Multiply()([x, weights]) if chance(random, 0.7) else x * weights


def residual(random: Random, x: Any) -> Any:
    """Put a block behind a tensor whose end is added to its start, as ResNet and MobileNetV2 do."""
    layers, inner = load_keras().layers, x
    for _ in range(random.randint(0, 2)):
        inner = conv(random, inner, random.choice(WIDTHS), same=True) if rank(x) > 1 else dense(random, inner)
        inner = random.choice((batch_norm, activation, noise, operator))(random, inner)
        if chance(random, 0.3) and 1 < rank(inner) < 4:
            size = _window(random, inner)
            inner = getattr(layers, f"DepthwiseConv{rank(x) - 1}D")(size, padding="same")(inner)
    channels = x.shape[-1]
    inner = conv(random, inner, channels, same=True) if rank(x) > 1 else dense(random, inner, channels)
    if chance(random, 0.5):
        inner = batch_norm(random, inner)
    return x + inner if chance(random, 0.3) else getattr(layers, random.choice(MERGES))()([x, inner])


def strange(random: Random, x: Any) -> Any:
    """Put something behind a tensor that nobody follows: what comes to it has to stay whole."""
    layers = load_keras().layers
    kind = random.choice(("Lambda", "Dot", "UnitNormalization", "slice", "model", "constant"))
    if kind == "Lambda":
        return layers.Lambda(lambda values: values[..., ::-1])(x)
    if kind == "Dot" and rank(x) < 3:
        return layers.Dot(axes=-1)([x, x])
    if kind == "UnitNormalization":
        return layers.UnitNormalization()(x)
    if kind == "slice":
        return x[(*[slice(None)] * rank(x), slice(max(1, x.shape[-1] // 2)))]
    if kind == "constant":
        return x * [1.0 + place for place in range(x.shape[-1])]
    keras = load_keras()
    inputs = keras.Input(x.shape[1:])
    return keras.Model(inputs, layers.Dense(3, activation="tanh")(inputs))(x)
