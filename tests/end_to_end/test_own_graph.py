"""A recipe that starts from a SavedModel folder without Keras in it: exported, measured, and never trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import legacy_keras
from tests.end_to_end.command import modelmill, report, statuses
from tests.pipeline.formats.plain.graphs import graph

RECIPE = """
name: graph
data: {source: digits}
model: {path: given}
export: {}
measure: {resamples: 100, latency: {min_block_ms: 10, batch_min_block_ms: 10}}
serving: null
"""


@pytest.mark.long
def test_graph_is_exported_in_every_format_and_agrees_with_itself(tmp_path: Path) -> None:
    legacy_keras.load()
    graph(tmp_path / "given", lambda logits: logits)
    (tmp_path / "graph.yaml").write_text(RECIPE, encoding="utf-8")
    done = modelmill("run", "graph.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "import: it holds a graph without Keras layers; it can be exported, served and measured" in done.stderr
    assert "import: 2 of 2 weights equal the folder's" in done.stderr
    found = report(tmp_path, "graph")
    assert [one["id"].removeprefix("import.") for one in found["artifacts"]] == [
        "saved_model.float32", "tflite.float32", "tflite.float16", "tflite.dynamic-int8", "tflite.int8",
        "onnx.float32", "onnx.int8",
    ]  # fmt: skip
    assert found["reference"] == "import.saved_model.float32"
    assert (found["models"][0]["parameters"], found["models"][0]["macs"]) == (650, None)
    for artifact in found["artifacts"]:
        assert (artifact["error"], artifact["parameters"], artifact["macs"]) == (None, 650, None), artifact["id"]
        parity = artifact["runs"][0]["parity"]
        assert parity["samples"] == 359
        assert parity["top1_agreement"] > 0.95, artifact["id"]
        if artifact["precision"] == "float32":
            assert parity["max_abs_error"] < 1e-3, artifact["id"]
    assert "unknown" in (tmp_path / "runs/graph/report.html").read_text("utf-8")
    done = modelmill("run", "graph.yaml", cwd=tmp_path)
    assert statuses(tmp_path, "graph") == ["reused"] * 3


@pytest.mark.parametrize(("verb", "section"), [("prune", "prune"), ("quantize", "quantize")])
def test_step_that_needs_layers_is_refused_before_anything_runs(tmp_path: Path, verb: str, section: str) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given/saved_model.pb").write_bytes(b"")
    done = modelmill(verb, "--model", "given", "--data", "digits", "--out", "small", cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"{section}: the SavedModel given holds a graph and no Keras layers, which {section} needs" in done.stderr
    assert not (tmp_path / "small").exists()
