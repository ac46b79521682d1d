"""What the recipes for spam among text messages promise, over five seeds, on data that lies outside of this project."""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path

import pytest

from tests.end_to_end.command import modelmill, options

# what is measured is how often they are right: one file, in process
QUICK = [
    "serving=null", "export.onnx=[]", "export.tflite=[dynamic-int8]",
    "judge={final: train.tflite.dynamic-int8, gates: {min_size_ratio: 2}}",
    "measure.latency={min_block_ms: 10, batch_min_block_ms: 10, percentile: 0.5, batch_percentile: 0.5}",
]  # fmt: skip


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.skipif("MODELMILL_TEST_SMS" not in os.environ, reason="MODELMILL_TEST_SMS names no sms_spam.tsv")
@pytest.mark.parametrize("recipe", ["sms-spam", "sms-spam-lstm"])
def test_spam_is_found_with_an_f1_of_93_percent_in_the_mean_of_five_seeds(recipe: str, tmp_path: Path) -> None:
    sets = options([*QUICK, f"data.path={os.environ['MODELMILL_TEST_SMS']}"])
    found: dict[str, list[float]] = {}
    for seed in range(5):
        done = modelmill("run", recipe, *sets, "--set", f"seed={seed}", cwd=tmp_path, timeout_s=1800)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "in the training split too" not in done.stderr
        written = json.loads((tmp_path / "runs" / recipe / "report.json").read_text(encoding="utf-8"))
        assert written["baseline"]["name"] == "TF-IDF and a linear SVM"
        files = {item["id"]: item["runs"][0] for item in written["artifacts"]}
        beside = {name: files[written[name]] for name in ("reference", "final")} | {"baseline": written["baseline"]}
        for name, one in beside.items():
            assert one["judged"] == ["f1.spam"]
            found.setdefault(name, []).append(one["metrics"]["f1.spam"]["value"])
        print(f"{recipe}, seed {seed}: " + ", ".join(f"{name} {values[-1]:.4f}" for name, values in found.items()))
    means = {name: statistics.mean(values) for name, values in found.items()}
    print(f"{recipe}, means: " + ", ".join(f"{name} {value:.4f}" for name, value in means.items()), flush=True)
    assert means["reference"] >= 0.93
    assert means["final"] >= 0.93
