from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from pipeline.predictor import Head
from pipeline.scoring.head import parts, trials, undefined, value

CHANCE = np.random.default_rng(5)
HEAD = Head("multilabel", (3,), ("cat", "dog", "bird"))


def case(samples: int = 300) -> tuple[np.ndarray, np.ndarray]:
    wanted = (CHANCE.random((samples, 3)) < [0.5, 0.2, 0.1]).astype(np.float32)
    return wanted, (CHANCE.normal(size=(samples, 3)) + 2 * wanted - 1).astype(np.float32).round(1)


def every(wanted: np.ndarray, answered: np.ndarray) -> dict[str, float]:
    once = np.ones((len(wanted), 1))
    return {
        name: float(found)
        for part in parts(HEAD)
        for name, found in zip(part.names, part.prepare(wanted, answered)(once)[:, 0], strict=True)
    }


def test_metrics_are_scikit_learns() -> None:
    wanted, logits = case()
    answers = logits > 0
    expected = {"accuracy": sk.accuracy_score(wanted, answers), "roc_auc": sk.roc_auc_score(wanted, logits)}
    for place, name in enumerate(HEAD.classes):
        expected[f"roc_auc.{name}"] = sk.roc_auc_score(wanted[:, place], logits[:, place])
    for ending, average in (("", "macro"), ("_weighted", "weighted")):
        for name, of in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
            expected[name + ending] = of(wanted, answers, average=average, zero_division=0)
            for one, found in zip(HEAD.classes, of(wanted, answers, average=None, zero_division=0), strict=True):
                expected[f"{name}.{one}"] = found
    assert every(wanted, logits) == pytest.approx(expected)


def test_label_that_no_sample_has_is_left_out_and_named() -> None:
    wanted, logits = case()
    wanted[:, 2] = 0
    found = every(wanted, logits)
    assert {name for name, one in found.items() if np.isnan(one)} == {
        "precision.bird", "recall.bird", "f1.bird", "roc_auc.bird"
    }  # fmt: skip
    assert undefined(HEAD, "roc_auc.bird", wanted) == "no sample is bird"
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(wanted[:, :2], logits[:, :2]))
    assert found["f1"] == pytest.approx(sk.f1_score(wanted, logits > 0, average="macro", zero_division=0))


def test_the_rarest_label_decides_what_a_perfect_average_proves() -> None:
    wanted = np.zeros((50, 3), np.float32)
    wanted[:20, 0], wanted[:45, 1], wanted[:5, 2] = 1, 1, 1
    assert trials(HEAD, "accuracy", wanted) == 50
    assert trials(HEAD, "f1", wanted) == 5
    assert trials(HEAD, "roc_auc", wanted) == 5
    assert trials(HEAD, "recall.dog", wanted) == 45
    assert trials(HEAD, "roc_auc.dog", wanted) == 5
    assert value(HEAD, "f1", wanted, 2 * wanted - 1) == 1
