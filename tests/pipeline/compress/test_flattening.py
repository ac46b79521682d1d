from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.compress import flattening
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.compress.zoo import unlike_at_first

IMAGE = (6, 6, 2)


def _layers() -> Any:
    keras = load_keras()
    keras.utils.set_random_seed(1)
    return keras.layers


def _base(name: str = "base", *, sequential: bool = False) -> Any:
    """Return a network to put into another one, [6, 6, 2] to [4, 4, 3]."""
    keras, layers = load_keras(), _layers()
    rows = [layers.Conv2D(3, 3, name="conv"), layers.BatchNormalization(name="norm"), layers.ReLU(name="relu")]
    if sequential:
        return keras.Sequential([keras.Input(IMAGE), *rows], name=name)
    x = inputs = keras.Input(IMAGE)
    for layer in rows:
        x = layer(x)
    return keras.Model(inputs, x, name=name)


def _transfer(base: Any, **options: Any) -> Any:
    keras, layers = load_keras(), load_keras().layers
    inputs = keras.Input(IMAGE, name="image")
    x = layers.GlobalAveragePooling2D(name="average")(base(inputs, **options))
    return keras.Model(inputs, layers.Dense(4, name="logits")(x), name="whole")


def functional_base() -> Any:
    return _transfer(_base())


def sequential_base() -> Any:
    keras, layers = load_keras(), load_keras().layers
    rows = [_base(sequential=True), layers.Flatten(name="flat"), layers.Dense(4, name="logits")]
    return keras.Sequential([keras.Input(IMAGE, name="image"), *rows], name="whole")


def base_without_an_input() -> Any:
    keras, layers = load_keras(), _layers()
    base = keras.Sequential([layers.Conv2D(3, 3, name="conv"), layers.BatchNormalization(name="norm")], name="base")
    return _transfer(base)


def nested_twice() -> Any:
    keras, layers = load_keras(), _layers()
    outer = keras.Sequential([keras.Input(IMAGE), layers.Rescaling(0.5, name="scale"), _base("inner")], name="outer")
    return _transfer(outer)


def several_ends() -> Any:
    """Return a model around one with two inputs by name and two outputs, both of which go on."""
    keras, layers = load_keras(), _layers()
    ends = {"left": keras.Input((4,), name="left"), "right": keras.Input((4,), name="right")}
    first = layers.Dense(4, name="first")(ends["right"])
    inner = keras.Model(ends, {"b": layers.Subtract(name="less")([ends["left"], first]), "a": first}, name="inner")
    inputs = keras.Input((4,), name="image")
    found = inner({"left": inputs, "right": layers.Dense(4, name="before")(inputs)})
    return keras.Model(inputs, [found["b"], layers.Dense(2, name="end")(found["a"])], name="whole")


def with_operators() -> Any:
    keras, layers = load_keras(), _layers()
    i = keras.Input(IMAGE)
    inner = keras.Model(i, layers.Conv2D(2, 3, padding="same", name="conv")(i / 2.0 - 1.0)[:, 1:] + 1.0, name="base")
    return _transfer(inner)


def masked() -> Any:
    """Return a model whose mask goes through a model inside of it."""
    keras, layers = load_keras(), _layers()
    i = keras.Input((5, 3))
    inner = keras.Model(i, layers.LSTM(4, return_sequences=True, name="lstm")(i), name="inner")
    inputs = keras.Input((5,), name="image")
    x = inner(layers.Embedding(2, 3, mask_zero=True, name="words")(inputs))
    return keras.Model(inputs, layers.GlobalAveragePooling1D(name="average")(x), name="whole")


def names_that_are_taken() -> Any:
    keras, layers = load_keras(), _layers()
    inputs = keras.Input(IMAGE, name="image")
    x = layers.Conv2D(2, 1, name="base_conv")(inputs)
    x = layers.BatchNormalization(name="base_norm")(x)
    return keras.Model(inputs, _base()(x), name="whole")


def layer_inside_and_outside() -> Any:
    keras, layers = load_keras(), _layers()
    i, a, again = keras.Input((4,), name="image"), keras.Input((4,)), layers.Dense(4, name="again")
    return keras.Model(i, keras.Model(a, layers.ReLU(name="relu")(again(a)), name="base")(again(i)), name="whole")


