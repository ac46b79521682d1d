"""The table of support.py against TF-MOT and TensorFlow's converter themselves, row by row."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.compress import fake_quant, kernels, lowering, pruning, support
from pipeline.compress.pruning import Schedule
from pipeline.formats import known
from pipeline.formats.operators import Operators
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.compress import tiny, zoo

TABLE = support.TABLE
# what TF-MOT's registry promises and its wrapper does not keep, or keeps for some cells only
_WIDER = {"MultiHeadAttention", "RNN"}
# no model file with one is read: see formats/model_file.py
_NO_CLONE = {"Lambda"}
_INT8 = [kind for kind, row in TABLE.items() if row.quantized]
_FLOAT = [kind for kind, row in TABLE.items() if row.floating and kind not in _NO_CLONE | {"Masking"}]


def _prunable_by_tf_mot(layer: Any) -> tuple[str, ...]:
    load_keras()
    from tensorflow_model_optimization.python.core.sparsity.keras.prune_registry import PruneRegistry

    if not PruneRegistry.supports(layer):
        return ()
    cell = getattr(layer, "cell", None)
    return tuple(
        PruneRegistry._weight_names(layer) if cell is None else PruneRegistry._RNN_CELLS_WEIGHTS_MAP[type(cell)]
    )


@pytest.mark.parametrize("kind", TABLE)
def test_what_is_prunable_is_what_tf_mots_registry_says(kind: str) -> None:
    layer = zoo.subject(zoo.around(kind))
    assert type(layer).__name__ == kind
    promised = _prunable_by_tf_mot(layer)
    if kind in _WIDER:
        assert promised
        assert support.prunable(layer) == ()
    else:
        assert support.prunable(layer) == promised
    # its kernels are pruned, or it is said why not; an attention's biases and a PReLU's slopes are no kernels
    assert bool(support.dense(layer)) == (bool(kernels.of(layer)) and not support.prunable(layer) and kind != "PReLU")


@pytest.mark.parametrize("kind", [kind for kind, row in TABLE.items() if row.prunable])
def test_prunable_layers_get_their_zeros(kind: str) -> None:
    model = zoo.around(kind)
    wrapped = pruning.wrap(model, {zoo.NAME: 0.5}, Schedule(None, 1, 1, 1.0, 1))
    keras = load_keras()
    wrapped.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    wrapped.fit(zoo.samples(model), np.zeros(16), batch_size=16, verbose=0, callbacks=[pruning.callback()])
    pruned = pruning.strip(wrapped)
    found = kernels.of(zoo.subject(pruned))
    for name, values in found.items():
        assert kernels.sparsity([values]) == pytest.approx(0.5 if name in TABLE[kind].prunable else 0, abs=0.03)
    pruning.require(pruned, {zoo.NAME: 0.5}, stage="prune")


def test_tf_mots_wrapper_does_not_keep_what_its_registry_promises_of_attention() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'kernel'"):
        pruning.wrap(zoo.around("MultiHeadAttention"), {zoo.NAME: 0.5}, Schedule(None, 1, 1, 1.0, 1))


@cache
def _int8(kind: str) -> tuple[Any, Operators, float]:
    with tempfile.TemporaryDirectory() as folder:
        return zoo.int8(zoo.around(kind), Path(folder))


@pytest.mark.long
@pytest.mark.parametrize("kind", _INT8)
def test_quantized_layers_compute_in_integers_as_the_model_that_was_trained(kind: str) -> None:
    assert support.floating(zoo.subject(zoo.around(kind))) == ""
    _, operators, difference = _int8(kind)
    assert operators.floating_names == {}
    assert operators.fake_quant == 0
    assert operators.first_integer
    assert difference < (0.08 if kind == "AveragePooling1D" else 0.03)


@pytest.mark.parametrize(
    "kind",
    [
        "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Dense", "DepthwiseConv1D", "DepthwiseConv2D",
        "SeparableConv1D", "SeparableConv2D",
    ],
)  # fmt: skip
def test_ranges_of_kernels_are_per_channel_where_the_table_says_so(kind: str) -> None:
    built, _, _ = _int8(kind)
    assert fake_quant.per_channel(built)[zoo.NAME] == (TABLE[kind].quantized == "int8 per-channel")


@pytest.mark.long
@pytest.mark.parametrize("kind", _FLOAT)
def test_model_around_a_float_layer_is_built_converted_and_answers(kind: str) -> None:
    model = zoo.around(kind)
    layer = zoo.subject(model)
    assert support.floating(layer) == TABLE[kind].floating
    if kind in known.NO_TFLITE:
        built = fake_quant.build(model)
        fake_quant.calibrate(built, model, zoo.samples(model))
        wanted, found = (one.predict(zoo.samples(model), verbose=0) for one in (model, built))
        assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()
        return
    _, operators, difference = _int8(kind)
    assert operators.integer > 0
    assert operators.fake_quant == 0
    assert difference < 0.05


def _in_a_net(make: Callable[[Any], Any]) -> Any:
    """Return a net in which something stands between two convolutions."""
    keras = load_keras()
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6, 6, 1), name="samples")
    values = make(keras.layers.Conv2D(4, 3, padding="same", name="before")(inputs))
    after = keras.layers.Conv2D(4, 3, name="after")(values)
    model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(after)))
    zoo.unlike_at_first(model)
    return model


def _squeeze_excite(values: Any) -> Any:
    layers = load_keras().layers
    gate = layers.Dense(4, activation="sigmoid", name="gate")(layers.GlobalAveragePooling2D()(values))
    return layers.Multiply(name="scale")([values, layers.Reshape((1, 1, 4))(gate)])


def _norm_after_relu(values: Any) -> Any:
    layers = load_keras().layers
    return layers.BatchNormalization(name="norm")(layers.ReLU()(values))


def _elu_inside(values: Any) -> Any:
    return load_keras().layers.Conv2D(4, 3, padding="same", activation="elu", name="elu")(values)


def _relu6_inside(values: Any) -> Any:
    return load_keras().layers.Conv2D(4, 3, padding="same", activation="relu6", name="relu6")(values)


def _nested(values: Any) -> Any:
    keras = load_keras()
    rows = [keras.Input((6, 6, 4)), keras.layers.Conv2D(4, 3, padding="same"), keras.layers.ReLU()]
    return keras.Sequential(rows, name="inner")(values)


def _twice(values: Any) -> Any:
    shared = load_keras().layers.Conv2D(4, 3, padding="same", name="shared")
    return shared(shared(values))


def _plus(values: Any) -> Any:
    return values + load_keras().layers.Conv2D(4, 1, name="side")(values)


def _power(values: Any) -> Any:
    return values**2


def _norm_over_rows(values: Any) -> Any:
    return load_keras().layers.BatchNormalization(axis=1, name="norm")(values)


def _own(values: Any) -> Any:
    keras = load_keras()

    @keras.saving.register_keras_serializable("tests")
    class Halved(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any) -> Any:
            return inputs / 2

    return Halved(name="own")(values)


def _bilinear(values: Any) -> Any:
    return load_keras().layers.UpSampling2D(interpolation="bilinear", name="up")(values)


MIXED: dict[str, tuple[Callable[[Any], Any], dict[str, str], set[str]]] = {
    # how it is made, what stays float and a word of why, and which kinds of operators may be float in the file
    "squeeze-excite": (_squeeze_excite, {}, set()),
    "norm-after-relu": (_norm_after_relu, {}, set()),
    "elu-inside": (_elu_inside, {"elu": "for the function elu"}, {"CONV_2D", "ELU"}),
    "relu6-inside": (_relu6_inside, {}, set()),
    "bilinear": (_bilinear, {}, set()),
    "called-twice": (_twice, {"shared": "called at several places"}, {"CONV_2D"}),
    "nested": (_nested, {}, set()),
    "operator": (_plus, {}, set()),
    "operator-alone": (_power, {"tf.math.pow": "no layer that computes tf.math.pow"}, {"POW", "MUL", "SQUARE"}),
    "norm-over-rows": (_norm_over_rows, {"norm": "does not scale along the last axis"}, {"MUL", "ADD"}),
    "own-code": (_own, {"own": "its code is not Keras'"}, {"MUL", "DIV"}),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", MIXED)
def test_net_with_a_layer_that_stays_float_is_built_converted_and_answers(tmp_path: Path, name: str) -> None:
    make, left, may_float = MIXED[name]
    model = _in_a_net(make)
    found = fake_quant.floating(lowering.lower(model)[0])
    assert len(found) == len(left)
    for (layer, why), (given, reason) in zip(left.items(), found.items(), strict=True):
        assert given.startswith(layer)
        assert why in reason
    _, operators, difference = zoo.int8(model, tmp_path)
    assert operators.integer >= 3
    assert set(operators.floating_names) <= may_float
    assert difference < 0.05


@pytest.mark.parametrize("name", ["elu-inside", "own-code"])
def test_convolution_behind_a_float_layer_computes_in_integers(tmp_path: Path, name: str) -> None:
    model = _in_a_net(MIXED[name][0])
    _, operators, _ = zoo.int8(model, tmp_path)
    own = 1 if name == "elu-inside" else 0
    assert operators.floating_names.get("CONV_2D", 0) == own
    assert "FULLY_CONNECTED" not in operators.floating_names


@pytest.mark.long
@pytest.mark.parametrize("function", support.INSIDE)
@pytest.mark.parametrize("kind", ["Conv2D", "Dense"])
def test_functions_inside_a_layer_compute_in_integers(tmp_path: Path, kind: str, function: str) -> None:
    layers = load_keras().layers
    inside = (
        [layers.Conv2D(4, 3, activation=function, name="inside"), layers.Flatten()]
        if kind == "Conv2D"
        else [layers.Flatten(), layers.Dense(4, activation=function, name="inside")]
    )
    model = tiny.sequential(*inside, layers.Dense(3, name="logits"))
    assert fake_quant.floating(model) == {}
    _, operators, _ = zoo.int8(model, tmp_path)
    assert operators.floating_names == {}


@pytest.mark.parametrize("function", ["relu6", "swish"])
def test_functions_that_are_known_as_layers_only_become_layers(function: str) -> None:
    layers = load_keras().layers
    model = tiny.sequential(layers.Conv2D(4, 3, activation=function, name="inside"), layers.Flatten())
    lowered, said = lowering.lower(model)
    assert said == {"inside": f"gives its function {function} away to a layer of its own"}
    assert support.function(lowered.get_layer("inside")) == "linear"
    assert support.function(lowered.get_layer(f"inside_{function}")) == function
    assert fake_quant.floating(lowered) == {}


def test_dense_layer_over_several_axes_computes_as_it_says(tmp_path: Path) -> None:
    layers = load_keras().layers
    model = tiny.sequential(layers.Dense(5, name="hidden"), layers.Flatten(), layers.Dense(3, name="logits"))
    _, operators, _ = zoo.int8(model, tmp_path)
    assert fake_quant.floating(model) == {}
    assert operators.floating_names == {}


def test_layers_that_are_given_a_mask_can_be_built() -> None:
    layers = load_keras().layers
    model = tiny.sequential(
        layers.Masking(name="mask"), layers.Dense(4, name="hidden"), layers.LSTM(4, name="lstm"),
        layers.Dense(3, name="logits"), shape=(8, 4),
    )  # fmt: skip
    assert set(fake_quant.floating(model)) >= {"mask", "lstm"}
    assert fake_quant.build(model).predict(np.ones((2, 8, 4)), verbose=0).shape == (2, 3)


def test_layer_of_another_library_is_unknown_whatever_it_is_called() -> None:
    keras = load_keras()
    own = type("Dense", (keras.layers.Dense,), {})
    assert support.row(own(3)) == support.row(type("Odd", (keras.layers.Layer,), {})())
    assert support.row(own(3)).prunable == ()
    assert "nobody knows which of its weights" in support.row(own(3)).dense
    assert "nobody knows what it computes" in support.row(own(3)).floating


def test_layer_of_keras_that_is_not_in_the_table_is_left_alone_and_said() -> None:
    keras = load_keras()
    layer = keras.layers.Hashing(3)
    assert support.row(layer).floating == "it is not in the table of layers that were tried"


def test_layers_without_kernels_have_no_reason_to_stay_dense() -> None:
    keras = load_keras()
    own = type("Odd", (keras.layers.Layer,), {})()
    assert (support.dense(own), support.prunable(own)) == ("", ())


def test_normalization_folds_only_behind_a_convolution_of_its_own() -> None:
    layers = load_keras().layers

    def folds(*before: Any) -> bool:
        model = tiny.sequential(*before, layers.BatchNormalization(name="norm"), layers.Flatten(), layers.Dense(3))
        assert support.floating(model.get_layer("norm")) == ""
        return support.folds(model.get_layer("norm"))

    assert folds(layers.Conv2D(4, 3))
    assert folds(layers.DepthwiseConv2D(3))
    assert folds(layers.SeparableConv2D(4, 3))
    assert not folds(layers.Conv2D(4, 3), layers.ReLU())
    assert not folds(layers.Conv2D(4, 3, activation="relu"))
    assert not folds(layers.Conv2D(4, 3, activation="elu"))
    assert not folds(layers.MaxPooling2D())
