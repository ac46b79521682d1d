from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, mean_absolute_error, roc_auc_score

from pipeline.errors import RunError
from pipeline.measuring import accuracy, regression
from pipeline.measuring.quality import Qualities
from pipeline.predictor import Head, Input, Spec, classifier
from pipeline.scoring.calibration import softmax

CHANCE = np.random.default_rng(2)
INPUT = Input("x", (4,), (0.0, 1.0))


def of(head: Head, wanted: np.ndarray, resamples: int = 300) -> Qualities:
    return Qualities(Spec((INPUT,), (head,)), wanted, resamples)


def case(samples: int, classes: int, strength: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    labels = CHANCE.integers(0, classes, samples)
    logits = CHANCE.normal(size=(samples, classes)).astype(np.float32)
    logits[np.arange(samples), labels] += strength
    return labels, logits


def classes(count: int, judged: str = "") -> Head:
    return Head("classification", (count,), tuple(f"c{i}" for i in range(count)), judged=judged)


def test_metrics_that_were_there_before_keep_values_and_intervals() -> None:
    labels, logits = case(200, 3)
    found = of(classes(3), labels).metrics({"logits": logits})
    before = accuracy.classification(labels, logits, resamples=300)
    assert {name: found[name] for name in before} == before
    wanted = CHANCE.normal(size=(80, 2)).astype(np.float32)
    answered = wanted + np.float32(0.1) * CHANCE.normal(size=(80, 2)).astype(np.float32)
    found = of(Head("regression", (2,)), wanted).metrics({"value": answered})
    assert {name: found[name] for name in ("r2", "mse", "mae")} == regression.metrics(wanted, answered, resamples=300)
    assert {"r2.0", "mae.1"} <= set(found)


def test_interval_of_every_metric_holds_its_value_and_has_a_width() -> None:
    labels, logits = case(300, 7)
    for name, one in of(classes(7), labels).metrics({"logits": logits}).items():
        assert one.low <= one.value <= one.high, name
        assert one.low < one.high, name


def test_interval_holds_the_true_value_about_as_often_as_it_says() -> None:
    wanted = CHANCE.random(200_000) < 0.3
    scores = CHANCE.normal(size=wanted.size) + wanted
    true = roc_auc_score(wanted, scores)
    head = Head("anomaly", (4,))
    hits = 0
    for start in range(0, 60_000, 300):
        part = slice(start, start + 300)
        found = of(head, wanted[part].astype(int), 200).metrics({"score": scores[part]})["roc_auc"]
        hits += found.low <= true <= found.high
    assert 0.89 <= hits / 200 <= 0.99


@pytest.mark.parametrize("judged", ["f1", "f1.c1", "roc_auc", "log_loss", "calibration_error", "top_3_accuracy"])
def test_drop_is_paired_and_positive_where_the_model_got_worse(judged: str) -> None:
    labels, logits = case(400, 6)
    worse = logits.copy()
    worse[:60] = worse[:60, ::-1]
    judge = of(classes(6, judged), labels)
    before, after = ({"logits": one} for one in (logits, worse))
    if judged == "calibration_error":
        judge.wanted = (CHANCE.random(400)[:, None] > np.cumsum(softmax(logits), axis=1)).sum(axis=1)
        before, after = ({"logits": one} for one in (logits, logits * 5))
    drop, back = judge.drops(before, after)[judged], judge.drops(after, before)[judged]
    first, second = judge.metrics(before)[judged], judge.metrics(after)[judged]
    sign = -1 if judged in ("log_loss", "calibration_error") else 1
    assert drop.value == pytest.approx(sign * (first.value - second.value))
    assert drop.low > 0
    assert (back.value, back.low, back.high) == pytest.approx((-drop.value, -drop.high, -drop.low))
    assert drop.high - drop.low < (first.high - first.low) + (second.high - second.low)


def test_drop_of_an_error_is_in_its_own_unit() -> None:
    wanted = CHANCE.normal(100, 30, (300, 1)).astype(np.float32)
    near, far = wanted + CHANCE.normal(0, 3, wanted.shape), wanted + CHANCE.normal(0, 9, wanted.shape)
    lost = of(Head("regression", (1,), judged="mae"), wanted).drops({"value": near}, {"value": far})["mae"]
    assert lost.value == pytest.approx(mean_absolute_error(wanted, far) - mean_absolute_error(wanted, near))
    assert 3 < lost.low < lost.value < lost.high < 7


def test_models_without_an_error_are_not_proven_perfect() -> None:
    labels = np.arange(40) % 4
    judge = of(classes(4, "f1"), labels)
    found = judge.metrics({"logits": 9 * np.eye(4)[labels]})
    for name in ("balanced_accuracy", "f1_weighted", "recall.c2", "roc_auc"):
        assert found[name].value == 1
        assert 0.6 < found[name].low < 1, name
    assert found["recall.c2"].low < found["f1_weighted"].low
    lost = judge.drops({"logits": 9 * np.eye(4)[labels]}, {"logits": 8 * np.eye(4)[labels]})["f1"]
    assert (lost.value, lost.low) == (0, -lost.high)
    assert 0 < lost.high < 0.2


def test_equal_scores_are_of_equal_models() -> None:
    wanted = np.arange(20) % 2
    scores = CHANCE.random(20)
    lost = of(Head("anomaly", (4,)), wanted).drops({"score": scores}, {"score": scores.copy()})["roc_auc"]
    assert (lost.value, lost.low, lost.high) == (0, 0, 0)


def test_what_the_samples_leave_undefined_is_left_out_and_said() -> None:
    wanted = np.zeros((30, 2), np.float32)
    wanted[:10, 0] = 1
    head = Head("multilabel", (2,), ("cat", "dog"))
    judge = of(head, wanted)
    found = judge.metrics({"logits": CHANCE.normal(size=(30, 2))})
    assert {name for name in found if name.endswith("dog")} == set()
    assert judge.undefined() == {f"{name}.dog": "no sample is dog" for name in ("precision", "recall", "f1", "roc_auc")}
    assert all(np.isfinite([one.value, one.low, one.high]).all() for one in found.values())
    normal = of(Head("anomaly", (4,)), np.zeros(9, int))
    assert set(normal.metrics({"score": CHANCE.random(9)})) == {"mse"}
    assert normal.undefined()["roc_auc"] == "no sample is an anomaly"
    assert normal.drops({"score": CHANCE.random(9)}, {"score": CHANCE.random(9)}) == {}


def test_rare_label_is_judged_on_the_resamples_that_have_it() -> None:
    wanted = np.zeros((40, 1), np.float32)
    wanted[0] = 1
    answered = CHANCE.normal(size=(40, 1))
    answered[0] = 0.5
    found = of(Head("multilabel", (1,), ("rare",)), wanted).metrics({"logits": answered})["roc_auc.rare"]
    assert found.low <= found.value <= found.high
    assert found.value == pytest.approx(roc_auc_score(wanted, answered))


def test_heads_are_judged_by_the_metric_that_fits_them() -> None:
    spec = classifier("x", (4,), (0.0, 1.0), ("a", "b"))
    heads = (replace(spec.head, name="digit", judged="f1"), Head("regression", (1,), name="total"))
    labels, logits = case(90, 2)
    wanted = {"digit": labels, "total": CHANCE.normal(size=(90, 1))}
    judge = Qualities(Spec(spec.inputs, heads), wanted, 100)
    answers = {"digit_logits": logits, "total_value": wanted["total"] + 0.1}
    found, lost = judge.metrics(answers), judge.drops(answers, answers)
    assert judge.judged == list(lost) == ["digit_f1", "total_r2"]
    assert found["digit_f1"].value == pytest.approx(f1_score(labels, logits.argmax(axis=1), average="macro"))
    assert {"digit_f1.a", "total_mae"} <= set(found)


def test_equal_answers_are_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, logits = case(50, 3)
    asked = []
    compute = accuracy.classification
    monkeypatch.setattr(accuracy, "classification", lambda *a, **k: (asked.append(1), compute(*a, **k))[1])
    judge = of(classes(3), labels)
    first = judge.metrics({"logits": logits})
    assert judge.metrics({"logits": logits.copy()}) == first
    assert len(asked) == 1
    assert judge.metrics({"logits": logits + 1e-3 * labels[:, None] * np.eye(3, dtype=np.float32)[0]}) != first
    assert len(asked) == 2


def test_answers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(RunError, match="not all finite"):
        of(Head("multilabel", (2,), ("a", "b")), np.ones((3, 2))).metrics({"logits": np.full((3, 2), np.nan)})


def test_all_metrics_of_ten_thousand_samples_take_seconds() -> None:
    labels, logits = case(10_000, 10, 6.0)
    started = time.process_time()
    found = of(classes(10), labels, 1000).metrics({"logits": logits})
    assert time.process_time() - started < 15  # about 2 on an idle core
    assert len(found) == 42
