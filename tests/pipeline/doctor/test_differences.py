"""What is told where a run made something else than was foreseen: nothing may pass unseen."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pipeline.doctor.differences import decided, differences
from pipeline.report.document import Artifact
from pipeline.report.forecast import Forecast
from pipeline.report.model import Model

FATE = {"kind": "Dense", "parameters": 10, "macs": 10}
FORECAST = {
    "stages": [
        {"stage": "train", "parameters": 20, "macs": 20, "layers": []},
        {"stage": "shrink", "parameters": 20, "macs": 20, "about": True, "layers": [
            FATE | {"name": "a", "how": "yes"}, FATE | {"name": "b", "how": "whole", "reason": "it goes out"}]},
        {"stage": "prune", "parameters": 20, "macs": 20, "about": True, "layers": [
            FATE | {"name": "a", "how": "yes", "made": "80% zeros"},
            FATE | {"name": "b", "how": "dense", "reason": "too small"}]},
        {"stage": "quantize", "parameters": 20, "macs": 20, "about": True, "layers": [
            FATE | {"name": "a", "how": "yes", "made": "int8"},
            FATE | {"name": "b", "how": "float", "reason": "no"}]},
    ],
    "files": [
        {"id": "quantize.tflite.int8", "floating": ["b"], "bytes": 1000, "gzip_bytes": 500},
        {"id": "quantize.onnx.int8", "refused": "no converter"},
    ],
}  # fmt: skip
HISTOGRAM = {"low": 0, "high": 1, "counts": [1], "zeros": 0}
LAYER = {"kind": "Dense", "parameters": 10, "macs": 10, "sparsity": 0.0, "histogram": HISTOGRAM}


def made() -> dict[str, Any]:
    model = {"parameters": 21, "macs": 21, "sparsity": 0, "bytes": 1, "gzip_bytes": 1}
    a, b = LAYER | {"name": "a"}, LAYER | {"name": "b"}
    groups = [{"name": "a", "layers": ["a"], "before": 8, "after": 4},
              {"name": "b", "layers": ["b"], "before": 8, "after": 8, "reason": "it goes out"}]  # fmt: skip
    return {
        "train": model | {"stage": "train", "parameters": 20, "macs": 20},
        "shrink": model | {"stage": "shrink", "layers": [a, b], "channels": groups},
        "prune": model | {"stage": "prune", "layers": [a | {"target": 0.8}, b | {"reason": "too small"}]},
        "quantize": model | {"stage": "quantize", "layers": [a | {"precision": "int8"}, b | {"reason": "no"}]},
    }


def files() -> dict[str, Any]:
    facts = {"stage": "quantize", "precision": "int8", "path": None}
    operators = {"integer": 3, "floating": 1}
    return {
        "tflite": facts | {"id": "quantize.tflite.int8", "format": "tflite", "bytes": 1100, "gzip_bytes": 700,
                           "operators": operators},
        "onnx": facts | {"id": "quantize.onnx.int8", "format": "onnx", "error": "the converter refuses it"},
    }  # fmt: skip


def told(models: dict[str, Any], artifacts: dict[str, Any]) -> list[str]:
    forecast = Forecast.model_validate({"lines": [FORECAST]})
    return differences(
        forecast, [Model.model_validate(one) for one in models.values()],
        [Artifact.model_validate(one) for one in artifacts.values()],
    )  # fmt: skip


def test_nothing_is_told_where_all_came_as_it_was_foreseen() -> None:
    assert told(made(), files()) == []


def test_float_layer_that_is_stored_in_half_is_still_float() -> None:
    models = made()
    models["quantize"]["layers"][1] |= {"precision": "float16"}
    assert told(models, files()) == []


def told_open(models: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return what is no difference, and what was decided, where sensitivity decides of a and shrink of how many."""
    opened = copy.deepcopy(FORECAST)
    shrink, prune, quantize = opened["stages"][1:]  # type: ignore[index]
    shrink["layers"][0]["decided_by"] = ["shrink"]
    for stage in (prune, quantize):
        stage["layers"][0]["decided_by"] = ["sensitivity"]
    forecast = Forecast.model_validate({"lines": [opened]})
    made = [Model.model_validate(one) for one in models.values()]
    return differences(forecast, made, []), decided(forecast, made)


