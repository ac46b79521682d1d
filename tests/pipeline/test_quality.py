from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import r2_score

from pipeline.data import DataConfig, load
from pipeline.fit import tasks
from pipeline.measuring import regression
from pipeline.predictor import Head
from pipeline.quality import quality

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("task", ["regression", "reconstruction"])
def test_r2_is_one_number_in_training_after_a_stage_and_in_the_report(task: str) -> None:
    splits = load(DataConfig(task=task))  # type: ignore[arg-type]
    head, wanted = splits.spec.head, np.asarray(splits.validation.y)
    answered = (wanted + RANDOM.normal(0, 0.1, wanted.shape)).astype(np.float32)
    found = quality(head, wanted, answered)
    metric = tasks.metric(head)
    for start in range(0, len(wanted), 100):
        metric.update_state(wanted[start : start + 100], answered[start : start + 100])
    assert float(metric.result()) == pytest.approx(found, abs=1e-5)
    reported = regression.metrics(wanted, answered, together=task == "reconstruction", resamples=100)["r2"]
    assert reported.value == pytest.approx(found, abs=1e-6)
    assert 0 < found < 1


def test_r2_in_training_is_right_for_values_far_from_zero() -> None:
    wanted = RANDOM.normal(101_325, 50, (500, 1)).astype(np.float32)
    answered = (wanted + RANDOM.normal(0, 25, wanted.shape)).astype(np.float32)
    head = Head("regression", (1,), mean=(101_325.0,), deviation=(50.0,))
    metric = tasks.metric(head)
    metric.update_state(wanted, answered)
    assert float(metric.result()) == pytest.approx(r2_score(wanted, answered), abs=1e-3)
    assert quality(head, wanted, answered) == pytest.approx(r2_score(wanted, answered))


def test_accuracy_is_the_share_of_right_answers() -> None:
    logits = np.array([[0.1, 0.2], [3.0, -1.0], [0.0, 1.0]], np.float32)
    assert quality(Head("classification", (2,), ("a", "b")), np.array([1, 1, 1]), logits) == pytest.approx(2 / 3)
