"""A table with a category goes the whole line, and its int8 file in LiteRT knows small columns as Keras does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import mlp
from pipeline.data import DataConfig
from pipeline.isolate import Child
from tests.models import line
from tests.models.line import Case

# what is calibrated on few rows saturates at their extremes
SHARES = {"train": 0.5, "validation": 0.15, "calibration": 0.15, "test": 0.2}


def write(path: Path, rows: int = 600) -> DataConfig:
    """Write rows whose class is told by a large column, a small one and a category together."""
    random = np.random.default_rng(0)
    large, small = random.uniform(0, 50_000, rows), random.uniform(0, 0.1, rows)
    color = random.choice(["red", "green", "blue"], rows)
    kind = (large / 50_000 + small * 10 + (color == "red") > 1.3).astype(int)
    lines = [
        f"{large[row]:.1f},{color[row]},{small[row]:.5f},{('low', 'high')[kind[row]]}" for row in range(rows)
    ]  # fmt: skip
    path.write_text("\n".join(["income,color,share,kind", *lines]) + "\n", encoding="utf-8")
    return DataConfig.model_validate(
        {"source": "table", "path": str(path), "table": {"target": "kind"}} | {"split": SHARES}
    )


@pytest.mark.parametrize("quantize", [True, pytest.param(False, marks=pytest.mark.long)], ids=["trained", "calibrated"])
def test_int8_files_of_a_table_answer_as_keras_does(quantize: bool, tmp_path: Path) -> None:
    case = Case(mlp.Config(dense=(32,)), write(tmp_path / "a.csv"), quantize=quantize, epochs=12)
    with Child(deadline_s=300, memory_mb=None, threads=1, log=tmp_path / "log.txt") as child:
        made = child.call(line.go, case, tmp_path)
    stage = "quantize" if quantize else "prune"
    assert made.artifacts[f"{stage}.tflite.int8"].operators.floating_names == {"MUL": 1, "ADD": 1}
    for name, answers in made.answers.items():
        expected = made.expected[name.split(".")[0]]["logits"]
        agree = float((answers["logits"].argmax(axis=1) == expected.argmax(axis=1)).mean())
        error = float(np.abs(answers["logits"] - expected).max() / np.abs(expected).max())
        print(f"{name}: largest error {error:.1e} of the largest answer, {agree:.1%} agree")
        assert error < (1e-4 if name.endswith("float32") else 0.1), name
        assert agree >= 0.95, name
