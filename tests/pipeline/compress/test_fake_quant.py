from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.compress import fake_quant, kernels, lowering
from pipeline.errors import InputError
from pipeline.fit.config import FitConfig
from pipeline.fit.loop import fit
from pipeline.formats import tflite
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.compress import tiny, zoo

CALIBRATION = tiny.SPLITS.calibration.x


def _calibrated(model: Any) -> Any:
    built = fake_quant.build(model)
    fake_quant.calibrate(built, model, CALIBRATION)
    return built


def _wrapper(built: Any, name: str) -> Any:
    return built.get_layer(f"quant_{name}")


def _input_range(built: Any) -> tuple[float, float]:
    layer = next(layer for layer in built.layers if type(layer).__name__ == "QuantizeLayer")
    return float(layer.quantizer_vars["min_var"]), float(layer.quantizer_vars["max_var"])


def test_ranges_start_where_the_float_models_are() -> None:
    model = tiny.cnn()
    built = _calibrated(model)
    found = fake_quant.ranges(built)
    keras = load_keras()
    for name in ("relu", "hidden", "logits"):
        values = keras.Model(model.inputs, model.get_layer(name).output).predict(CALIBRATION, verbose=0)
        assert found[name] == pytest.approx((min(0, values.min()), max(0, values.max())), rel=1e-5)
    # neither the convolution nor its normalization is rounded before the ReLU behind them
    assert set(found) == {"relu", "hidden", "logits"}
    assert _input_range(built) == pytest.approx((0, CALIBRATION.max()), abs=1e-3)


def test_zeros_of_a_layer_that_stays_float_are_kept_in_training_and_the_rest_learns(tmp_path: Path) -> None:
    layers = load_keras().layers
    model = tiny.sequential(
        layers.Reshape((6, -1)), layers.LSTM(6, name="lstm"), layers.Dense(8, name="hidden"),
        layers.Dense(3, name="logits"),
    )  # fmt: skip
    before = {name: values * (np.arange(values.size).reshape(values.shape) % 2) for name, values in
              kernels.of(model.get_layer("lstm")).items()}  # fmt: skip
    model.get_layer("lstm").set_weights([*before.values(), model.get_layer("lstm").get_weights()[2]])
    built = _calibrated(model)
    assert "lstm" in fake_quant.floating(model)
    tiny.tune(built, tmp_path, epochs=1)
    after = kernels.of(fake_quant.plain(built, model).get_layer("lstm"))
    for name, values in before.items():
        assert np.all(after[name][values == 0] == 0)
        assert np.mean(after[name] != values) > 0.3


def test_ranges_hold_zero_when_no_value_is_near_it() -> None:
    layers = load_keras().layers
    model = tiny.sequential(layers.Flatten(), layers.Dense(3, name="logits"))
    kernel, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([0.01 * kernel, bias + 5])
    low, high = fake_quant.ranges(_calibrated(model))["logits"]
    assert low == 0
    assert 5 < high < 8


def test_ranges_of_kernels_start_where_the_kernels_are() -> None:
    model = tiny.cnn()
    built = _calibrated(model)
    ((_, _, per_channel),) = _wrapper(built, "conv")._weight_vars
    ((_, _, per_tensor),) = _wrapper(built, "hidden")._weight_vars
    conv, hidden = model.get_layer("conv").kernel.numpy(), model.get_layer("hidden").kernel.numpy()
    assert per_channel["max_var"].numpy() == pytest.approx(np.abs(conv).max(axis=(0, 1, 2)), rel=1e-5)
    assert per_channel["min_var"].numpy() == pytest.approx(-per_channel["max_var"].numpy())
    assert float(per_tensor["max_var"]) == pytest.approx(np.abs(hidden).max(), rel=1e-5)


def test_calibrated_model_answers_nearly_as_the_float_one_and_without_it_does_not() -> None:
    model = tiny.cnn()
    # activations far smaller than the range that TF-MOT starts with
    for name in ("hidden", "logits"):
        model.get_layer(name).set_weights([0.02 * array for array in model.get_layer(name).get_weights()])
    wanted, raw, found = (tiny.answers(one) for one in (model, fake_quant.build(model), _calibrated(model)))
    assert np.abs(found - wanted).max() < 0.03 * np.abs(wanted).max()
    assert np.abs(raw - wanted).max() > 0.1 * np.abs(wanted).max()


