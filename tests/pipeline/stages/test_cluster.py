"""cluster, and every order of the stages around it: what was promised is in the int8 file's tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from pipeline import data
from pipeline.compress import clustering, keeping, kernels, signs
from pipeline.compress.clustering import Clusters
from pipeline.errors import InputError, PromiseError
from pipeline.events import Event, Note, Progress
from pipeline.formats import keras_file, tflite
from pipeline.measuring import anatomy
from pipeline.plan import Planned
from pipeline.report.model import Model, read_models, write_models
from pipeline.stages import cluster, export, prune, quantize, shrink
from tests.pipeline.stages.small import DATA, job

BRIEF: dict[str, Any] = {"epochs": 1, "batch_size": 256, "tensorboard": False, "on_regression": "continue"}
STAGES: Mapping[str, Any] = {"prune": prune, "cluster": cluster, "shrink": shrink, "quantize": quantize}
OPTIONS: Mapping[str, dict[str, Any]] = {
    "prune": {"final_sparsity": 0.6}, "cluster": {"clusters": 6, "layers": {"logits": None}}, "shrink": {"macs": 0.6},
    "quantize": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def came(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    spec = data.load(DATA).spec
    config = models.cnn.Config(architecture="cnn", filters=(16, 24), convolutions=1, head="average")
    network = models.build(config, spec, seed=0)
    # a channel that an int8 file would negate
    norm = next(layer for layer in network.layers if type(layer).__name__ == "BatchNormalization")
    norm.gamma.assign(np.where(np.arange(16) % 3 == 0, -1.0, 1.0))
    keras_file.write(network, spec, folder)
    write_models([anatomy.describe(network, "train")], folder)
    return folder


def made(name: str, folder: Path, inputs: Mapping[str, Path], events: list[Event], **options: Any) -> Any:
    """Run one stage."""
    config = STAGES[name].Config.model_validate(BRIEF | OPTIONS[name] | options)
    return STAGES[name].run(job(folder, events, **inputs), data=DATA, seed=0, **{name: config})


def line(came: Path, root: Path, *names: str, **options: dict[str, Any]) -> dict[str, Path]:
    """Run stages one after another; return their folders."""
    folders = {"train": came}
    for name in names:
        made(name, root / name, folders, [], **options.get(name, {}))
        folders[name] = root / name
    return folders


def described(folder: Path) -> Model:
    return read_models(folder)[0]


def notes(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note)]


def exported(folder: Path, root: Path, stage: str, precision: str) -> tuple[Any, dict[str, np.ndarray], Any]:
    """Return what export says of a .tflite, with its kernels and their channels' axes."""
    calibration = data.load(DATA).calibration.x[:50] if stage != "quantize" and precision == "int8" else None
    found = export.convert(Planned(stage, "tflite", precision), folder, root, calibration, export.Config())
    path = root / f"{stage}.tflite.{precision}.tflite"
    return found, tflite.kernels(path), tflite.operators(path).channel_axes


