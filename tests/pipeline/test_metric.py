from __future__ import annotations

import pytest

from pipeline import metric

SOME = [
    "accuracy",
    "balanced_accuracy",
    "f1",
    "f1_weighted",
    "f1.ham",
    "roc_auc",
    "top_5_accuracy",
    "r2",
    "mse",
    "mae.1",
]


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("head", ["", "digit", "two_words"])
def test_key_is_told_apart_into_head_and_metric(head: str, name: str) -> None:
    found, one = metric.of_key(f"{head}_{name}" if head else name)
    assert (found, one.name) == (head, name)


def test_key_that_names_no_metric_is_refused() -> None:
    for key in ("accuracy_drop", "loss", "parameters", "log_loss.ham", "f1."):
        with pytest.raises(KeyError):
            metric.of_key(key)


def test_worse_is_a_loss_whichever_way_is_better() -> None:
    accuracy, error = metric.METRICS["accuracy"], metric.METRICS["mae"]
    assert accuracy.lost(0.9, 0.8) == pytest.approx(0.1)
    assert error.lost(2.5, 3.0) == pytest.approx(0.5)
    assert accuracy.worth(0.9) > accuracy.worth(0.8)
    assert error.worth(2.5) > error.worth(3.0)


@pytest.mark.parametrize(
    ("name", "value", "text", "shown"),
    [
        ("accuracy", 0.97216, "97.2 %", "97.22%"),
        ("f1", 0.97216, "97.2 %", "F1 97.22%"),
        ("f1.ham", 0.5, "50.0 %", "F1 of ham 50.00%"),
        ("roc_auc", 0.97216, "0.9722", "ROC AUC 0.9722"),
        ("r2", 0.43117, "0.4312", "R2 0.4312"),
        ("mse", 2859.29, "2859", "mean squared error 2859"),
        ("mae.1", 0.01234, "0.01234", "mean absolute error of value 1 0.01234"),
        ("top_3_accuracy", 1, "100.0 %", "top-3 accuracy 100.00%"),
    ],
)
def test_values_are_written_as_the_metric_is(name: str, value: float, text: str, shown: str) -> None:
    found = metric.find(name)
    assert found is not None
    assert (found.text(value), found.shown(value)) == (text, shown)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("f1", 0.0123, "+1.2 points"), ("mse", 0.0123, "+0.0123"), ("r2", -0.00001, "+0.0 points")],
)
def test_differences_are_in_points_or_in_the_metrics_own_unit(name: str, value: float, said: str) -> None:
    one = metric.METRICS[name]
    assert f"{one.difference(value, signed=True)}{one.step}" == said


@pytest.mark.parametrize(
    ("name", "task", "said"),
    [
        ("f2", None, "there is no metric 'f2'; there are accuracy, balanced_accuracy, precision,"),
        ("mae", "classification", "'mae' is no metric of a classification; there are accuracy, balanced_accuracy,"),
        ("accuracy", "regression", "'accuracy' is no metric of a regression; there are r2, mse, mae, r2.VALUE,"),
        ("roc_auc.ham", "classification", "'roc_auc.ham' is no metric of a classification"),
        ("f1.eggs", "classification", "'f1.eggs' is of the class eggs, and there are ham, spam"),
        ("top_2_accuracy", "classification", "'top_2_accuracy' needs more than 2 classes, and there are 2"),
        ("mae.2", "regression", "'mae.2' is of the value 2, and there are values 0 to 1"),
        ("mae.first", "regression", "'mae.first' is of the value first, and there are values 0 to 1"),
    ],
)
def test_metric_that_cannot_be_is_refused_with_what_there_is(name: str, task: str | None, said: str) -> None:
    found = metric.problem(name, task, ("ham", "spam"), 2)
    assert found is not None
    assert found.startswith(said)


@pytest.mark.parametrize("task", list(metric.DEFAULTS))
def test_every_task_is_judged_by_a_metric_of_its_own(task: str) -> None:
    assert metric.problem(metric.DEFAULTS[task], task) is None
    for name in metric.names(task):
        if not name.endswith((".CLASS", ".VALUE")):
            assert metric.problem(name, task) is None, name
