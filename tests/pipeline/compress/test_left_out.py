from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.compress import fake_quant, fusing
from pipeline.formats import ConversionError, fake_quant_file, keras_file, onnx, tflite
from pipeline.legacy_keras import load as load_keras
from pipeline.predictor import classifier

SPEC = classifier("image", (8, 8, 3), (0.0, 1.0), ("a", "b", "c"))
X = np.random.default_rng(0).random((16, 8, 8, 3)).astype(np.float32)
WHY = "the recipe leaves it out (quantize.exclude)"


def model() -> Any:
    keras = load_keras()
    layers = keras.layers
    keras.utils.set_random_seed(3)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="first")(image)
    y = layers.Conv2D(8, 3, padding="same", activation="relu", name="branch")(x)
    x = layers.Add(name="add")([x, y])
    x = layers.Conv2D(8, 1, name="middle")(x)
    x = layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D(name="mean")(x))
    return keras.Model(image, x)


def built(*names: str) -> tuple[Any, dict[str, str]]:
    whole = model()
    out = fusing.with_operators(whole, dict.fromkeys(names, WHY))
    found = fake_quant.build(whole, out=out)
    fake_quant.calibrate(found, whole, X)
    return found, out


def stored(path: Path) -> list[str]:
    return sorted(str(values.dtype) for values in tflite.kernels(path).values())


def test_layer_that_adds_up_what_a_left_out_one_gives_stays_float_too() -> None:
    whole = model()
    assert fusing.with_operators(whole, {"branch": WHY, "nobody": WHY}) == {
        "branch": WHY, "add": "it takes what branch gives, which is left out"
    }  # fmt: skip
    assert fusing.with_operators(whole, {"middle": WHY}) == {"middle": WHY}


@pytest.mark.parametrize(
    ("names", "floating"),
    [(("middle",), {"CONV_2D": 1}), (("branch",), {"CONV_2D": 1, "ADD": 1})],
    ids=["middle", "branch"],
)
def test_left_out_layer_computes_in_float_between_int8_ones(
    names: tuple[str, ...], floating: dict[str, int], tmp_path: Path
) -> None:
    network, _ = built(*names)
    path = tmp_path / "some.tflite"
    tflite.write(network, path, SPEC, "int8", fake_quant=True)
    found = tflite.operators(path)
    assert found.floating_names == floating  # the detour that kept it from being int8 is gone
    assert stored(path) == ["float32", "int8", "int8", "int8"]
    wanted = network.predict(X, verbose=0)
    answered = tflite.load(path, SPEC, 1).predict(X)["logits"]
    assert np.abs(answered - wanted).max() < 0.02 * np.ptp(wanted)


def test_kernel_of_a_left_out_layer_is_float16_in_the_file_and_its_onnx_answers_alike(tmp_path: Path) -> None:
    network, _ = built("middle")
    wide, half, graph = tmp_path / "wide.tflite", tmp_path / "half.tflite", tmp_path / "half.onnx"
    tflite.write(network, wide, SPEC, "int8", fake_quant=True)
    tflite.write(network, half, SPEC, "int8", fake_quant=True, half_weights=True)
    assert stored(half) == ["float16", "int8", "int8", "int8"]
    (kernel,) = [values for values in tflite.kernels(half).values() if values.dtype == np.float16]
    (exact,) = [values for values in tflite.kernels(wide).values() if values.dtype == np.float32]
    np.testing.assert_array_equal(kernel, exact.astype(np.float16))
    predictor = tflite.load(half, SPEC, 1)
    answered, wanted = predictor.predict(X)["logits"], network.predict(X, verbose=0)
    assert np.abs(answered - wanted).max() < 0.02 * np.ptp(wanted)
    np.testing.assert_array_equal(predictor.predict(X[:1])["logits"], answered[:1])
    onnx.write_from_tflite(half, graph, SPEC)
    again = onnx.load(graph, SPEC, 1).predict(X)["logits"]
    assert np.abs(again - answered).max() < 0.02 * np.ptp(wanted)


def test_weight_that_is_too_large_for_float16_is_refused_with_a_way_out(tmp_path: Path) -> None:
    network, _ = built("middle")
    layer = next(one for one in network.layers if one.name.endswith("middle"))
    inner = getattr(layer, "layer", layer)
    inner.kernel.assign(inner.kernel * 0 + 1e5)
    with pytest.raises(ConversionError) as refused:
        tflite.write(network, tmp_path / "half.tflite", SPEC, "int8", fake_quant=True, half_weights=True)
    assert "weights of at most 65504" in str(refused.value)
    assert "quantize.float_layers=float32" in str(refused.value)


def test_what_is_left_out_comes_back_with_the_stored_model(tmp_path: Path) -> None:
    network, out = built("branch")
    keras_file.write(fake_quant.plain(network, model()), SPEC, tmp_path)
    fake_quant_file.write(network, tmp_path, out)
    again, _ = fake_quant_file.read(tmp_path)
    np.testing.assert_array_equal(again.predict(X, verbose=0), network.predict(X, verbose=0))
    assert len(again.get_weights()) == len(network.get_weights())
