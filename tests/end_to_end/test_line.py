"""The whole line on real data, with few epochs: what a user sees and what a script reads."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.report import commands
from pipeline.report.document import Report
from tests.end_to_end.command import FAST, ONLY_TRAIN, modelmill, options, report, statuses
from tests.pipeline.stages.small import METRICS

pytestmark = pytest.mark.alone

ALL = [
    "train.saved_model.float32", "train.tflite.float32", "train.tflite.float16", "train.tflite.dynamic-int8",
    "train.tflite.int8", "train.onnx.float32", "train.onnx.int8",
]  # fmt: skip
EVERY = "export.tflite=[float32, float16, dynamic-int8, int8]"
ARGUMENTS = ["run", "digits", *options([*ONLY_TRAIN, EVERY, *FAST, "measure.latency.percentile=0.99"])]


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("line")


@pytest.fixture(scope="module")
def first(cwd: Path) -> Any:
    done = modelmill(*ARGUMENTS, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_run_makes_and_measures_every_artifact(first: Any, cwd: Path) -> None:
    found = report(cwd)
    assert found["verdict"] == "pass"
    assert [artifact["id"] for artifact in found["artifacts"]] == ALL
    assert found["reference"] == ALL[0]
    assert found["final"] == "train.tflite.int8"
    assert found["serving"]["target"] == "embedded"
    runtimes = {"saved_model": "served", "tflite": "litert", "onnx": "onnxruntime"}
    for artifact in found["artifacts"]:
        assert artifact["error"] is None
        assert (cwd / "runs/digits" / artifact["path"]).exists()
        assert 0 < artifact["gzip_bytes"] < artifact["bytes"]
        assert artifact["parameters"] > 0
        assert artifact["macs"] > 0
        assert 0 <= artifact["sparsity"] < 1
        protocols = {"saved_model": ["grpc", "rest"]}.get(artifact["format"], [None])
        protocols += ["grpc", "rest"] if artifact["id"] == found["final"] else []  # the int8 .tflite is served too
        assert [run["protocol"] for run in artifact["runs"]] == protocols
    measured = [(artifact, run) for artifact in found["artifacts"] for run in artifact["runs"]]
    for artifact, run in measured:
        assert run["runtime"] == ("served" if run["protocol"] else runtimes[artifact["format"]])
        assert run["target"] == ("embedded" if run["protocol"] else "in-process")
        assert set(run["metrics"]) == METRICS | {"accuracy_drop"}
        assert all(metric["low"] <= metric["value"] <= metric["high"] for metric in run["metrics"].values())
        assert run["parity"]["samples"] == 359
        single, batch = run["latency"]
        assert (single["scenario"], batch["scenario"]) == ("SingleStream", "MultiStream")
        generator = "mlperf_loadgen" if importlib.util.find_spec("mlperf_loadgen") else "modelmill loop"
        assert single["settings"]["generator"].startswith(generator)
        assert single["queries"] >= 5 * 662
        assert single["p50_ms"] <= single["p90_ms"] <= single["p99_ms"]
        against = "saved_model" if run["protocol"] else artifact["format"]
        wanted = None if artifact["precision"] == "float32" else f"train.{against}.float32"
        assert (single["speedup"] or {}).get("against") == wanted
    assert "litert, final" in first.stdout
    assert "verdict: pass" in first.stdout
    assert "runs/digits/report.html" in first.stdout


def test_float_artifacts_agree_with_keras_on_every_sample_and_int8_ones_with_each_other(first: Any, cwd: Path) -> None:  # noqa: ARG001
    import numpy as np

    for artifact in report(cwd)["artifacts"]:
        if "float" in artifact["precision"]:
            for run in artifact["runs"]:
                assert run["parity"]["top1_agreement"] == 1.0, (artifact["id"], run["protocol"])
    logits = np.load(cwd / "runs/digits/stages/measure/logits.npz", allow_pickle=False)
    left, right = (logits[f"train.{name}.int8"].argmax(axis=1) for name in ("tflite", "onnx"))
    assert (left == right).mean() >= 0.995


def test_run_folder_has_the_promised_files(first: Any, cwd: Path) -> None:  # noqa: ARG001
    folder = cwd / "runs/digits"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "recipe.yaml", "log.txt", "stages", "artifacts", "forecast.json", "report.json", "report.html",
        ".modelmill.lock",
    }  # fmt: skip
    assert (folder / "artifacts/train.saved_model.float32/1/saved_model.pb").exists()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in ALL)
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert len(page) < 3_000_000
    found = report(cwd)
    assert {answers["of"] for answers in found["tested"]["answers"]} >= {"train.keras", found["final"]}
    assert page.count('src="data:image/png;base64,') == 16
    assert found["folder"] == "runs/digits"
    assert "modelmill run runs/digits/recipe.yaml" in re.sub("</?span>", "", page)


def test_command_on_the_page_makes_the_run_again_and_reuses_it(first: Any, cwd: Path) -> None:
    folder = cwd / "runs/digits"
    line = next(item.line for item in commands.commands(Report.model_validate(report(cwd))))
    before = (folder / "recipe.yaml").read_text(encoding="utf-8")
    assert shlex.split(line)[0] == "modelmill"
    again = modelmill(*shlex.split(line)[1:], cwd=cwd)
    assert again.returncode == first.returncode, again.stderr
    assert set(statuses(cwd)) == {"reused"}
    assert (folder / "recipe.yaml").read_text(encoding="utf-8") == before


def test_chatter_of_the_libraries_goes_to_the_log(first: Any, cwd: Path) -> None:
    assert "tensorflow" in (cwd / "runs/digits/log.txt").read_text(encoding="utf-8", errors="replace").lower()
    for word in ("oneDNN", "WARNING", "TensorFlow Lite", "Traceback"):
        assert word not in first.stdout + first.stderr


def test_plain_output_has_no_control_characters_when_not_on_a_terminal(first: Any) -> None:
    assert "\x1b" not in first.stdout + first.stderr
    assert re.search(r"^train: runs, nothing is stored for it yet$", first.stderr, re.M)


def at_once(arguments: list[str], cwd: Path) -> int:
    """Run in under 3 s and without TensorFlow; returns the exit code."""
    script = (
        "import sys; from pipeline.cli import main\ntry: main()\n"
        "except SystemExit as stop: print(sorted({'tensorflow', 'tf_keras', 'sklearn'} & set(sys.modules)), stop.code)"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - started
    heavy, _, code = done.stdout.splitlines()[-1].rpartition(" ")
    assert heavy == "[]", done.stdout + done.stderr
    assert seconds < 3
    return int(code)


def test_second_run_reuses_everything_at_once(first: Any, cwd: Path) -> None:  # noqa: ARG001
    assert at_once(ARGUMENTS, cwd) == 0
    assert statuses(cwd) == ["reused"] * 3


def test_changed_limit_measures_nothing_again_and_decides_anew(first: Any, cwd: Path) -> None:  # noqa: ARG001
    assert at_once([*ARGUMENTS, "--set", "judge={gates: {min_size_ratio: 1000}}"], cwd) == 1
    found = report(cwd)
    assert found["verdict"] == "fail"
    assert statuses(cwd) == ["reused"] * 3
    (gate,) = found["gates"]
    assert (gate["name"], gate["artifact"], gate["passed"]) == ("min_size_ratio", "train.tflite.int8", False)
    assert "limit at least 1000: the whole interval misses it; try a smaller model" in gate["message"]
    assert modelmill(*ARGUMENTS, cwd=cwd).returncode == 0


def test_json_prints_events_and_the_verdict_and_nothing_else(first: Any, cwd: Path) -> None:  # noqa: ARG001
    done = modelmill(*ARGUMENTS, "--json", cwd=cwd)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    # the note says which target serves, and why
    assert [event["event"] for event in events] == ["note"] + ["stage_reused"] * 3 + ["finished"]
    assert events[-1] == {
        "event": "finished", "verdict": "pass", "exit_code": 0, "report": "runs/digits/report.json"
    }  # fmt: skip
    assert done.stderr == ""


def test_verdict_is_kept_when_nobody_reads_the_table_to_its_end(first: Any, cwd: Path) -> None:  # noqa: ARG001
    command = f"{sys.executable} -m pipeline {shlex.join(ARGUMENTS)} | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=cwd, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1), done.stderr


def test_quiet_prints_nothing(first: Any, cwd: Path) -> None:  # noqa: ARG001
    done = modelmill(*ARGUMENTS, "--quiet", cwd=cwd)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_show_prints_the_report_again(first: Any, cwd: Path) -> None:  # noqa: ARG001
    done = modelmill("show", "digits", cwd=cwd)
    assert "verdict: pass" in done.stdout
    assert json.loads(modelmill("show", "digits", "--json", cwd=cwd).stdout) == report(cwd)


def test_gc_keeps_a_run_and_removes_it_when_its_folder_is_gone(first: Any, cwd: Path) -> None:  # noqa: ARG001
    assert "0 entries" in modelmill("gc", cwd=cwd).stdout
    other = modelmill("train", "digits", "--set", "train.epochs=3", "--out", "runs/other", cwd=cwd)
    assert other.returncode == 0, other.stderr
    assert report(cwd, "other")["verdict"] == "incomplete"
    subprocess.run(["rm", "-r", "runs/other"], cwd=cwd, check=True)
    done = modelmill("gc", "--json", cwd=cwd)
    (name,) = json.loads(done.stdout)["removed"]
    assert name.startswith("train-")
    assert modelmill(*ARGUMENTS, "--quiet", cwd=cwd).returncode == 0
    assert statuses(cwd) == ["reused"] * 3
