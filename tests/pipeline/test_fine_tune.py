from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import fine_tune
from pipeline.artifact import Artifact, Manifest
from pipeline.compress.distillation import Teaching
from pipeline.errors import PromiseError
from pipeline.events import Event, Note
from pipeline.fine_tune import Tuned, require_accuracy, tune
from pipeline.fit.config import FineTuning
from pipeline.fit.loop import METRICS, History
from pipeline.formats import keras_file
from pipeline.legacy_keras import load as load_keras
from pipeline.report.model import Model, read_models
from pipeline.stage import Job
from tests.pipeline.compress import tiny


def _job(folder: Path, told: list[Event] | None = None, inputs: Any = None) -> Job:
    events = [] if told is None else told
    return Job(folder / "entry", folder / "work", inputs or {}, events.append)


def _tuned(*val_accuracies: float, epoch: int) -> Tuned:
    metrics = {name: [0.0] * len(val_accuracies) for name in METRICS} | {"val_accuracy": list(val_accuracies)}
    return Tuned(History(metrics, 1), epoch)


def _config(**options: Any) -> FineTuning:
    return FineTuning.model_validate({"tensorboard": False, "batch_size": 16, **options})


def test_accuracy_is_that_of_the_epoch_whose_weights_are_kept() -> None:
    assert _tuned(0.5, 0.9, 0.7, epoch=2).quality == 0.9


def _metrics(before: float, after: float) -> dict[str, float]:
    return {"val_accuracy_before": before, "val_accuracy": after, "epoch": 3, "sparsity": 0.8}


@pytest.mark.parametrize("rule", ["stop", "keep_best", "continue"])
@pytest.mark.parametrize("after", [0.88, 0.9, 1.0])
def test_loss_within_the_bound_is_said_and_stops_nothing(rule: str, after: float) -> None:
    told: list[Event] = []
    config = _config(max_accuracy_loss=0.02, on_regression=rule)
    require_accuracy(_metrics(0.9, after), config, stage="prune", emit=told.append)
    lost = Note(
        "prune",
        f"{after:.2%} on the validation split, the model that came in had 90.00%: within prune.max_accuracy_loss of "
        f"{100 * config.max_accuracy_loss:g} points; a lower prune.optimizer.learning_rate or prune.early_stopping may "
        "keep more",
    )
    assert told == ([lost] if after < 0.9 else [])


def test_promise_is_broken_when_more_is_lost_and_the_recipe_says_stop() -> None:
    told: list[Event] = []
    with pytest.raises(PromiseError) as broken:
        require_accuracy(_metrics(0.9, 0.87), _config(max_accuracy_loss=0.025), stage="prune", emit=told.append)
    assert str(broken.value) == (
        "prune: more accuracy is lost than the recipe allows\n"
        "  expected: at most 2.5 points (prune.max_accuracy_loss)\n"
        "  found: 87.00% on the validation split, the model that came in had 90.00%\n"
        "  what to do: a milder prune, prune.teach or more prune.epochs; or take it as it is, trained already: "
        "prune.max_accuracy_loss or prune.on_regression=continue"
    )
    assert broken.value.exit_code == 4
    assert told == []


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("keep_best", "goes on with epoch 3, the best: 80.00% on the validation split, the model that came in had "),
        ("continue", "goes on all the same: 80.00% on the validation split, the model that came in had "),
    ],
)
def test_loss_is_said_when_the_recipe_goes_on(rule: str, text: str) -> None:
    told: list[Event] = []
    config = _config(max_accuracy_loss=0, on_regression=rule)
    require_accuracy(_metrics(0.9, 0.8), config, stage="quantize", emit=told.append)
    assert told == [Note("quantize", f"{text}90.00%", level="warning")]


def _tune(model: Any, folder: Path, told: list[Event] | None = None, *, from_epoch: int = 1, **options: Any) -> Tuned:
    return tune(
        _job(folder, told), model, tiny.SPLITS, _config(**options), data=tiny.DATA, seed=0, stage="prune",
        work=folder / "work", teaching=None, from_epoch=from_epoch, callbacks=_spoiling(model),
    )  # fmt: skip