def test_model_that_came_in_is_left_alone(tmp_path: Path) -> None:
    model = tiny.cnn()
    weights, answers = model.get_weights(), tiny.answers(model)
    tiny.tune(_calibrated(model), tmp_path)
    assert all(np.array_equal(one, two) for one, two in zip(model.get_weights(), weights, strict=True))
    assert np.array_equal(tiny.answers(model), answers)


def test_model_without_anything_to_quantize_is_refused() -> None:
    layers = load_keras().layers
    model = tiny.sequential(layers.Reshape((6, 6)), layers.LSTM(3, name="lstm"))
    with pytest.raises(InputError, match="there is nothing to quantize in the model") as refused:
        fake_quant.build(model)
    assert "lstm: TF-MOT has no fake quantization for this kind of layer" in refused.value.found
    assert "leave the section quantize out" in refused.value.todo


def test_ranges_move_until_they_are_frozen_and_not_after(tmp_path: Path) -> None:
    built = _calibrated(tiny.cnn())
    quantizer = type(_wrapper(built, "relu")._output_quantizers[0])
    seen, traced = [(fake_quant.ranges(built), _input_range(built))], []
    keras = load_keras()
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda _epoch, _logs: traced.append(built.train_function._several),
        on_epoch_end=lambda _epoch, _logs: seen.append((fake_quant.ranges(built), _input_range(built))),
    )
    weights = built.get_layer("quant_logits").get_weights()
    tiny.tune(built, tmp_path, epochs=4, callbacks=[fake_quant.freezing(3), watch])
    assert [one != two for one, two in itertools.pairwise(seen)] == [True, True, False, False]
    # the step was traced anew for the third epoch, and for no other
    assert [one is two for one, two in itertools.pairwise(traced)] == [True, False, True]
    assert not np.array_equal(built.get_layer("quant_logits").get_weights()[0], weights[0])
    # and the quantizers are back
    assert type(_wrapper(built, "relu")._output_quantizers[0]) is quantizer
    assert type(_wrapper(built, "logits")._quantize_activations[0].quantizer) is quantizer


def test_ranges_of_kernels_go_on_with_the_kernels_when_the_others_are_frozen(tmp_path: Path) -> None:
    built = _calibrated(tiny.cnn())
    tiny.tune(built, tmp_path, epochs=2, callbacks=[fake_quant.freezing(1)])
    ((weight, _, ranges),) = _wrapper(built, "hidden")._weight_vars
    _, high = float(ranges["min_var"]), float(ranges["max_var"])
    assert high == pytest.approx(float(np.abs(weight.numpy()).max()), rel=0.1)
    before = fake_quant.ranges(_calibrated(tiny.cnn()))
    assert fake_quant.ranges(built) == before


def _pruned() -> Any:
    model = tiny.cnn(kernel_regularizer=load_keras().regularizers.L2(0.01))
    for layer in model.layers:
        if kernels.of(layer):
            kernel, *rest = layer.get_weights()
            kernel[np.abs(kernel) < np.quantile(np.abs(kernel), 0.6)] = 0
            layer.set_weights([kernel, *rest])
    return model


@pytest.mark.parametrize(
    "optimizer",
    ["momentum", "adamw", *(pytest.param(name, marks=pytest.mark.long) for name in ("sgd", "adam", "rmsprop"))],
)
def test_zeros_stay_zeros_and_the_rest_learns(tmp_path: Path, optimizer: str) -> None:
    model = _pruned()
    built = _calibrated(model)
    tiny.tune(built, tmp_path, optimizer=optimizer)
    plain = fake_quant.plain(built, model)
    for (layer, _, before), (_, _, after) in zip(kernels.named(model), kernels.named(plain), strict=True):
        assert np.array_equal(before == 0, after == 0), layer.name
        assert kernels.sparsity([before]) > 0.5
        assert not np.array_equal(before, after)


