"""What trials are compared by, and how much of a recipe they run."""

from __future__ import annotations

import pytest

from pipeline import recipe as recipes
from pipeline.errors import InputError, RunError
from pipeline.recipe import Recipe
from pipeline.report import document
from pipeline.report.document import Report
from pipeline.tune import objectives
from tests.pipeline.tune.searching import report


def recipe(*overrides: str, name: str = "digits") -> Recipe:
    return recipes.load(name, [*overrides])


def test_quality_is_that_of_the_last_model_on_the_validation_split_and_needs_no_files() -> None:
    found = objectives.aim(recipe())
    assert (found.key, found.directions(), found.until) == ("val_accuracy", ["maximize"], "quantize")
    assert found.values(recipe(), report(recipe(), 0.75)) == [0.75]
    assert objectives.aim(recipe("quantize=null", "judge=null", "export=null")).until == "prune"


def test_metric_of_which_less_is_better_is_minimized() -> None:
    found = objectives.aim(recipe("data.metric=mae", name="diabetes"))
    assert (found.key, found.directions()) == ("val_mae", ["minimize"])


def test_size_needs_the_files_and_latency_the_measurements() -> None:
    size = objectives.aim(recipe("tune={objectives: [quality, size]}"))
    assert (size.until, size.directions()) == ("export", ["maximize", "minimize"])
    both = objectives.aim(recipe("tune={objectives: [latency, size]}"))
    assert (both.until, both.runtime) == ("measure", "litert")
    assert both.artifact is not None
    assert both.artifact.id == "quantize.tflite.int8"


@pytest.mark.parametrize(
    ("runtime", "artifact"),
    [
        ("litert", "quantize.tflite.int8"),
        ("onnxruntime", "quantize.onnx.int8"),
        ("tensorflow", "prune.saved_model.float32"),
        ("served", "prune.saved_model.float32"),
    ],
)
def test_trial_makes_and_measures_no_more_files_than_its_objectives_need(runtime: str, artifact: str) -> None:
    device = "edge.profile=cortex-m55-ethos-u55-128"
    whole = recipe(f"tune={{objectives: [quality, latency], runtime: {runtime}}}", device)
    found = objectives.aim(whole)
    assert found.artifact is not None
    assert found.artifact.id == artifact
    lean = objectives.of_trial(whole, found)
    assert artifact in [item.id for item in lean.plan()]
    assert len(lean.plan()) < len(whole.plan()) / 2
    assert (lean.judge, lean.edge, lean.tune) == (None, None, None)
    assert (lean.serving is not None) == (runtime == "served")


def test_trial_of_quality_alone_trains_what_an_ordinary_run_trains() -> None:
    whole = recipe()
    lean = objectives.of_trial(whole, objectives.aim(whole))
    assert lean == whole.model_copy(update={"judge": None, "tune": None})


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["judge=null", "export=null", "tune={objectives: [size]}"], "no export"),
        (["judge=null", "measure=null", "tune={objectives: [latency]}"], "no measure"),
        (["judge=null", "export.onnx=[]", "tune={objectives: [latency], runtime: onnxruntime}"], "exports nothing for"),
    ],
)
def test_objective_that_the_recipe_cannot_measure_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        objectives.aim(recipe(*overrides))
    assert said in str(caught.value)


def test_file_that_could_not_be_made_fails_the_trial_with_its_reason() -> None:
    whole = recipe("tune={objectives: [size]}")
    found = objectives.aim(whole)
    item = {"id": "quantize.tflite.int8", "stage": "quantize", "format": "tflite", "precision": "int8"}

    def made(**more: object) -> Report:
        return report(whole, 0.5).model_copy(update={"artifacts": [document.Artifact.model_validate(item | more)]})

    assert found.values(whole, made(gzip_bytes=1234)) == [1234.0]
    with pytest.raises(RunError, match="no converter for it"):
        found.values(whole, made(error="no converter for it"))
