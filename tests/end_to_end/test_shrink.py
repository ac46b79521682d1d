"""shrink in the whole line and on a file: the model that is left goes into every format, and what is wrong is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import legacy_keras
from tests.end_to_end import model_files
from tests.end_to_end.command import FAST, modelmill, options, report

BRIEF = ("epochs=2", "max_accuracy_loss=0.95", "on_regression=continue")
LINE = options([
    *FAST, "model={architecture: resnet}", "data.augment=null", "distill=null", "train.epochs=4",
    "shrink={macs: 0.5, importance: taylor, steps: 2, teach: {}}", "prune.layers={logits: null}",
    *(f"{stage}.{key}" for stage in ("shrink", "prune", "quantize") for key in BRIEF),
    "quantize.freeze_ranges_epochs=0", "export.stages=all", "serving.protocols=[grpc]",
    "export.tflite=[float32, float16, dynamic-int8, int8]",
    "judge={gates: {min_parity: 0.9}}",
])  # fmt: skip


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    cwd = tmp_path_factory.mktemp("line")
    done = modelmill("run", "digits", *LINE, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return report(cwd)


@pytest.mark.long
def test_residual_model_loses_half_of_its_macs_and_the_report_says_of_which_layers(line: dict[str, Any]) -> None:
    models = {model["stage"]: model for model in line["models"]}
    assert list(models) == ["train", "shrink", "prune", "quantize"]
    assert 0 < models["shrink"]["macs"] <= 0.5 * models["train"]["macs"]
    assert models["prune"]["macs"] == models["quantize"]["macs"] == models["shrink"]["macs"]
    assert sum(group["after"] for group in models["shrink"]["channels"]) < sum(
        group["before"] for group in models["shrink"]["channels"]
    )
    (stage,) = [stage for stage in line["stages"] if stage["name"] == "shrink"]
    assert (stage["metrics"]["macs"], stage["metrics"]["macs_before"]) == (
        models["shrink"]["macs"], models["train"]["macs"],
    )  # fmt: skip
    assert len(models["shrink"]["training"]["loss"]) == 2


@pytest.mark.long
def test_model_that_shrank_is_pruned_and_quantized_and_runs_in_every_format_with_parity(line: dict[str, Any]) -> None:
    found = {artifact["id"]: artifact for artifact in line["artifacts"]}
    assert {name for name in found if not name.startswith("train.")} == {
        "shrink.saved_model.float32", "shrink.tflite.float32", "shrink.onnx.float32", "prune.saved_model.float32",
        "prune.tflite.float32", "prune.tflite.float16", "prune.tflite.dynamic-int8", "prune.onnx.float32",
        "quantize.saved_model.fake-quant", "quantize.tflite.int8", "quantize.onnx.int8",
    }  # fmt: skip
    for artifact in found.values():
        assert artifact["error"] is None, artifact["id"]
        assert artifact["runs"], artifact["id"]
        for run in artifact["runs"]:
            exact = artifact["precision"] in ("float32", "fake-quant")
            assert run["parity"]["top1_agreement"] >= (1.0 if exact else 0.97), (artifact["id"], run["runtime"])
    assert found["quantize.tflite.int8"]["operators"]["floating"] == 0
    assert found["shrink.tflite.float32"]["gzip_bytes"] < found["train.tflite.float32"]["gzip_bytes"]
    assert line["to_serve"] == "prune.saved_model.float32"


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("file")
    model_files.tiny().save(folder / "tiny.keras", save_format="keras")
    return folder


FILE = ("shrink", "--model", "tiny.keras", "--data", "digits", "--out")


def test_file_becomes_a_smaller_keras_file(cwd: Path) -> None:
    sets = options(["shrink.epochs=1", "measure.resamples=100"])
    done = modelmill(*FILE, "small", *sets, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "shrink: all channels stay in ends: they are what the model answers" in done.stderr
    assert [path.name for path in (cwd / "small/artifacts").iterdir()] == ["shrink.keras"]
    model = legacy_keras.load().models.load_model(cwd / "small/artifacts/shrink.keras", compile=False)
    before = model_files.tiny()
    assert model.input_shape == before.input_shape
    assert model.count_params() < before.count_params()
    written = json.loads((cwd / "small/report.json").read_text(encoding="utf-8"))
    came, left = written["models"]
    assert left["macs"] <= 0.5 * came["macs"]
    assert [group["name"] for group in left["channels"]] == ["conv", "hidden", "ends"]


# asked for without a process in tests/pipeline/stages/test_shrink.py
KNOWN = [
    (["shrink.layers={'*': null}"], ["shrink: all channels are to stay"]),
    (["shrink.macs=0.0001"], ["shrink: 0.01% of the MACs cannot be reached", "expected: at least "]),
]


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["shrink.layers={hiden: 0.5}"], ["shrink.layers names layers that the model does not have", "hidden"]),
        *(pytest.param(*case, marks=pytest.mark.long) for case in KNOWN),
        (["shrink.parameters=0.5", "shrink.macs=0.5"], ["exactly one of macs, parameters, latency"]),
    ],
)
def test_mistake_is_one_message_and_exit_2(sets: list[str], words: list[str], cwd: Path) -> None:
    done = modelmill(*FILE, "bad", *options(sets), cwd=cwd)
    assert done.returncode == 2, done.stdout + done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_mistake_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    sets = ["distill.student.filters=[16, 16]", "shrink.layers={conv_77: null}"]
    done = modelmill("run", "digits", *options(sets), cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "shrink.layers names layers that the model does not have" in done.stderr
    assert "found: conv_77" in done.stderr
    written = report(tmp_path)
    assert written["failure"]["stage"] == "shrink"
    assert written["stages"][1:] == []
    assert not [path for path in (tmp_path / "store").glob("train-*") if path.is_dir()]
