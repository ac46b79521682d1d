"""The table of what no converter takes, against the converters themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.formats import ConversionError, known, tflite
from pipeline.legacy_keras import load as load_keras
from pipeline.plan import Planned
from pipeline.predictor import classifier

# shape of what comes to a layer of each kind, and what it needs besides its name
LAYERS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "ConvLSTM1D": ((3, 4, 2), {"filters": 2, "kernel_size": 2}),
    "ConvLSTM2D": ((3, 4, 4, 2), {"filters": 2, "kernel_size": 2}),
    "ConvLSTM3D": ((2, 3, 3, 3, 1), {"filters": 1, "kernel_size": 2}),
    "AveragePooling3D": ((4, 4, 4, 2), {}),
    "MaxPooling3D": ((4, 4, 4, 2), {}),
    "GroupNormalization": ((5, 5, 4), {"groups": 2}),
}
FILES = [("tflite", "float32"), ("tflite", "dynamic-int8"), ("tflite", "int8"), ("onnx", "int8")]


def around(layer: Any, shape: tuple[int, ...]) -> Any:
    keras = load_keras()
    inputs = keras.Input(shape, name="samples")
    values = keras.layers.Flatten(name="flat")(layer(inputs))
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(values))


def subject(kind: str) -> Any:
    shape, options = LAYERS[kind]
    return around(getattr(load_keras().layers, kind)(name="subject", **options), shape)


def ways(model: Any) -> list[str]:
    return [known.way(model, Planned("train", *file), 64, trained=False).refused for file in FILES]


def runs(model: Any, path: Path) -> None:
    """Convert a model to a float32 .tflite and let it answer one sample, then two."""
    samples = np.ones((2, *model.input_shape[1:]), np.float32)
    spec = classifier("samples", samples.shape[1:], (0, 1), "abc")
    tflite.write(model, path, spec, "float32")
    predictor = tflite.load(path, spec, 1)
    for count in (1, 2):
        assert predictor.predict(samples[:count])["logits"].shape == (count, 3)


def test_every_kind_in_the_table_is_tried() -> None:
    assert set(LAYERS) == set(known.NO_TFLITE)


@pytest.mark.parametrize("kind", LAYERS)
def test_what_no_tflite_can_hold_is_refused_with_its_name_and_why(kind: str) -> None:
    model = subject(kind)
    assert all(f"subject ({kind}): {known.NO_TFLITE[kind]}" in refused for refused in ways(model))
    for file in (("saved_model", "float32"), ("onnx", "float32")):
        assert known.way(model, Planned("train", *file), 64, trained=False) == known.Way()
        known.require(model, Planned("train", *file))
    with pytest.raises(ConversionError, match="remove tflite float32 from the recipe's export section"):
        known.require(model, Planned("train", "tflite", "float32"))


def test_layer_inside_another_is_found() -> None:
    layers = load_keras().layers
    assert all("inner (MaxPooling3D)" in one for one in ways(
        around(layers.TimeDistributed(layers.MaxPooling3D(name="inner")), (2, 4, 4, 4, 2))
    ))  # fmt: skip


def test_layer_of_another_library_is_not_taken_for_keras() -> None:
    keras = load_keras()
    own = type("MaxPooling3D", (keras.layers.GlobalMaxPooling3D,), {})
    assert ways(around(own(name="subject"), (4, 4, 4, 2))) == [""] * len(FILES)


@pytest.mark.long
@pytest.mark.parametrize("kind", LAYERS)
def test_converter_or_litert_refuses_each_kind(kind: str, tmp_path: Path) -> None:
    with pytest.raises((ConversionError, RuntimeError)) as refused:
        runs(subject(kind), tmp_path / "a.tflite")
    operator = {"Conv": "TensorListReserve", "Aver": "AvgPool3D", "MaxP": "MaxPool3D", "Grou": "BROADCAST_TO"}[kind[:4]]
    assert operator in str(refused.value)
    assert operator in known.NO_TFLITE[kind]


def test_groups_over_one_or_two_axes_are_normalized_in_litert(tmp_path: Path) -> None:
    for shape in ((6,), (5, 4)):
        model = around(load_keras().layers.GroupNormalization(groups=2, name="subject"), shape)
        assert ways(model) == [""] * len(FILES)
        runs(model, tmp_path / "a.tflite")
