"""The recipe of each fold, and what the folds' reports say together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pipeline import cross_validation, data
from pipeline import recipe as recipes
from pipeline.errors import InputError
from pipeline.report import folds as document
from pipeline.report.document import Report
from pipeline.report.model import Interval, Model

RECIPE = recipes.load("digits-mlp")


def report(*accuracies: float | None, status: str = "run", **more: float) -> Report:
    """Return the report of a fold, 40 samples to train on and 30 to test: train, prune, ... with these accuracies."""
    stages = ("train", "prune", "quantize")[: len(accuracies)]
    models = [
        Model(
            stage=name, judged=["accuracy"], parameters=1, macs=1, sparsity=0, bytes=1, gzip_bytes=1,
            metrics={
                key: Interval(value=found, low=0, high=1)
                for key, found in ({"accuracy": value, "accuracy_drop": 0.5} | more).items()
                if found is not None
            },
        )
        for name, value in zip(stages, accuracies, strict=True)
    ]  # fmt: skip
    told = [{"name": name, "status": status} for name in stages]
    told += [{"name": "export", "status": "skipped"}]
    told += [{"name": "measure", "status": status, "metrics": {"test_samples": 30}}]
    known = {"source": "digits", "inputs": {}, "outputs": [], "by": "random",
             "splits": {"train": {"samples": 40}, "test": {"samples": 30}}}  # fmt: skip
    return Report.model_validate(
        {"modelmill": "0", "recipe": "digits-mlp", "seed": 0, "verdict": "incomplete", "stages": told, "models": models,
         "machine": {}, "data": known}
    )  # fmt: skip


def together(tmp_path: Path, *reports: Report, apart: int = 0) -> Any:
    folders = [tmp_path / f"fold-{place}" for place in range(1, len(reports) + 1)]
    divided = cross_validation.fold_recipes(RECIPE, len(reports), "random")
    return cross_validation.together(RECIPE, divided, reports, folders, apart)


def test_recipe_of_a_fold_is_the_same_but_for_the_split_and_what_comes_after_the_models() -> None:
    found = cross_validation.fold_recipes(RECIPE, 3)
    assert [one.data.split.fold.model_dump() for one in found if one.data.split.fold] == [
        {"index": place, "of": 3} for place in range(3)
    ]
    for one in found:
        assert (one.export, one.serving, one.judge) == (None, None, None)
        assert one.measure is not None
        assert one.data.split.by == "stratified"
        same = {"name", "seed", "model", "train", "distill", "shrink", "prune", "quantize"}
        wanted = RECIPE.model_dump(include=same)
        for stage in ("prune", "quantize"):  # see below
            wanted[stage]["on_regression"] = "continue"
        assert one.model_dump(include=same) == wanted
        ours, theirs = one.data.model_dump(), RECIPE.data.model_dump()
        assert {key for key in ours if ours[key] != theirs[key]} == {"split"}


def test_stage_that_loses_much_ends_no_fold() -> None:
    recipe = recipes.load("digits-mlp", ["quantize.on_regression=keep_best"])
    fold, _ = cross_validation.fold_recipes(recipe, 2)
    assert recipe.prune is not None and recipe.prune.on_regression == "stop"
    assert fold.prune is not None and fold.prune.on_regression == "continue"
    assert fold.quantize is not None and fold.quantize.on_regression == "keep_best"  # that the recipe asked for


def test_how_the_test_split_is_answered_is_the_recipes_and_its_latencies_are_of_no_matter() -> None:
    changed = recipes.load("digits-mlp", ["measure.batch_size=7", "measure.resamples=123"])
    slower = recipes.load(
        "digits-mlp", ["measure.batch_size=7", "measure.resamples=123", "measure.latency.percentile=0.5"]
    )
    (one, _), (other, _) = (cross_validation.fold_recipes(recipe, 2) for recipe in (changed, slower))
    assert one.measure is not None
    assert (one.measure.batch_size, one.measure.resamples) == (7, 123)
    assert one == other


def test_recipe_without_a_section_measure_is_measured_all_the_same() -> None:
    plain = recipes.load("digits-mlp", ["measure=null", "judge=null"])
    assert all(one.measure is not None for one in cross_validation.fold_recipes(plain, 2))


def test_recipe_with_a_device_has_folds_without_one() -> None:
    found = cross_validation.fold_recipes(recipes.load("digits-mlp", ["edge.profile=esp32-s3"]), 2)
    assert [(one.edge, one.export) for one in found] == [(None, None)] * 2


@pytest.mark.parametrize("by", ["stratified", "random", "content"])
def test_every_sample_is_tested_on_once_and_the_rest_is_divided_in_proportion(by: str) -> None:
    divided = [data.load(one.data) for one in cross_validation.fold_recipes(RECIPE, 3, by)]
    tested = np.concatenate([splits.test.x for splits in divided])
    whole = np.sort(tested.reshape(len(tested), -1).sum(axis=1))
    plain = data.load(RECIPE.data)
    every = np.concatenate([part.x for part in (plain.train, plain.validation, plain.calibration, plain.test)])
    assert np.array_equal(whole, np.sort(every.reshape(len(every), -1).sum(axis=1)))
    for splits in divided:
        rest = len(splits.train) + len(splits.validation) + len(splits.calibration)
        assert len(splits.train) / rest == pytest.approx(0.60 / 0.80, abs=0.02)
        assert len(splits.validation) / rest == pytest.approx(0.15 / 0.80, abs=0.02)


@pytest.mark.parametrize(
    ("count", "by", "what", "expected"),
    [
        (1, None, "--folds 1 is impossible", "2 to 100"),
        (101, None, "--folds 101 is impossible", "2 to 100"),
        (5, "patients", "--by patients is unknown", "one of stratified, random, group, content"),
    ],
)
def test_impossible_folds_are_refused(count: int, by: str | None, what: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        cross_validation.fold_recipes(RECIPE, count, by)
    assert (caught.value.what, caught.value.expected) == (what, expected)
    assert caught.value.todo


def test_recipe_that_is_of_one_fold_is_refused() -> None:
    one = recipes.load("digits-mlp", ["data.split.fold={index: 1, of: 4}"])
    with pytest.raises(InputError, match=r"the recipe is of one fold already(.|\n)*fold 1 of 4"):
        cross_validation.fold_recipes(one, 4)


def test_stages_have_the_spread_of_their_metrics_and_differ_from_the_first_on_the_same_fold(tmp_path: Path) -> None:
    found = together(
        tmp_path,
        report(0.9, 0.8, f1=0.5, **{"f1.rain_drop": 0.4}),
        report(0.7, 0.65, f1=0.6, **{"f1.rain_drop": 0.4}),
        report(0.8, 0.8, f1=0.7, **{"f1.rain_drop": 0.4}),
    )
    train, prune = found.stages
    assert (train.stage, prune.stage, found.against) == ("train", "prune", "train")
    assert set(train.metrics) == {"accuracy", "f1", "f1.rain_drop"}  # and not what compares two models of a run
    assert train.metrics["accuracy"].values == [0.9, 0.7, 0.8]
    assert train.metrics["accuracy"].mean == pytest.approx(0.8)
    assert train.metrics["accuracy"].deviation == pytest.approx(0.1)
    assert train.differences == {}
    assert prune.differences["accuracy"].values == pytest.approx([-0.1, -0.05, 0.0])
    assert prune.differences["f1"].interval is None
    assert found.judged_by == ["accuracy"]
    assert found.others() == ["f1"]


def test_interval_is_by_the_samples_that_weights_were_learned_from(tmp_path: Path) -> None:
    found = together(tmp_path, report(0.9), report(0.7), report(0.8))
    (train,) = found.stages
    limits = train.metrics["accuracy"].interval
    assert limits.high - 0.8 == pytest.approx(stats.t.ppf(0.975, 2) * np.sqrt((1 / 3 + 30 / 40) * 0.01), abs=1e-6)
    assert [(fold.test_samples, fold.train_samples) for fold in found.folds] == [(30, 40)] * 3
    assert "1/k + tested/trained" in found.method


def test_folds_without_the_metric_that_matters_are_named_and_the_others_are_told(tmp_path: Path) -> None:
    found = together(tmp_path, report(None, None), report(0.7, 0.6), report(0.8, 0.8))
    train, prune = found.stages
    assert train.metrics["accuracy"].values == [0.7, 0.8]
    assert prune.differences["accuracy"].values == pytest.approx([-0.1, 0.0])
    (note,) = found.notes
    assert "accuracy is undefined on the test split of fold 1 of 3: what is told of it is of the other 2" in note
    none = together(tmp_path, report(None), report(None))
    assert none.stages[0].metrics == {}
    assert "of folds 1, 2 of 2: too few folds have it" in none.notes[0]
    document.write(none, tmp_path)
    assert "too few folds have it" in (tmp_path / "cv.html").read_text("utf-8")


def test_folds_are_told_with_their_folders_and_whether_anything_had_to_be_made(tmp_path: Path) -> None:
    found = together(tmp_path, report(0.9), report(0.8, status="reused"))
    assert [(fold.fold, fold.test_samples, fold.reused) for fold in found.folds] == [(1, 30, False), (2, 30, True)]
    assert found.folds[1].folder == str(tmp_path / "fold-2")
    assert (found.by, found.apart, found.notes) == ("random", 0, [])
    assert found.settings == RECIPE.model_dump(mode="json")


def test_own_test_split_of_the_data_is_said_to_be_untouched(tmp_path: Path) -> None:
    (note,) = together(tmp_path, report(0.9), report(0.8), apart=1234).notes
    assert "test split (1,234 samples) is in no fold" in note


def test_own_test_split_is_counted_and_is_in_no_fold(tmp_path: Path) -> None:
    x = np.arange(120, dtype=np.float32).reshape(60, 2)
    np.savez(tmp_path / "own.npz", x_train=x, y_train=np.arange(60) % 2, x_test=x[:14] + 1000, y_test=np.arange(14) % 2)
    config = data.DataConfig(source="npz", path=str(tmp_path / "own.npz"))
    assert data.own_test(config) == 14
    assert data.own_test(RECIPE.data) == 0
    recipe = recipes.load("digits-mlp", [f"data={{source: npz, path: {tmp_path / 'own.npz'}}}"])
    for one in cross_validation.fold_recipes(recipe, 2):
        splits = data.load(one.data)
        assert len(splits.test) == 30
        assert max(float(part.x.max()) for part in (splits.train, splits.validation, splits.test)) < 1000


def test_model_from_a_file_is_said_to_know_some_samples() -> None:
    recipe = RECIPE.model_copy(update={"model": recipes.ModelFile(path="model.keras")})
    (note,) = cross_validation.notes(recipe, 0)
    assert "The model comes from a file" in note
