"""What the recipe digits-micro promises: a file for a microcontroller with an NPU, and limits that fail a build."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.command import modelmill, options, report, statuses


@pytest.mark.long
def test_digits_on_a_microcontroller_with_an_npu_keep_their_accuracy_and_leave_nothing_to_the_cpu(
    tmp_path: Path,
) -> None:
    done = modelmill("run", "digits-micro", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    written = report(tmp_path, "digits-micro")
    edge = written["edge"]
    assert edge["artifact"] == written["final"] == "quantize.tflite.int8.int8-ends.batch1"
    for npu in edge["npus"]:
        assert (npu["on_npu"], npu["on_cpu"]) == (npu["operators"], [])
    assert {one["samples"] for one in edge["micro"]["parity"]} == {359}
    assert all(one["top1_agreement"] > 0.99 for one in edge["micro"]["parity"])
    assert edge["micro"]["arena_bytes"] < 10_000
    final = next(one for one in written["artifacts"] if one["id"] == edge["artifact"])
    assert [run["runtime"] for run in final["runs"]] == ["litert", "tflite-micro"]
    assert all(run["metrics"]["accuracy"]["value"] > 0.97 for run in final["runs"])
    assert {run["threads"] for run in final["runs"]} == {1}
    assert [run["threads"] for run in final["at_other_threads"]] == [2]
    kept = {path.name for path in (tmp_path / "runs/digits-micro/artifacts/edge").iterdir()}
    assert {"ethos-u55-128_vela.tflite", "model.h", "model.c", "model_operators.h"} <= kept
    assert [gate["name"] for gate in written["gates"] if gate["passed"]] == [
        "max_accuracy_drop", "min_parity", "max_flash_bytes", "max_arena_bytes", "max_edge_time_ms"
    ]  # fmt: skip

    # a limit that is missed fails the build, says what to do, and tries nothing again
    less = options(["edge.arena_kb=1"])
    done = modelmill("run", "digits-micro", *less, cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert set(statuses(tmp_path, "digits-micro")) == {"reused"}
    (missed,) = [gate for gate in report(tmp_path, "digits-micro")["gates"] if not gate["passed"]]
    assert missed["name"] == "max_arena_bytes"
    assert "edge.arena_kb" in missed["todo"]