def test_weights_are_bit_equal_when_killed_and_called_again(tmp_path: Path) -> None:
    config = FitConfig.model_validate({"tensorboard": False, "epochs": 3, "batch_size": 16})

    def run(built: Any, folder: str, kill: bool = False) -> None:
        def emit(event: Any) -> None:
            if kill and getattr(event, "unit", "") == "epoch" and event.done == 2:
                raise KeyboardInterrupt

        fit(
            built, tiny.SPLITS, config, data=tiny.DATA, seed=0, stage="quantize", work=tmp_path / folder, emit=emit,
            callbacks=[fake_quant.freezing(2)],
        )  # fmt: skip

    whole, killed, resumed = (_calibrated(_pruned()) for _ in range(3))
    run(whole, "whole")
    with pytest.raises(KeyboardInterrupt):
        run(killed, "killed", kill=True)
    run(resumed, "killed")
    assert all(np.array_equal(one, two) for one, two in zip(whole.get_weights(), resumed.get_weights(), strict=True))


def _rows(name: str) -> list[Any]:
    layers = load_keras().layers
    norm, relu = layers.BatchNormalization, layers.ReLU
    end = [layers.Flatten(), layers.Dense(3, name="logits")]
    return {
        "conv-norm-relu": [layers.Conv2D(4, 3), norm(), relu(), *end],
        "conv-relu": [layers.Conv2D(4, 3), relu(), *end],
        "conv-relu-inside": [layers.Conv2D(4, 3, activation="relu"), *end],
        "conv-activation": [layers.Conv2D(4, 3), layers.Activation("relu"), *end],
        "dense-relu": [layers.Flatten(), layers.Dense(5), relu(), layers.Dense(3)],
        "dense-norm-relu": [layers.Flatten(), layers.Dense(5), norm(), relu(), layers.Dense(3)],
        "depthwise": [layers.Conv2D(4, 3), norm(), relu(), layers.DepthwiseConv2D(3), norm(), relu(), *end],
        "separable": [layers.SeparableConv2D(4, 3), norm(), relu(), *end],
        "transposed": [layers.Conv2DTranspose(4, 3), relu(), *end],
        "rescaling": [layers.Rescaling(1 / 2), layers.Conv2D(4, 3), relu(), *end],
        "rescaling-offset": [layers.Rescaling(2, -1), layers.Conv2D(4, 3), relu(), *end],
        "pooled": [layers.Conv2D(4, 3), relu(), layers.MaxPooling2D(), layers.GlobalAveragePooling2D(), *end[1:]],
    }[name]


# of each kind of layer one, and what is a variant of one of them
KINDS = ("conv-norm-relu", "dense-norm-relu", "depthwise", "transposed", "rescaling-offset")
VARIANTS = ("conv-relu", "conv-relu-inside", "conv-activation", "dense-relu", "separable", "rescaling", "pooled")
CHAINS = (*KINDS, *(pytest.param(name, marks=pytest.mark.long) for name in VARIANTS))


@pytest.mark.parametrize("name", CHAINS)
def test_every_operator_of_the_file_is_an_integer_one(tmp_path: Path, name: str) -> None:
    built, found, difference = zoo.int8(tiny.sequential(*_rows(name)), tmp_path)
    assert found.floating_names == {}
    assert found.fake_quant == 0
    assert found.first_integer
    assert difference < 0.03
    assert fake_quant.ranges(built)


def test_first_operator_is_an_integer_one_when_the_model_rescales_its_input(tmp_path: Path) -> None:
    _, found, _ = zoo.int8(tiny.sequential(*_rows("rescaling")), tmp_path)
    assert (found.first, found.first_integer) == ("MUL", True)


def test_residual_net_computes_in_integers(tmp_path: Path) -> None:
    keras = load_keras()
    layers = keras.layers
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 1), name="samples")
    stem = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(inputs)))
    branch = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(stem))
    both = layers.ReLU()(layers.Add()([stem, branch]))
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(both)))
    zoo.unlike_at_first(model)
    assert fake_quant.floating(model) == {}
    _, found, difference = zoo.int8(model, tmp_path)
    assert found.floating_names == {}
    assert difference < 0.03


