"""What doctor foresees of every architecture, held against what a run then makes of it: each stage and each file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from models import MODELS
from tests.end_to_end.command import modelmill
from tests.pipeline.doctor import cases


def test_every_architecture_is_a_case() -> None:
    assert {model.get("architecture") for model, _ in cases.CASES.values()} >= set(MODELS)


@pytest.mark.parametrize(
    "name", [*cases.QUICK, *(pytest.param(name, marks=pytest.mark.long) for name in cases.LONG)]
)  # fmt: skip
def test_what_is_foreseen_is_what_then_happens(name: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(cases.recipe(name, tmp_path)), encoding="utf-8")
    done = modelmill("run", "recipe.yaml", "--out", "out", cwd=tmp_path)
    report: dict[str, Any] = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["failure"] is None, done.stderr
    (line,) = report["forecast"]["lines"]
    assert line["problems"] == []
    assert report["unforeseen"] == []
    # the same, without what compares them: layer by layer and file by file
    made = {model["stage"]: model for model in report["models"] if not model["variant"]}
    for stage in line["stages"]:
        layers = {layer["name"]: layer for layer in made[stage["stage"]]["layers"]}
        assert [layer["name"] for layer in stage["layers"]] == list(layers)
        for layer in stage["layers"]:
            has = layers[layer["name"]]
            if stage["stage"] == "prune":
                assert (has["sparsity"] is not None and has["sparsity"] > 0.4) == (layer["how"] == "yes"), layer
            if stage["stage"] == "quantize":
                assert has["precision"].startswith("int8" if layer["how"] == "yes" else "float32"), layer
    files = {one["id"]: one for one in line["files"]}
    assert list(files) == [one["id"] for one in report["artifacts"]]
    for one in report["artifacts"]:
        assert bool(one["error"]) == bool(files[one["id"]]["refused"]), one
    int8 = [one for one in report["artifacts"] if one["id"].endswith("tflite.int8") and not one["error"]]
    for one in int8:
        if not files[one["id"]]["floating"]:
            assert one["operators"]["floating"] == 0
    # the verdict fails where a file that was asked for cannot be made, as doctor says with exit 1
    assert done.returncode == (1 if any(one["refused"] and not one["optional"] for one in files.values()) else 0)
