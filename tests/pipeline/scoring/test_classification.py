"""Against scikit-learn, on random answers; and weights against samples that are really there several times."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from sklearn import metrics as sk

from pipeline.predictor import Head
from pipeline.scoring import calibration
from pipeline.scoring.head import parts, value

CHANCE = np.random.default_rng(3)


def head(classes: int, judged: str = "") -> Head:
    return Head("classification", (classes,), tuple(f"c{i}" for i in range(classes)), judged=judged)


def case(samples: int, classes: int, strength: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    labels = CHANCE.integers(0, classes, samples)
    logits = CHANCE.normal(size=(samples, classes)).astype(np.float32)
    logits[np.arange(samples), labels] += strength
    return labels, logits.round(1)  # with ties


def every(head: Head, wanted: np.ndarray, answered: np.ndarray, weights: np.ndarray | None = None) -> dict[str, float]:
    weights = np.ones((len(wanted), 1)) if weights is None else weights
    return {
        name: float(found)
        for part in parts(head)
        for name, found in zip(part.names, part.prepare(wanted, answered)(weights)[:, 0], strict=True)
    }


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_metrics_are_scikit_learns(classes: int) -> None:
    labels, logits = case(400, classes)
    found, answers, shares = every(head(classes), labels, logits), logits.argmax(axis=1), calibration.softmax(logits)
    expected = {
        "accuracy": sk.accuracy_score(labels, answers),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, answers),
        "log_loss": sk.log_loss(labels, shares),
    }
    for ending, average in (("", "macro"), ("_weighted", "weighted")):
        for name, of in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
            expected[name + ending] = of(labels, answers, average=average, zero_division=0)
            for place, one in enumerate(of(labels, answers, average=None, zero_division=0)):
                expected[f"{name}.c{place}"] = one
    scores = np.subtract(logits[:, 1], logits[:, 0], dtype=np.float64) if classes == 2 else shares
    expected["roc_auc"] = sk.roc_auc_score(labels, scores, multi_class="ovr")
    if classes > 5:
        distinct = logits + np.linspace(1e-4, 0, classes)  # of equals the first
        expected["top_5_accuracy"] = sk.top_k_accuracy_score(labels, distinct, k=5)
    assert set(found) - {"calibration_error"} == set(expected)
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_calibration_error_is_that_of_its_definition() -> None:
    labels, logits = case(500, 4)
    shares = calibration.softmax(logits)
    sure, right = shares.max(axis=1), logits.argmax(axis=1) == labels
    total = 0.0
    for low, high in pairwise(np.linspace(0, 1, 16)):
        inside = (sure > low) & (sure <= high)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    assert value(head(4), "calibration_error", labels, logits) == pytest.approx(total)
    bins = calibration.reliability(labels, logits)
    assert sum(count for *_, count in bins) == 500
    assert sum(count * abs(one - other) for one, other, count in bins) / 500 == pytest.approx(total)


def test_a_model_that_is_always_sure_and_right_is_calibrated() -> None:
    labels = np.arange(20) % 4
    assert value(head(4), "calibration_error", labels, 1000 * np.eye(4)[labels]) == 0
    assert calibration.reliability(labels, 1000 * np.eye(4)[labels]) == [(1.0, 1.0, 20)]


def test_log_loss_of_an_impossible_label_is_bounded_as_scikit_learns() -> None:
    labels, logits = np.array([0, 1]), np.array([[-1000.0, 0.0], [0.0, 3.0]])
    expected = sk.log_loss(labels, calibration.softmax(logits))
    assert value(head(2), "log_loss", labels, logits) == pytest.approx(expected)


@pytest.mark.parametrize("classes", [2, 7])
def test_weights_count_samples_as_if_they_were_there_so_often(classes: int) -> None:
    labels, logits = case(60, classes)
    drawn = CHANCE.integers(0, 60, 60)
    weights = np.bincount(drawn, minlength=60).astype(float)[:, None]
    there, weighed = every(head(classes), labels[drawn], logits[drawn]), every(head(classes), labels, logits, weights)
    defined = {name for name, one in there.items() if not np.isnan(one)}
    assert {name: weighed[name] for name in defined} == pytest.approx({name: there[name] for name in defined})


def test_class_without_samples_has_no_metrics_of_its_own_and_counts_in_no_roc_auc() -> None:
    labels, logits = case(300, 4)
    kept = labels != 2
    found = every(head(4), labels[kept], logits[kept])
    assert all(np.isnan(found[f"{name}.c2"]) for name in ("precision", "recall", "f1"))
    shares = calibration.softmax(logits[kept])
    each = [sk.roc_auc_score(labels[kept] == place, shares[:, place]) for place in (0, 1, 3)]
    assert found["roc_auc"] == pytest.approx(np.mean(each))


def test_roc_auc_of_one_class_alone_is_not_defined() -> None:
    for classes in (2, 3):
        assert np.isnan(value(head(classes), "roc_auc", np.zeros(9, int), CHANCE.normal(size=(9, classes))))


def test_many_classes_have_only_the_class_that_is_chosen() -> None:
    names = {name for part in parts(head(30)) for name in part.names}
    assert not {name for name in names if "." in name}
    chosen = {name for part in parts(head(30, "f1.c7")) for name in part.names}
    assert chosen - names == {"precision.c7", "recall.c7", "f1.c7"}
    labels, logits = case(400, 30, 3.0)
    each = sk.f1_score(labels, logits.argmax(axis=1), average=None)
    assert value(head(30, "f1.c7"), "f1.c7", labels, logits) == pytest.approx(each[7])


def test_top_k_has_the_k_that_is_chosen() -> None:
    labels, logits = case(200, 9)
    distinct = logits + np.linspace(1e-4, 0, 9)
    expected = sk.top_k_accuracy_score(labels, distinct, k=3)
    assert value(head(9, "top_3_accuracy"), "top_3_accuracy", labels, logits) == pytest.approx(expected)