def test_convolutions_have_a_range_per_channel_and_dense_layers_one() -> None:
    built = fake_quant.build(tiny.cnn())
    assert fake_quant.per_channel(built) == {"conv": True, "hidden": False, "logits": False}


@pytest.mark.parametrize("name", CHAINS)
def test_plain_model_has_the_weights_that_were_trained(tmp_path: Path, name: str) -> None:
    model, _ = lowering.lower(tiny.sequential(*_rows(name)))
    untrained = fake_quant.plain(_calibrated(model), model)
    assert all(np.array_equal(one, two) for one, two in zip(untrained.get_weights(), model.get_weights(), strict=True))
    built = _calibrated(model)
    tiny.tune(built, tmp_path, epochs=1)
    plain = fake_quant.plain(built, model)
    assert [layer.name for layer in plain.layers] == [layer.name for layer in model.layers]
    trained = {weight.numpy().tobytes() for weight in built.weights}
    assert [weight.name for weight in plain.weights if weight.numpy().tobytes() not in trained] == []
    assert not any(
        np.array_equal(one, two)
        for (_, _, one), (_, _, two) in zip(kernels.named(model), kernels.named(plain), strict=True)
    )


@pytest.mark.parametrize("kind", ["Bidirectional", "MultiHeadAttention", "LSTM", "LayerNormalization", "PReLU"])
def test_plain_model_has_the_weights_of_layers_that_stayed_float(kind: str) -> None:
    model = zoo.around(kind)
    plain = fake_quant.plain(fake_quant.build(model), model)
    assert all(np.array_equal(one, two) for one, two in zip(plain.get_weights(), model.get_weights(), strict=True))


def _scaled(path: Path) -> list[np.ndarray]:
    """Return the kernels of a file as numbers: integers times their scale, and half a step beside each."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(model_path=str(path))
    scales = {item["name"]: item["quantization_parameters"] for item in interpreter.get_tensor_details()}
    found = []
    for name, values in tflite.kernels(path).items():
        assert values.dtype == np.int8
        shape = [1] * values.ndim
        shape[scales[name]["quantized_dimension"]] = -1
        scale = scales[name]["scales"].reshape(shape)
        found.append(np.stack([values * scale, np.broadcast_to(scale / 2, values.shape)]))
    return found


@pytest.mark.parametrize("name", ["conv-relu", "dense-relu"])
def test_plain_models_kernels_are_those_that_the_file_rounds(tmp_path: Path, name: str) -> None:
    model = tiny.sequential(*_rows(name))
    built = _calibrated(model)
    tiny.tune(built, tmp_path / "work", epochs=1)
    plain = fake_quant.plain(built, model)
    path = tmp_path / "int8.tflite"
    tflite.write(built, path, tiny.SPEC, "int8", fake_quant=True)
    stored = {found[0].size: found for found in _scaled(path)}
    wanted = [values for _, _, values in kernels.named(plain)]
    assert len(wanted) == len(stored) == 2
    turned: Callable[[np.ndarray], np.ndarray] = lambda values: np.moveaxis(values, -1, 0)  # noqa: E731
    for values in wanted:
        rounded, half = stored[values.size]
        # the range is that of the kernel before the last step, which may have made it larger
        cut = np.clip(turned(values).reshape(rounded.shape), -254 * half, 254 * half)
        assert np.abs(cut - rounded).max() > 0
        assert np.all(np.abs(cut - rounded) <= half * 1.001)


def test_normalization_normalizes_as_before() -> None:
    keras = load_keras()
    samples = np.random.default_rng(0).normal(5, 3, (64, 4)).astype(np.float32)
    normalization = keras.layers.Normalization(name="normalization")
    normalization.adapt(samples)
    values = keras.Input((4,), name="values")
    hidden = keras.layers.Dense(8, activation="relu")(normalization(values))
    model = keras.Model(values, keras.layers.Dense(3, name="logits")(hidden))
    built = fake_quant.build(model)
    fake_quant.calibrate(built, model, samples)
    wanted = model.predict(samples, verbose=0)
    assert np.abs(built.predict(samples, verbose=0) - wanted).max() < 0.05 * np.abs(wanted).max()
