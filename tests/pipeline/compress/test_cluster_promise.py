"""The promise of clusters, on models and on the kernels of files, and that its loss is caught."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.compress import cluster_promise, clustering, fake_quant, kernels, pruning
from pipeline.compress.cluster_promise import require, require_in_file
from pipeline.compress.clustering import Clusters, distinct
from pipeline.errors import PromiseError
from pipeline.formats import onnx, saved_model, tflite
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.compress import tiny

ASKED = {"stem": Clusters(7), "narrow": Clusters(5), "wide": Clusters(6), "logits": Clusters(4)}


def residual() -> Any:
    """Return a small net with a residual branch of 1x1 convolutions, pruned by half and clustered per tensor."""
    keras = load_keras()
    layers = keras.layers
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 1), name="samples")
    stem = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", name="stem")(inputs)))
    branch = layers.Conv2D(4, 1, use_bias=False, name="narrow")(stem)
    branch = layers.ReLU()(layers.BatchNormalization(name="norm")(branch))
    branch = layers.BatchNormalization()(layers.Conv2D(8, 1, name="wide")(branch))
    whole = layers.ReLU()(layers.Add()([stem, branch]))
    logits = layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D()(whole))
    model = keras.Model(inputs, logits)
    random = np.random.default_rng(1)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.set_weights([random.uniform(-2, 2, array.shape) for array in layer.get_weights()[:2]]
                              + [random.uniform(0.2, 2, array.shape) for array in layer.get_weights()[2:]])  # fmt: skip
    for name in ASKED:
        weight = kernels.variables(model.get_layer(name))["kernel"]
        values = weight.numpy()
        weight.assign(np.where(np.abs(values) < np.median(np.abs(values)), 0, values))
    model, _ = clustering.prepared(model, ASKED)
    clustering.apply(model, ASKED, seed=0)
    return model


def _per(per: Any) -> dict[str, Clusters]:
    return {name: Clusters(one.most, per) for name, one in ASKED.items()}


def test_promise_is_kept_by_a_clustered_model_and_broken_by_one_weight_more() -> None:
    model = residual()
    require(model, ASKED, stage="cluster")
    weight = model.get_layer("narrow").kernel
    values = weight.numpy()
    values[0, 0, :2, 0] = [9, 8]
    weight.assign(values)
    with pytest.raises(PromiseError, match="quantize: kernels have more distinct weights than were promised") as broken:
        require(model, ASKED, stage="quantize")
    assert broken.value.found == f"narrow/kernel has {np.unique(values).size} and was to have 5"
    require(model, {"stem": Clusters(7)}, stage="quantize")


def test_promise_of_channels_counts_each_by_itself() -> None:
    model = residual()
    for name in ASKED:
        weight = model.get_layer(name).kernel
        weight.assign(weight.numpy() * np.arange(1, weight.shape[-1] + 1, dtype=np.float32))
    require(model, _per("channel"), stage="cluster")
    with pytest.raises(PromiseError) as broken:
        require(model, ASKED, stage="cluster")
    assert "stem/kernel has" in broken.value.found
    found = cluster_promise.entries(model, _per("channel"))["stem"]
    assert (found["clusters"], found["clustered"]) == (7, "channel")
    assert 2 <= found["distinct"] <= 7


def test_every_format_holds_the_clusters_of_a_float_model(tmp_path: Path) -> None:
    model = residual()
    saved_model.write(model, tmp_path / "saved_model", tiny.SPEC)
    onnx.write(model, tmp_path / "float32.onnx", tiny.SPEC)
    for precision in ("float32", "float16", "dynamic-int8", "int8"):
        path = tmp_path / f"{precision}.tflite"
        tflite.write(model, path, tiny.SPEC, precision, tiny.SPLITS.calibration.x)  # type: ignore[arg-type]
    for path in tmp_path.iterdir():
        form = {".tflite": tflite, ".onnx": onnx}.get(path.suffix, saved_model)
        found, axes = form.kernels(path), form.operators(path).channel_axes  # type: ignore[attr-defined]
        held = require_in_file(
            found, model, ASKED, axes=axes, name=path.name, folded=() if form is saved_model else set(ASKED),
            scaled="int8" in path.name,
        )  # fmt: skip
        assert held.kernels == 4, path.name
        assert 4 <= held.distinct <= 7, path.name
        fewer = {name: Clusters(2) for name in ASKED}
        with pytest.raises(PromiseError, match="more distinct weights in its kernels than the model"):
            require_in_file(
                found, model, fewer, axes=axes, name=path.name, folded=() if form is saved_model else set(ASKED),
                scaled="int8" in path.name,
            )  # fmt: skip


@pytest.mark.parametrize("per", ["tensor", "channel"])
def test_int8_file_of_a_residual_net_has_the_zeros_and_distinct_weights_that_were_asked(
    per: Any, tmp_path: Path
) -> None:
    """PCQAT: read from the .tflite, after a training."""
    model = residual()
    zeros = pruning.zeros(model)
    built = fake_quant.build(model, dict.fromkeys(ASKED, per))
    fake_quant.calibrate(built, model, tiny.SPLITS.calibration.x)
    tiny.tune(built, tmp_path / "work", epochs=2)
    fake_quant.settle(built)
    plain = fake_quant.plain(built, model)
    pruning.require_kept(zeros, plain, stage="quantize")
    require(plain, _per(per), stage="quantize")
    path = tmp_path / "int8.tflite"
    tflite.write(built, path, tiny.SPEC, "int8", fake_quant=True)
    found, operators = tflite.kernels(path), tflite.operators(path)
    assert operators.floating_names == {}
    sizes = {model.get_layer(name).kernel.shape.num_elements(): name for name in ASKED if name != "wide"}
    for key, values in found.items():
        assert values.dtype == np.int8
        assert kernels.sparsity([values]) >= 0.5 - 1 / values.size
        if values.size in sizes and values.size != 32:
            most = ASKED[sizes[values.size]].most
            if per == "tensor":
                assert np.unique(values).size <= most, key
            by_channel = np.moveaxis(values, operators.channel_axes[key][0], -1)
            assert distinct(by_channel, per_channel=True) <= most
    assert per == "channel" or max(np.unique(values).size for values in found.values()) <= 7
    held = require_in_file(
        found, plain, _per(per), axes=operators.channel_axes, name="int8", folded=(), scaled=False
    )  # fmt: skip
    assert held.kernels == 4
    # what the file computes is what was trained
    predictor = tflite.load(path, tiny.SPEC, 1)
    answers = predictor.predict(tiny.SPLITS.validation.x)["logits"]
    predictor.close()
    wanted = tiny.answers(built)
    assert np.abs(answers - wanted).max() < 0.05 * np.abs(wanted).max()


def test_kernel_that_a_format_cuts_up_is_held_to_its_clusters() -> None:
    model = tiny.cnn()
    asked = {"hidden": Clusters(4)}
    clustering.apply(model, asked, seed=0)
    hidden = model.get_layer("hidden").kernel.numpy()
    others = {name: model.get_layer(name).kernel.numpy() for name in ("conv", "logits")}
    options: dict[str, Any] = {"axes": {}, "name": "float32.tflite", "folded": (), "scaled": False}
    pieces = {f"gate {place}": part for place, part in enumerate(np.split(hidden, 2))}
    require_in_file({**others, **pieces}, model, asked, **options)
    pieces["gate 1"] = np.random.default_rng(0).normal(size=pieces["gate 1"].shape)
    with pytest.raises(PromiseError, match=r"float32\.tflite: the file has more distinct weights") as broken:
        require_in_file({**others, **pieces}, model, asked, **options)
    assert "gate 1, a piece of one, has" in broken.value.found