def _spoiling(model: Any) -> list[Any]:
    """Make the second epoch's end the best of all, and each later one worse: biases that forbid all classes but one."""
    y = tiny.SPLITS.validation.y
    often = int(np.bincount(y).argmax())
    seldom = int(np.bincount(y).argmin())

    def spoil(epoch: int, _logs: Any) -> None:
        kernel, bias = model.get_layer("logits").get_weights()
        bias[:] = 0
        bias[often if epoch == 0 else seldom] = 1e4
        model.get_layer("logits").set_weights([kernel, bias])

    # validation comes before the end of an epoch, so what is spoilt here is seen one epoch later
    return [load_keras().callbacks.LambdaCallback(on_epoch_end=spoil)]


STILL = {"optimizer": {"name": "sgd", "learning_rate": 1e-9}, "epochs": 4}


def test_last_epoch_is_kept_when_the_recipe_does_not_ask_for_the_best(tmp_path: Path) -> None:
    tuned = _tune(tiny.cnn(), tmp_path, on_regression="continue", **STILL)
    assert tuned.epoch == 4
    assert tuned.quality == tuned.history.epochs["val_accuracy"][-1]


def test_best_epoch_by_accuracy_is_kept_when_the_recipe_says_keep_best(tmp_path: Path) -> None:
    model = tiny.cnn()
    tuned = _tune(model, tmp_path, on_regression="keep_best", **STILL)
    found = tuned.history.epochs["val_accuracy"]
    assert len(found) == 4
    assert tuned.epoch == int(np.argmax(found)) + 1
    assert tuned.epoch < 4