def test_clustered_model_has_few_weights_says_so_and_learned(came: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    found = made("cluster", tmp_path / "cluster", {"train": came}, events).metrics
    before, spec = keras_file.read(came)
    model, same = keras_file.read(tmp_path / "cluster")
    assert same == spec
    (layers,) = ([layer for layer in described(tmp_path / "cluster").layers if layer.clusters],)
    assert [(layer.name, layer.clusters, layer.clustered) for layer in layers] == [
        ("conv_1", 6, "tensor"), ("conv_2", 6, "tensor"),
    ]  # fmt: skip
    for layer in layers:
        kernel = model.get_layer(layer.name).kernel.numpy()
        assert layer.distinct == np.unique(kernel).size == 6
        assert not np.array_equal(np.unique(kernel), np.unique(before.get_layer(layer.name).kernel.numpy()))
    assert (found["clustered_layers"], found["left_layers"], found["distinct_weights"]) == (2, 1, 6)
    assert (found["epoch"], found["sparsity"]) == (1, 0)
    assert {"val_accuracy", "val_accuracy_before"} <= set(found)
    why = "the recipe leaves it out (cluster.layers)"
    assert notes(events)[0] == f"logits is not clustered: {why}"
    assert next(layer for layer in described(tmp_path / "cluster").layers if layer.name == "logits").reason == why


def test_layers_that_are_not_there_are_refused_by_name(came: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cluster\.layers names what is no layer of the model(.|\n)*dense_\*"):
        made("cluster", tmp_path / "cluster", {"train": came}, [], layers={"dense_*": 4})


def test_weights_are_bit_equal_when_killed_and_called_again(came: Path, tmp_path: Path) -> None:
    made("cluster", tmp_path / "whole", {"train": came}, [], epochs=3)

    class Killing(list[Event]):
        def append(self, event: Event) -> None:
            if isinstance(event, Progress) and event.unit == "epoch" and event.done == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made("cluster", tmp_path / "killed", {"train": came}, Killing(), epochs=3)
    (tmp_path / "killed").rmdir()
    made("cluster", tmp_path / "killed", {"train": came}, [], epochs=3)
    one, two = (keras_file.read(tmp_path / name)[0].get_weights() for name in ("whole", "killed"))
    assert all(np.array_equal(*pair) for pair in zip(one, two, strict=True))


_LONG = pytest.mark.long
ORDERS = [
    pytest.param(("cluster", "quantize"), marks=_LONG),
    pytest.param(("prune", "cluster", "quantize"), marks=_LONG),
    pytest.param(("shrink", "cluster", "quantize"), marks=_LONG),
    pytest.param(("prune", "shrink", "cluster", "quantize"), marks=_LONG),
    ("prune", "cluster", "shrink", "quantize"),
]


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
@pytest.mark.parametrize("per_channel", [False, pytest.param(True, marks=_LONG)], ids=["tensor", "channel"])
def test_int8_file_holds_zeros_and_clusters_in_every_order(
    order: tuple[str, ...], per_channel: bool, came: Path, tmp_path: Path
) -> None:
    folders = line(came, tmp_path, *order, cluster={"per_channel": per_channel})
    artifact, found, axes = exported(folders["quantize"], tmp_path, "quantize", "int8")
    model, _ = keras_file.read(folders["quantize"])
    by_size = {values.size: (key, values) for key, values in found.items()}
    for name in ("conv_1", "conv_2"):
        key, values = by_size[model.get_layer(name).kernel.numpy().size]
        assert values.dtype == np.int8
        channels = np.moveaxis(values, axes[key][0], 0)
        assert max(np.unique(channel).size for channel in channels) <= 6
        if not per_channel:
            assert np.unique(values).size <= 6, name
    assert artifact.clustered.kernels == 2
    assert 2 <= artifact.clustered.distinct <= 6
    if "prune" in order:
        # channels that go may take more zeros with them than other weights
        wanted = {layer.name: layer.target for layer in described(folders["quantize"]).layers if layer.target}
        assert set(wanted) == {"conv_1", "conv_2", "logits"}
        assert all(share >= (0.4 if "shrink" in order else 0.6) - 0.02 for share in wanted.values())
        for name, share in wanted.items():
            _, values = by_size[model.get_layer(name).kernel.numpy().size]
            assert kernels.sparsity([values]) >= share - 1 / values.size
    if "shrink" in order:
        assert (model.get_layer("conv_1").filters, model.get_layer("conv_2").filters) != (16, 24)


@pytest.mark.long
@pytest.mark.parametrize("precision", ["float32", "float16", "dynamic-int8", "int8"])
def test_every_file_of_cluster_itself_holds_its_clusters(precision: str, came: Path, tmp_path: Path) -> None:
    folders = line(came, tmp_path, "cluster")
    artifact, _, _ = exported(folders["cluster"], tmp_path, "cluster", precision)
    assert (artifact.clustered.kernels, artifact.clustered.distinct) == (2, 6)


def test_quantize_ends_with_a_reason_when_clusters_or_zeros_are_not_kept(
    came: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = line(came, tmp_path, "cluster")
    with monkeypatch.context() as patch:
        patch.setattr(keeping, "kept", lambda *_: None)
        with pytest.raises(
            PromiseError, match="quantize: kernels have more distinct weights than were promised"
        ) as end:
            made("quantize", tmp_path / "lost", folders, [])
    assert "conv_1/kernel has " in end.value.found
    assert "conv_2/kernel has " in end.value.found


def test_export_ends_with_a_reason_when_the_file_has_more_distinct_weights(
    came: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a negative scale the converter negates a channel: the model has as few weights as asked, the file more."""
    folders = line(came, tmp_path, "cluster")
    model, spec = keras_file.read(folders["cluster"])
    norm = next(layer for layer in model.layers if type(layer).__name__ == "BatchNormalization")
    norm.gamma.assign(np.where(np.arange(16) % 3 == 0, -1.0, 1.0))
    keras_file.write(model, spec, folders["cluster"])
    with monkeypatch.context() as patch:
        patch.setattr(signs, "hold", lambda *_: None)
        made("quantize", tmp_path / "quantize", folders, [])
    with pytest.raises(PromiseError, match="more distinct weights in its kernels than the model") as end:
        exported(tmp_path / "quantize", tmp_path, "quantize", "int8")
    assert "conv_1/kernel has " in end.value.found


def test_clusters_that_a_file_brings_along_are_kept(came: Path, tmp_path: Path) -> None:
    folders = line(came, tmp_path, "cluster")
    brought = tmp_path / "brought"
    brought.mkdir()
    model, spec = keras_file.read(folders["cluster"])
    keras_file.write(model, spec, brought)
    write_models([anatomy.describe(model, "train")], brought)  # which says nothing of clusters
    made("quantize", tmp_path / "quantize", {"train": brought}, [])
    layers = {layer.name: layer for layer in described(tmp_path / "quantize").layers}
    assert (layers["conv_2"].clusters, layers["conv_2"].clustered) == (6, "tensor")
    assert layers["conv_2"].distinct in range(2, 7)


def test_prune_says_that_it_does_not_keep_the_clusters_that_a_file_brings_along(came: Path, tmp_path: Path) -> None:
    model, spec = keras_file.read(came)
    clustering.apply(model, {"conv_2": Clusters(6)}, 0)
    brought = tmp_path / "brought"
    keras_file.write(model, spec, brought)
    write_models([anatomy.describe(model, "train")], brought)
    told: list[Event] = []
    made("prune", tmp_path / "prune", {"train": brought}, told)
    (text,) = [text for text in notes(told) if "distinct weights" in text]
    assert text.startswith("the few distinct weights that conv_2 came with are not kept: new zeros take weights out")
    quiet: list[Event] = []
    made("prune", tmp_path / "quiet", {"train": came}, quiet)
    assert not [text for text in notes(quiet) if "distinct weights" in text]


def test_assess_holds_the_stage_to_what_it_may_lose() -> None:
    config = cluster.Config(max_accuracy_loss=0.01, on_regression="stop")
    bad = {"val_accuracy": 0.9, "val_accuracy_before": 0.95, "epoch": 1.0}
    with pytest.raises(PromiseError, match="cluster: more accuracy is lost than the recipe allows"):
        cluster.assess(bad, lambda _: None, cluster=config)
    cluster.assess(bad | {"val_accuracy": 0.945}, lambda _: None, cluster=config)