def test_layer_that_sensitivity_left_out_is_no_difference_and_told_as_decided() -> None:
    models = made()
    why = "by itself it loses 12.0 points at 80 % zeros (exclude: auto)"
    models["prune"]["layers"][0] = LAYER | {"name": "a", "reason": why}
    unforeseen, found = told_open(models)
    assert unforeseen == []
    assert f"prune: a is left out: {why}" in found
    assert "quantize: exclude: auto leaves no layer out" in found
    assert "shrink: channels that stay: 4 of 8 in a" in found
    assert "shrink: 21 parameters, foreseen were about 20" in found


def test_layer_that_only_shrink_could_decide_of_is_told_with_its_reason() -> None:
    models, opened = made(), copy.deepcopy(FORECAST)
    opened["stages"][2]["layers"][0]["decided_by"] = ["shrink"]  # type: ignore[index]
    forecast = Forecast.model_validate({"lines": [opened]})
    models["prune"]["layers"][0] = LAYER | {"name": "a", "reason": "its 3 inputs are no multiple of 4"}
    came = [Model.model_validate(one) for one in models.values()]
    assert differences(forecast, came, []) == []
    assert "prune: a stays dense: its 3 inputs are no multiple of 4" in decided(forecast, came)
    assert "prune: the pattern fits a" in decided(forecast, [Model.model_validate(one) for one in made().values()])


@pytest.mark.parametrize(
    ("stage", "change", "words"),
    [
        ("prune", {"layers": [LAYER | {"name": "a"}, LAYER | {"name": "b", "reason": "too small"}]},
         "prune: a was not worked on, foreseen was yes"),
        ("prune", {"layers": [LAYER | {"name": "a", "target": 0.8}, LAYER | {"name": "b", "target": 0.8}]},
         "prune: b was worked on, foreseen was dense (too small)"),
        ("prune", {"layers": [LAYER | {"name": "a", "target": 0.8}, LAYER | {"name": "b", "reason": "else"}]},
         "prune: b was left for another reason: else; foreseen was: too small"),
        ("prune", {"layers": [LAYER | {"name": "a", "target": 0.8}]}, "prune: other layers than were foreseen: b"),
        ("quantize", {"layers": [LAYER | {"name": "a", "precision": "int8 per-channel"},
                                 LAYER | {"name": "b", "reason": "no"}]},
         "quantize: a computes in int8 per-channel, foreseen was int8"),
        ("shrink", {"channels": [{"name": "b", "layers": ["b"], "before": 8, "after": 4}]},
         "shrink: b lost channels, foreseen was whole"),
        ("shrink", {"channels": [{"name": "a", "layers": ["a"], "before": 8, "after": 8, "reason": "no"}]},
         "shrink: the channels of a stay, foreseen was yes"),
        ("train", {"parameters": 21}, "train: 21 parameters, foreseen were 20"),
        ("shrink", {"macs": 100}, "shrink: 100 MACs, foreseen were about 20"),
    ],
)  # fmt: skip
def test_difference_in_a_stage_is_told(stage: str, change: dict[str, Any], words: str) -> None:
    models = made()
    models[stage] = models[stage] | change
    assert words in told(models, files())


@pytest.mark.parametrize(
    ("form", "change", "words"),
    [
        ("tflite", {"error": "it died"}, "quantize.tflite.int8: it died; foreseen was: it can be made"),
        ("onnx", {"error": None}, "quantize.onnx.int8: it was made; foreseen was: no converter"),
        ("tflite", {"batch": 1}, "quantize.tflite.int8: it takes 1 samples at once, foreseen was any number"),
        ("tflite", {"bytes": 2100}, "quantize.tflite.int8: 2100 bytes, foreseen were about 1000"),
        ("tflite", {"operators": {"integer": 3, "floating": 0}},
         "quantize.tflite.int8: every operator computes in integers, foreseen were layers that stay float"),
    ],
)  # fmt: skip
def test_difference_in_a_file_is_told(form: str, change: dict[str, Any], words: str) -> None:
    artifacts = files()
    artifacts[form] = artifacts[form] | change
    assert told(made(), artifacts) == [words]


def test_failure_of_the_moment_is_no_difference() -> None:
    artifacts = files()
    artifacts["tflite"] |= {"error": "out of memory", "transient": True}
    assert told(made(), artifacts) == []