@pytest.mark.parametrize("options", [{"on_regression": "keep_best"}, {"early_stopping": {"monitor": "val_accuracy"}}])
def test_best_epoch_is_not_kept_when_it_is_before_the_technique_is_done(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    free = _tune(tiny.cnn(), tmp_path / "free", **options, **STILL)
    held = _tune(tiny.cnn(), tmp_path / "held", from_epoch=free.epoch + 1, **options, **STILL)
    assert held.history.epochs == free.history.epochs
    assert held.epoch > free.epoch
    assert held.quality < free.quality


def test_first_epoch_that_counts_is_the_later_of_the_recipes_and_the_techniques(tmp_path: Path) -> None:
    stopping = {"early_stopping": {"monitor": "val_accuracy", "from_epoch": 4}}
    assert _tune(tiny.cnn(), tmp_path / "recipe", from_epoch=2, **stopping, **STILL).epoch == 4
    # a technique that is done only after the last epoch leaves that one
    late = _tune(tiny.cnn(), tmp_path / "late", from_epoch=9, on_regression="keep_best", **STILL)
    assert late.epoch == 4


def test_accuracy_of_a_model_is_its_share_of_right_answers() -> None:
    model = tiny.cnn()
    kernel, _bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([0 * kernel, np.float32([0, 1, 0])])
    assert fine_tune.quality(model, tiny.SPLITS) == pytest.approx(np.mean(tiny.SPLITS.validation.y == 1))


def _artifact(folder: Path, model: Any) -> Artifact:
    keras_file.write(model, tiny.SPEC, folder)
    return Artifact(folder, Manifest(stage="x", fingerprint="0", basis={}, files={}, seconds=0, metrics={}))


def test_first_model_of_the_run_teaches_and_the_last_is_fitted_on(tmp_path: Path) -> None:
    first, second = tiny.cnn(), tiny.cnn()
    second.set_weights([2 * array for array in second.get_weights()])
    inputs = {"train": _artifact(tmp_path / "a", first), "prune": _artifact(tmp_path / "b", second)}
    assert fine_tune.last(inputs).folder == tmp_path / "b"
    assert fine_tune.teaching(inputs, _config()) is None
    more = object()
    found = fine_tune.teaching(inputs, _config(teach={"temperature": 3, "soft_weight": 0.4}), [more])
    assert found is not None
    assert (found.temperature, found.soft_weight, found.teachers[1]) == (3, 0.4, more)
    assert np.array_equal(tiny.answers(found.teachers[0]), tiny.answers(first))


def _learning(folders: list[Path]) -> fine_tune.Learn:
    """A stage that is worth 0.9 with a teacher and 0.7 without."""

    def learn(job: Job, teaching: Teaching | None) -> tuple[Model, dict[str, float]]:
        folders.append(job.folder)
        (job.folder / "model.keras").write_text("with" if teaching else "without")
        described = Model(stage="prune", parameters=3, macs=4, sparsity=0.5, bytes=5, gzip_bytes=6)
        return described, {"sparsity": 0.5, "val_accuracy": 0.9 if teaching else 0.7, "val_accuracy_before": 1.0}

    return learn


def test_stage_is_compared_with_itself_without_its_teacher(tmp_path: Path) -> None:
    folders: list[Path] = []
    job, config = _job(tmp_path), _config(teach={}, alone=True)
    job.folder.mkdir()
    found = fine_tune.compare(job, config, Teaching([object()], 4.0, 0.9), _learning(folders), stage="prune")
    assert found == {"sparsity": 0.5, "val_accuracy": 0.9, "val_accuracy_before": 1.0, "alone_val_accuracy": 0.7}
    assert folders == [job.folder, job.folder / "alone"]
    assert [model.key for model in read_models(job.folder)] == ["prune.keras", "prune.alone.keras"]
    assert (job.folder / "alone" / "model.keras").read_text() == "without"


def test_stage_is_compared_with_itself_without_what_it_does_but_with_its_teacher(tmp_path: Path) -> None:
    folders: list[Path] = []
    job, config, teacher = _job(tmp_path), _config(teach={}, alone=True), Teaching([object()], 4.0, 0.9)
    job.folder.mkdir()
    learn = _learning(folders)
    found = fine_tune.compare(job, config, teacher, learn, stage="prune", control=learn)
    assert (found["alone_val_accuracy"], found["control_val_accuracy"]) == (0.7, 0.9)
    assert folders == [job.folder, job.folder / "alone", job.folder / "control"]
    assert [model.variant for model in read_models(job.folder)] == ["", "alone", "control"]


@pytest.mark.parametrize("teaching", [None, Teaching([object()], 4.0, 0.9)], ids=["labels alone", "not asked for"])
def test_stage_learns_once_where_nothing_is_to_be_compared(teaching: Teaching | None, tmp_path: Path) -> None:
    folders: list[Path] = []
    job = _job(tmp_path)
    job.folder.mkdir()
    found = fine_tune.compare(job, _config(), teaching, _learning(folders), stage="prune")
    assert "alone_val_accuracy" not in found
    assert len(folders) == len(read_models(job.folder)) == 1


def test_alone_without_a_teacher_is_refused() -> None:
    with pytest.raises(ValueError, match="alone compares with a teacher, but teach is null: set teach, or leave"):
        _config(alone=True)


def test_what_was_learned_of_the_teacher_is_said(tmp_path: Path) -> None:
    told: list[Event] = []
    config = _config(epochs=1, teach={"features": {"method": "fitnet"}, "relations": {"angle_weight": 0}})
    inputs = {"train": _artifact(tmp_path / "a", tiny.cnn())}
    tuned = tune(
        _job(tmp_path, told, inputs), tiny.cnn(), tiny.SPLITS, config, data=tiny.DATA, seed=0, stage="prune",
        work=tmp_path / "work", teaching=fine_tune.teaching(inputs, config),
    )  # fmt: skip
    assert tuned.taught == (
        "logits (temperature 4, weight 0.9)",
        "features by fitnet (weight 1): relu from relu",
        "relations (distances weight 1): hidden from hidden",
    )
    assert Note("prune", f"learns of its teacher: {'; '.join(tuned.taught)}") in told


@pytest.mark.parametrize(
    ("metric", "before", "after", "bound", "messages"),
    [
        ("f1", 0.9, 0.87, 0.025, ("more F1 is lost", "at most 2.5 points", "F1 87.00%", "F1 90.00%")),
        ("roc_auc", 0.9, 0.87, 0.025, ("more ROC AUC is lost", "at most 2.5 points", "ROC AUC 0.8700", "0.9000")),
        ("mae", 40.0, 43.5, 3, ("the mean absolute error rose by more", "at most 3", "error 43.5", "error 40")),
    ],
)
def test_promise_is_of_what_models_are_judged_by(
    metric: str, before: float, after: float, bound: float, messages: tuple[str, ...]
) -> None:
    metrics = {"parameters": 3, f"val_{metric}_before": before, f"val_{metric}": after, "epoch": 3}
    with pytest.raises(PromiseError) as broken:
        require_accuracy(metrics, _config(max_accuracy_loss=bound), stage="prune", emit=lambda _: None)
    promise, expected, found, _ = str(broken.value).splitlines()
    assert promise == f"prune: {messages[0]} than the recipe allows"
    assert expected == f"  expected: {messages[1]} (prune.max_accuracy_loss)"
    assert messages[2] in found
    assert messages[3] in found
    told: list[Event] = []
    better = {**metrics, f"val_{metric}": before, f"val_{metric}_before": after}
    require_accuracy(better, _config(max_accuracy_loss=0), stage="prune", emit=told.append)
    assert told == []
