"""What the default recipe promises, at full length."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline import data
from pipeline import recipe as recipes
from pipeline.edge import micro, parity
from pipeline.formats import tflite
from pipeline.isolate import Child
from pipeline.stages import NAMES
from tests.end_to_end.command import modelmill, options, report

pytestmark = pytest.mark.alone

KILOBYTES = 6.0
LATER = [("shrink", ""), ("prune", ""), ("quantize", "")]


def require_promised_zeros(written: dict[str, Any], path: Path) -> None:
    """Compare each pruned kernel's zeros in a .tflite with its target."""
    (model,) = [model for model in written["models"] if model["stage"] == "quantize"]
    pruned = [layer for layer in model["layers"] if layer["target"]]
    assert pruned
    kernels = list(tflite.kernels(path).values())
    for layer in pruned:
        size = sum(layer["histogram"]["counts"]) + layer["histogram"]["zeros"]
        (kernel,) = [array for array in kernels if array.size == size]
        assert (kernel == 0).sum() >= layer["target"] * size - 1, layer["name"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """Run the default recipe once: (working directory, seconds)."""
    cwd = tmp_path_factory.mktemp("default")
    started = time.monotonic()
    done = modelmill("run", cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return cwd, time.monotonic() - started


def test_default_run_passes_in_under_150_seconds_and_a_second_in_under_3(whole: tuple[Path, float]) -> None:
    cwd, seconds = whole
    assert seconds < 150
    started = time.monotonic()
    assert modelmill("run", cwd=cwd).returncode == 0
    assert time.monotonic() - started < 3
    asked = recipes.load("digits").stages()
    assert [(stage["name"], stage["status"]) for stage in report(cwd)["stages"]] == [
        (name, "reused" if name in asked else "skipped") for name in NAMES
    ]


def test_int8_file_is_small_and_keeps_the_zeros_and_computes_in_integers(whole: tuple[Path, float]) -> None:
    cwd, _ = whole
    found = {artifact["id"]: artifact for artifact in report(cwd)["artifacts"]}
    final = found[report(cwd)["final"]]
    assert final["id"] == "quantize.tflite.int8"
    assert final["gzip_bytes"] <= 1000 * KILOBYTES
    assert final["operators"]["floating"] == 0
    assert final["operators"]["first_integer"]
    require_promised_zeros(report(cwd), cwd / "runs/digits/artifacts/quantize.tflite.int8.tflite")


def test_int8_file_answers_in_tflm_as_in_litert_on_all_test_samples(whole: tuple[Path, float]) -> None:
    path = whole[0] / "runs/digits/artifacts/quantize.tflite.int8.tflite"
    samples = data.load(recipes.load("digits").data).test.x
    with Child(deadline_s=120, memory_mb=None, threads=1) as child:
        found = child.call(micro.run, path, samples)
        default, reference = (child.call(parity.in_litert, path, samples, name) for name in ("default", "reference"))
    assert len(found.raw["logits"]) == len(samples) == 359
    assert found.arena.size < 8192
    logits, probabilities = parity.compare(path, found.raw, reference)
    # the same kernels, but for a rounding
    assert logits.equal_share > 0.99
    assert logits.max_steps is not None
    assert logits.max_steps <= 1
    assert (logits.same_decision_share, probabilities.same_decision_share) == (1, 1)
    assert (parity.compare(path, found.raw, default)[0].same_decision_share or 0) > 0.99


def test_served_result_is_the_last_float_model_and_the_fake_quant_one_is_only_shown(whole: tuple[Path, float]) -> None:
    cwd, _ = whole
    written = report(cwd)
    assert written["to_serve"] == "prune.saved_model.float32"
    found = {artifact["id"]: artifact for artifact in written["artifacts"]}
    imitation = found["quantize.saved_model.fake-quant"]
    assert imitation["optional"]
    assert imitation["operators"]["fake_quant"] > 0
    assert {run["protocol"] for run in imitation["runs"]} == {"grpc", "rest"}
    assert all(run["latency"][0]["p50_ms"] > 0 for run in imitation["runs"])
    behind = [one for one in written["bought"][-1]["faster"] if one["protocol"]]
    explained = any(one["high"] < 1.02 for one in behind)  # what is not proven is not explained
    assert ("fake-quant operations in the graph" in " ".join(written["bought"][-1]["causes"])) == explained


def test_int8_file_is_served_as_int8_beside_the_saved_models_in_one_table(whole: tuple[Path, float]) -> None:
    cwd, _ = whole
    written = report(cwd)
    table = written["fastest"]
    models = [f"{stage}.saved_model.float32" for stage in ("train", "distill", "shrink", "prune")]
    wanted = {*models, "quantize.saved_model.fake-quant", "quantize.tflite.int8"}
    for protocol in ("grpc", "rest"):
        rows = [row for row in table["rows"] if row["protocol"] == protocol]
        assert {row["artifact"] for row in rows} == wanted
        assert [row["p50_ms"] for row in rows] == sorted(row["p50_ms"] for row in rows)
        (lite,) = [row for row in rows if row["artifact"] == written["final"]]
        assert lite["speedup"]["against"] == written["reference"] == table["against"]
        assert lite["model_ms"] < lite["p50_ms"]  # the request costs something
    gate = next(gate for gate in written["gates"] if gate["name"] == "min_speedup")
    final = next(artifact for artifact in written["artifacts"] if artifact["id"] == written["final"])
    assert gate["value"] == final["runs"][0]["latency"][0]["speedup"]["value"]  # in LiteRT
    assert final["runs"][0]["runtime"] == "litert"


def test_report_says_what_each_stage_bought(whole: tuple[Path, float]) -> None:
    cwd, _ = whole
    written = report(cwd)
    names = [(model["stage"], model["variant"]) for model in written["models"]]
    assert names == [("train", ""), ("distill", ""), ("distill", "alone"), *LATER]
    for model in written["models"]:
        accuracy = model["metrics"]["accuracy"]
        assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
        assert model["training"]["val_accuracy"]
    assert "accuracy_gain_by_teaching" in written["models"][1]["metrics"]
    assert [one["stage"] for one in written["bought"]] == ["distill", "shrink", "prune", "quantize"]
    assert all(one["size_ratio"] > 1 for one in written["bought"])
    shrink, prune = written["bought"][1:3]
    assert shrink["macs_ratio"] > 2.9
    (lite,) = [one for one in shrink["faster"] if one["runtime"] == "litert"]
    assert lite["low"] > 1
    assert {one["protocol"] for one in shrink["faster"] if one["runtime"] == "served"} == {"grpc", "rest"}
    # zeros that are spread over all channels make no dense kernel faster, and the files show that they are; where
    # so few blocks prove no difference there is none to explain, and that is said
    proven = any(one["high"] < 1.02 for one in prune["faster"])
    assert ("output channels" if proven else "no difference is proven") in " ".join(prune["causes"])
    page = (cwd / "runs/digits/report.html").read_text(encoding="utf-8")
    assert "What each stage bought" in page


@pytest.mark.long
def test_five_seeds_end_within_a_point_of_their_teachers_in_the_mean(tmp_path: Path) -> None:
    # in process, and one file alone: accuracy and size need no other file and no server
    sets = options(
        [
            "serving=null",
            "distill.alone=false",
            "export={stages: [quantize], saved_model: [float32], tflite: [int8], onnx: []}",
            "judge={gates: {min_size_ratio: 2}}",
            "measure.latency={min_block_ms: 10, percentile: 0.5, batch_percentile: 0.5}",
        ]
    )
    teachers, finals = {}, {}
    for seed in range(5):
        done = modelmill("run", *sets, "--set", f"seed={seed}", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        artifacts = {artifact["id"]: artifact for artifact in report(tmp_path)["artifacts"]}
        accuracy = {name: found["runs"][0]["metrics"]["accuracy"]["value"] for name, found in artifacts.items()}
        teachers[seed], finals[seed] = accuracy["train.saved_model.float32"], accuracy["quantize.tflite.int8"]
        assert artifacts["train.saved_model.float32"]["parameters"] <= 70_000
        assert artifacts["quantize.tflite.int8"]["gzip_bytes"] <= 1000 * KILOBYTES
        print(f"seed {seed}: teacher {teachers[seed]:.4f}, int8 {finals[seed]:.4f}", flush=True)
    means = statistics.mean(teachers.values()), statistics.mean(finals.values())
    print("means: teacher {:.4f}, int8 {:.4f}".format(*means))
    assert means[0] >= 0.98
    assert means[1] >= means[0] - 0.01


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.skipif("MODELMILL_TEST_MNIST" not in os.environ, reason="MODELMILL_TEST_MNIST names no mnist.npz")
def test_mnist_at_80_percent_zeros_loses_at_most_half_a_point_against_the_float_student(tmp_path: Path) -> None:
    data = f"data.path={os.environ['MODELMILL_TEST_MNIST']}"
    done = modelmill("run", "mnist", *options([data, "serving=null"]), cwd=tmp_path, timeout_s=3600)
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads((tmp_path / "runs/mnist/report.json").read_text(encoding="utf-8"))
    found = {artifact["id"]: artifact for artifact in written["artifacts"]}
    student, final = (
        found[name]["runs"][0]["metrics"]["accuracy"]["value"]
        for name in ("distill.tflite.float32", "quantize.tflite.int8")
    )
    assert student - final <= 0.005
    assert found["quantize.tflite.int8"]["sparsity"] >= 0.8
    require_promised_zeros(written, tmp_path / "runs/mnist/artifacts/quantize.tflite.int8.tflite")
    print(f"float student {student:.4f}, int8 with 80 % zeros {final:.4f}")


def test_same_recipe_and_seed_give_the_same_bytes_from_empty_stores(tmp_path: Path) -> None:
    # few epochs: what differs between two processes differs after one; and nothing of the lone student is exported
    sets = options(
        [
            "distill.alone=false",
            *("train.epochs=2", "train.early_stopping=null", "distill.epochs=2", "shrink.epochs=2", "prune.epochs=2"),
            "quantize.epochs=2",
            "quantize.freeze_ranges_epochs=1",
            *(f"{stage}.on_regression=continue" for stage in ("distill", "shrink", "prune", "quantize")),
        ]
    )
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(len(folders)) as pool:
        ended = list(pool.map(lambda cwd: modelmill("export", *sets, cwd=cwd), folders))
    digests = []
    for done, cwd in zip(ended, folders, strict=True):
        assert done.returncode == 0, done.stdout + done.stderr
        folder = cwd / "runs/digits/artifacts"
        digests.append(
            {
                path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in folder.rglob("*")
                if path.is_file()
            }
        )
    # files of TFLite and ONNX, and labels.txt; saved_model.pb, two files of variables, labels.txt and requests each
    assert len(digests[0]) == 10 + 1 + 5 * 5
    assert digests[0] == digests[1]
