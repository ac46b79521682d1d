"""The table of what no converter takes, against the converters themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.formats import ConversionError, known, tflite
from pipeline.isolate import Child, CrashError
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


OPTIONS: dict[str, Any] = {"GroupNormalization": {"groups": 2}}


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


@pytest.mark.parametrize("kind", known.NO_INT16X8)
def test_int16_activations_are_refused_where_they_cannot_be_and_nothing_else_is(kind: str) -> None:
    model = around(getattr(load_keras().layers, kind)(**OPTIONS.get(kind, {}), name="subject"), (6, 8))
    found = known.way(model, Planned("train", "tflite", "int16x8"), 64, trained=False)
    assert f"subject ({kind}): {known.NO_INT16X8[kind]}" in found.refused
    assert ways(model) == [""] * len(FILES)


@pytest.mark.long
def test_converter_refuses_or_litert_dies_of_each_kind_with_int16_activations(converter: Child, tmp_path: Path) -> None:
    for kind, why in known.NO_INT16X8.items():
        path = tmp_path / "a.tflite"
        if why.startswith("LiteRT dies"):
            converter.call(write_int16, kind, path)
            with pytest.raises(CrashError):
                converter.call(answer_int16, path)
        else:
            with pytest.raises(ConversionError):
                converter.call(write_int16, kind, path)


def write_int16(kind: str, path: Path) -> None:
    model = around(getattr(load_keras().layers, kind)(**OPTIONS.get(kind, {}), name="subject"), (6, 8))
    varied = np.random.default_rng(0).uniform(-1, 1, (20, 6, 8)).astype(np.float32)
    tflite.write(model, path, classifier("samples", (6, 8), (-1, 1), "abc"), "int16x8", varied)


def answer_int16(path: Path) -> None:
    tflite.load(path, None, 1).predict(np.ones((1, 6, 8), np.float32))


def test_operators_of_tensorflow_make_up_for_poolings_when_they_are_chosen(tmp_path: Path) -> None:
    item = Planned("train", "tflite", "float32")
    refused = known.way(subject("MaxPooling3D"), item, 64, trained=False).refused
    assert refused.endswith("if the app brings TensorFlow's kernels along (Flex), set export.select_tf_ops=true")
    for kind in LAYERS:
        chosen = known.way(subject(kind), item, 64, trained=False, select_tf_ops=True).refused
        assert (chosen == "") == (kind in known.SELECTABLE)
    for kind in known.SELECTABLE:
        model, path = subject(kind), tmp_path / "a.tflite"
        spec = classifier("samples", model.input_shape[1:], (0, 1), "abc")
        tflite.write(model, path, spec, "float32", select_tf_ops=True)
        assert len(tflite.operators(path).tensorflow) == 1


@pytest.mark.parametrize(
    ("precision", "variant", "expected"),
    [
        ("float32", "batch4", known.Way(batch=4)), ("int8", "int8-ends.batch1", known.Way(batch=1)),
        ("weight-int4", "", known.Way()),
    ],
)  # fmt: skip
def test_batch_of_a_file_is_the_variants(precision: str, variant: str, expected: known.Way) -> None:
    model = around(load_keras().layers.Dense(4, name="dense"), (6,))
    assert known.way(model, Planned("train", "tflite", precision, variant), 64, trained=False) == expected


def test_int8_onnx_that_is_not_made_from_a_tflite_has_none_of_its_limits() -> None:
    by_ort = Planned("train", "onnx", "int8", "ort")
    assert known.way(subject("MaxPooling3D"), by_ort, 64, trained=False) == known.Way()


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
