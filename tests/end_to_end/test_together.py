"""Everything at once on a tiny network: what each stage promised is in the files at the end of the line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.compress import excluding, kernels, masks, sensitivity_table
from pipeline.compress.pattern_config import NOfM
from pipeline.formats import keras_file, tflite
from pipeline.report.model import Model, read_models
from tests.end_to_end.command import BRIEFLY, modelmill, options, report

pytestmark = pytest.mark.long

FIT = {"epochs": 1, "batch_size": 128}
TUNING = FIT | {"max_accuracy_loss": 1}
CLUSTERS, LEFT_OUT = 8, "conv_3"
RECIPE: dict[str, Any] = {
    "name": "together",
    "data": {"source": "digits"},
    "model": {"architecture": "cnn", "filters": [16, 32], "convolutions": 2, "head": "average"},
    "train": FIT,
    "distill": TUNING | {
        "student": {"architecture": "cnn", "filters": [16, 24], "convolutions": 2, "head": "average"},
        "teach": {"temperature": 4, "soft_weight": 0.9},
    },
    "sensitivity": {"samples": 100},
    "shrink": TUNING | {"macs": 0.6},
    "prune": TUNING | {"pattern": {"name": "n-of-m"}, "exclude": "auto", "exclude_budget": 0.5},
    "cluster": TUNING | {"clusters": CLUSTERS},
    "quantize": TUNING | {"exclude": [LEFT_OUT], "float_layers": "float16"},
    "export": {"tflite": ["float32", "sparse-float32", "float16", "dynamic-int8", "int8"], "onnx": ["float32", "int8"]},
    "judge": {"gates": {"min_size_ratio": 2}},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the finished run."""
    cwd = tmp_path_factory.mktemp("together")
    (cwd / "together.yaml").write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    done = modelmill("run", "together.yaml", *options(BRIEFLY), cwd=cwd, timeout_s=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    return cwd / "runs" / "together"


def described(folder: Path, stage: str) -> Model:
    return read_models(folder / "stages" / stage)[0]


def by_size(path: Path) -> dict[int, np.ndarray]:
    """Return the kernels of a .tflite by how many weights they have; no two have as many."""
    found = tflite.kernels(path)
    sizes = {values.size: values for values in found.values()}
    assert len(sizes) == len(found)
    return sizes


def test_every_stage_and_file_is_made_measured_and_passes(folder: Path) -> None:
    found = report(folder.parent.parent, "together")
    assert found["verdict"] == "pass"
    assert found["failure"] is None
    ran = [stage["name"] for stage in found["stages"] if stage["status"] == "run"]
    assert ran == [*(name for name in RECIPE if name not in ("name", "data", "model", "judge")), "measure"]
    assert {artifact["id"] for artifact in found["artifacts"]} >= {
        "cluster.tflite.float32", "cluster.tflite.sparse-float32", "cluster.tflite.float16",
        "cluster.tflite.dynamic-int8", "cluster.onnx.float32", "quantize.tflite.int8", "quantize.onnx.int8",
    }  # fmt: skip
    for artifact in found["artifacts"]:
        assert artifact["error"] is None
        assert artifact["runs"]
    assert found["unforeseen"] == []
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(artifact["id"] in page for artifact in found["artifacts"])


def test_zeros_pattern_and_clusters_are_in_the_files(folder: Path) -> None:
    promised = {layer.name: layer for layer in described(folder, "quantize").layers}
    model, _ = keras_file.read(folder / "stages" / "quantize")
    held = {layer.name: values for layer, _, values in kernels.named(model)}
    pruned = [name for name in held if promised[name].pattern == "2:4"]
    assert pruned == [layer.name for layer in described(folder, "prune").layers if layer.pattern]
    assert len(pruned) >= 2
    assert all(promised[name].clusters == CLUSTERS for name in held)
    for name in ("cluster.tflite.float32", "cluster.tflite.sparse-float32", "cluster.tflite.float16",
                 "quantize.tflite.int8"):  # fmt: skip
        sizes = by_size(folder / "artifacts" / f"{name}.tflite")
        for layer, values in held.items():
            found = sizes[values.size]
            if layer in pruned:  # the inputs are on the last axis
                assert (found.reshape(-1, 4) == 0).sum(axis=-1).min() >= 2, (name, layer)
            channels = found.reshape(found.shape[0], -1)
            assert max(np.unique(channel).size for channel in channels) <= CLUSTERS, (name, layer)
            if found.dtype == np.int8:
                assert np.unique(found).size <= CLUSTERS, (name, layer)
    for name in pruned:
        assert masks.broken(held[name], NOfM(zeros=2, of=4), 0.5) == ""


def test_left_out_layer_is_float16_in_the_int8_file_and_all_others_are_int8(folder: Path) -> None:
    layers = {layer.name: layer for layer in described(folder, "quantize").layers}
    assert layers[LEFT_OUT].precision == "float16"
    model, _ = keras_file.read(folder / "stages" / "quantize")
    sizes = by_size(folder / "artifacts" / "quantize.tflite.int8.tflite")
    found = {layer.name: str(sizes[values.size].dtype) for layer, _, values in kernels.named(model)}
    assert found == {name: "float16" if name == LEFT_OUT else "int8" for name in found}


def test_what_auto_leaves_out_is_what_the_table_says_and_shrink_keeps_to_its_share(folder: Path) -> None:
    table = sensitivity_table.read(folder / "stages" / "sensitivity")
    assert {trial.technique for trial in table.trials} == {"shrink", "prune", "cluster", "quantize"}
    assert table.stage == "distill"
    auto = {layer.name for layer in described(folder, "prune").layers if layer.reason.endswith("(exclude: auto)")}
    assert auto == set(excluding.worst(table, "prune", asked=0.5, budget=0.5))
    before, after = (described(folder, stage).macs for stage in ("distill", "shrink"))
    assert before is not None
    assert after is not None
    assert after <= 0.6 * before