def adapted() -> Any:
    """Return a model inside of which means and variances come from data."""
    keras, layers = load_keras(), _layers()
    i, norm = keras.Input(IMAGE), layers.Normalization(name="norm")
    norm.adapt(np.random.default_rng(0).normal(3, 2, (8, *IMAGE)).astype(np.float32))
    return _transfer(keras.Model(i, layers.Conv2D(3, 3, name="conv")(norm(i)), name="base"))


WRITTEN: dict[Callable[[], Any], dict[str, tuple[str, ...]]] = {
    functional_base: {"base": ("base_conv", "base_norm", "base_relu")},
    sequential_base: {"base": ("base_conv", "base_norm", "base_relu")},
    base_without_an_input: {"base": ("base_conv", "base_norm")},
    nested_twice: {
        "outer": ("outer_scale", "outer_inner_conv", "outer_inner_norm", "outer_inner_relu"),
        "outer/inner": ("outer_inner_conv", "outer_inner_norm", "outer_inner_relu"),
    },
    several_ends: {"inner": ("inner_first", "inner_less")},
    masked: {"inner": ("inner_lstm",)},
    names_that_are_taken: {"base": ("base_conv_1", "base_norm_1", "base_relu")},
    layer_inside_and_outside: {"base": ("again", "base_relu")},
    adapted: {"base": ("base_norm", "base_conv")},
}


def _samples(model: Any) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 2, (5, *model.input_shape[1:])).astype(np.float32)


def _answers(model: Any, *, training: bool = False) -> list[np.ndarray]:
    found = model(_samples(model), training=training)
    return [one.numpy() for one in (found if isinstance(found, list) else [found])]


def _require_equal(flat: Any, model: Any) -> None:
    for one, other in zip(_answers(flat), _answers(model), strict=True):
        np.testing.assert_array_equal(one, other)
    assert sorted(one.tobytes() for one in flat.get_weights()) == sorted(one.tobytes() for one in model.get_weights())
    assert flat.input_names == model.input_names
    assert flat.name == model.name


@pytest.mark.parametrize("make", WRITTEN, ids=lambda make: make.__name__)
def test_model_answers_the_same_when_models_inside_are_written_out(make: Callable[[], Any]) -> None:
    model = make()
    if make is not adapted:
        unlike_at_first(model)
    before = model.get_config()
    nodes = [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    flat, written = flattening.flatten(model)
    assert {name: tuple(sorted(names)) for name, names in written.items()} == {
        name: tuple(sorted(names)) for name, names in WRITTEN[make].items()
    }
    assert not [layer.name for layer in flat.layers if hasattr(layer, "layers")]
    _require_equal(flat, model)
    assert model.get_config() == before
    assert [len(layer._inbound_nodes) for layer in model._flatten_layers()] == nodes
    again, more = flattening.flatten(flat)
    assert (again is flat, more) == (True, {})


def test_operators_inside_are_copied_with_their_constants() -> None:
    model = with_operators()
    flat, written = flattening.flatten(model)
    (names,) = written.values()
    assert len([name for name in names if name.startswith("base_tf.")]) == 4
    _require_equal(flat, model)


def test_outputs_keep_their_names_and_structure() -> None:
    keras, layers = load_keras(), _layers()
    inputs = keras.Input(IMAGE, name="image")
    x = layers.Flatten(name="flat")(_base()(inputs))
    ends = {"yes": layers.Dense(2, name="yes")(x), "no": layers.Dense(3, name="no")(x)}
    model = keras.Model(inputs, ends, name="whole")
    flat, _ = flattening.flatten(model)
    wanted, found = model(_samples(model)), flat(_samples(model))
    assert set(found) == {"yes", "no"}
    assert flat.output_names == model.output_names
    for name, one in found.items():
        np.testing.assert_array_equal(one.numpy(), wanted[name].numpy())


def test_layers_stay_frozen_and_in_evaluation_when_their_model_was() -> None:
    base = _base()
    base.trainable = False
    model = _transfer(base, training=False)
    unlike_at_first(model)
    flat, _ = flattening.flatten(model)
    assert [layer.name for layer in flat.layers if layer.weights and layer.trainable] == ["logits"]
    flat.get_layer("base_norm").trainable = True  # it was called with training=False, which stays
    for one, other in zip(_answers(flat, training=True), _answers(flat), strict=True):
        np.testing.assert_array_equal(one, other)
    assert flat.get_layer("base_norm").get_config()["trainable"]


def _called_twice() -> Any:
    keras, layers, base = load_keras(), load_keras().layers, _base()
    inputs = keras.Input(IMAGE, name="image")
    ends = [base(inputs), base(layers.ReLU(name="positive")(inputs))]
    return keras.Model(inputs, layers.Add(name="add")(ends), name="whole")


def _subclassed() -> Any:
    keras = load_keras()
    inputs = keras.Input(IMAGE)

    class Own(keras.Model):  # type: ignore[misc, name-defined]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.conv = keras.layers.Conv2D(3, 3)

        def call(self, values: Any) -> Any:
            return self.conv(values) * 2.0

    own = Own(name="own")
    own(np.zeros((1, *IMAGE), np.float32))
    return keras.Model(inputs, own(inputs), name="whole")


def _functional_subclass() -> Any:
    keras, layers = load_keras(), _layers()

    class Doubling(keras.Model):  # type: ignore[misc, name-defined]
        def call(self, values: Any, training: Any = None, mask: Any = None) -> Any:
            return 2 * super().call(values, training=training, mask=mask)

    i, inputs = keras.Input(IMAGE), keras.Input(IMAGE, name="image")
    inner = Doubling(i, layers.Conv2D(3, 3, name="conv")(i), name="inner")
    return keras.Model(inputs, inner(inputs), name="whole")


def _casting() -> Any:
    keras, layers = load_keras(), _layers()
    i, inputs = keras.Input((4,), dtype="int32"), keras.Input((4,), name="image")
    inner = keras.Model(i, layers.Embedding(3, 2, name="words")(i), name="inner")
    return keras.Model(inputs, inner(inputs), name="whole")


def _with_a_loss() -> Any:
    base = _base()
    base.add_loss(load_keras().backend.mean(base.output))
    return _transfer(base)


def _distributed() -> Any:
    keras = load_keras()
    inputs = keras.Input((2, *IMAGE), name="image")
    return keras.Model(inputs, keras.layers.TimeDistributed(_base(), name="each")(inputs), name="whole")


def _weights_of_two() -> Any:
    """Return a model with a layer that is called in the model, and in one inside that stays."""
    keras, layers = load_keras(), _layers()
    again, a, i = layers.Dense(4, name="again"), keras.Input((4,)), keras.Input((4,), name="image")
    inner = keras.Model(a, layers.ReLU()(again(a)), name="inner")
    b = keras.Input((4,))
    other = keras.Model(b, layers.Dense(4, name="own")(b), name="other")
    return keras.Model(i, other(inner(inner(again(i)))), name="whole")


@pytest.mark.parametrize(
    "make", [_called_twice, _subclassed, _functional_subclass, _casting, _with_a_loss, _distributed, _weights_of_two],
    ids=lambda make: make.__name__,
)  # fmt: skip
def test_model_is_given_back_when_nothing_inside_can_be_written_out(make: Callable[[], Any]) -> None:
    model = make()
    wanted = _answers(model)
    flat, written = flattening.flatten(model)
    assert (flat is model, written) == (True, {})
    for one, other in zip(_answers(flat), wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_model_that_is_called_twice_stays_beside_one_that_is_written_out() -> None:
    keras, layers = load_keras(), load_keras().layers
    model, once = _called_twice(), _base("once")
    inputs = keras.Input(IMAGE, name="image")
    ends = layers.Concatenate(name="both")([model(inputs), once(inputs)])
    model = keras.Model(inputs, ends, name="outermost")
    unlike_at_first(model)
    flat, written = flattening.flatten(model)
    assert sorted(written) == ["once", "whole"]
    assert sorted(written["whole"]) == ["whole_add", "whole_base", "whole_positive"]
    assert [layer.name for layer in flat.layers if hasattr(layer, "layers")] == ["whole_base"]
    _require_equal(flat, model)
