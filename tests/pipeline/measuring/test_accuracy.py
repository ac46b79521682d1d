from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn import metrics

from pipeline.errors import RunError
from pipeline.measuring import accuracy


def _case(samples: int, classes: int, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and logits of a model that is right with probability `share`."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, samples)
    predicted = np.where(generator.random(samples) < share, labels, (labels + 1) % classes)
    return labels, np.eye(classes, dtype=np.float32)[predicted]


@pytest.mark.parametrize("missing", [False, True])
def test_classification_equals_scikit_learn_also_when_a_class_never_occurs(missing: bool) -> None:
    labels, logits = _case(500, 7, 0.8)
    if missing:
        keep = (labels != 3) & (logits.argmax(axis=1) != 3)
        labels, logits = labels[keep], logits[keep]
        logits[0] = np.eye(7)[(labels[0] + 2) % 7]
    predicted = logits.argmax(axis=1)
    found = accuracy.classification(labels, logits)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, predicted, average="macro", zero_division=0
    )
    expected = {
        "accuracy": metrics.accuracy_score(labels, predicted),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }
    assert {name: one.value for name, one in found.items()} == pytest.approx(expected)


def test_classification_interval_is_the_one_of_resampled_samples() -> None:
    labels, logits = _case(200, 4, 0.7)
    generator = np.random.default_rng(1)
    draws = []
    for _ in range(500):
        chosen = generator.integers(0, 200, 200)
        predicted = logits[chosen].argmax(axis=1)
        draws.append(metrics.f1_score(labels[chosen], predicted, average="macro", zero_division=0))
    found = accuracy.classification(labels, logits, resamples=4000)["f1"]
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.012)


def test_classification_interval_contains_the_truth_in_about_95_percent_of_simulated_cases() -> None:
    hits = 0
    for seed in range(300):
        found = accuracy.classification(*_case(300, 4, 0.85, seed), resamples=300, seed=seed)["accuracy"]
        hits += found.low <= 0.85 <= found.high
    assert 0.90 <= hits / 300 <= 0.99


def test_classification_has_an_interval_with_width_when_every_sample_is_right() -> None:
    labels = np.repeat(np.arange(10), 36)
    found = accuracy.classification(labels, np.eye(10)[labels])
    for one in found.values():
        assert (one.value, one.high) == (1.0, 1.0)
        assert one.low == pytest.approx(0.025 ** (1 / 360))


def test_classification_interval_of_macro_scores_is_wider_when_all_are_right_and_a_class_is_rare() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    found = accuracy.classification(labels, np.eye(2)[labels])
    assert found["accuracy"].low == pytest.approx(0.025 ** (1 / 100))
    assert found["recall"].low == pytest.approx(0.025 ** (1 / 20))


def test_classification_has_an_interval_with_width_when_every_sample_is_wrong() -> None:
    labels = np.repeat(np.arange(4), 5)
    found = accuracy.classification(labels, np.eye(4)[(labels + 1) % 4])["accuracy"]
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 20))


def test_classification_is_repeatable_and_fast_when_there_are_10000_samples() -> None:
    labels, logits = _case(10_000, 10, 0.95)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        found = accuracy.classification(labels, logits, seed=3)
        seconds.append(time.perf_counter() - start)
        assert found == accuracy.classification(labels, logits, seed=3)
    assert min(seconds) < 0.3


def test_classification_works_when_there_are_a_thousand_classes() -> None:
    found = accuracy.classification(*_case(5_000, 1000, 0.7))["accuracy"]
    assert found.low < 0.7 < found.high


@pytest.mark.parametrize(
    ("labels", "logits", "message"),
    [
        (np.zeros(0, int), np.zeros((0, 3)), "at least 1 sample"),
        (np.zeros(2, int), np.array([[1, 2], [np.nan, 1]]), "NaN or infinity in 1 of 2 samples, the first is number 1"),
        (np.zeros(2, int), np.array([[np.inf, 2], [2, 1]]), "NaN or infinity in 1 of 2 samples"),
        (np.zeros(3, int), np.ones((2, 2)), "2 integer labels"),
        (np.zeros(2), np.ones((2, 2)), "float64 labels"),
        (np.array([0, 2]), np.ones((2, 2)), "labels from 0 to 2"),
        (np.zeros(2, int), np.ones(2), r"shape \[2\]"),
    ],
)
def test_classification_fails_when_the_arrays_are_empty_broken_or_do_not_fit(
    labels: np.ndarray, logits: np.ndarray, message: str
) -> None:
    with pytest.raises(RunError, match=message) as caught:
        accuracy.classification(labels, logits)
    assert "what to do" in str(caught.value)


def test_classification_fails_when_there_are_too_few_resamples() -> None:
    with pytest.raises(RunError, match="needs more resamples"):
        accuracy.classification(*_case(10, 2, 0.5), resamples=1)


def test_drop_is_positive_and_contains_the_truth_when_the_model_is_worse() -> None:
    hits = 0
    for seed in range(200):
        labels, reference = _case(500, 5, 0.95, seed)
        generator = np.random.default_rng(1000 + seed)
        worse = np.where(generator.random(500)[:, None] < 0.1, np.roll(reference, 1, axis=1), reference)
        # a tenth is moved on by one class: what was right (0.95) becomes wrong, what was wrong stays wrong
        found = accuracy.drop(labels, reference, worse, resamples=300, seed=seed)
        hits += found.low <= 0.095 <= found.high
    assert found.value > 0
    assert hits / 200 >= 0.88


def test_drop_is_narrower_than_two_separate_intervals_when_the_models_agree_mostly() -> None:
    labels, reference = _case(1000, 5, 0.9)
    other = reference.copy()
    other[:5] = np.roll(other[:5], 1, axis=1)
    paired = accuracy.drop(labels, reference, other)
    alone = accuracy.classification(labels, reference)["accuracy"]
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)


def test_drop_is_zero_with_a_width_when_both_models_are_right_on_the_same_samples() -> None:
    labels, logits = _case(360, 10, 0.98)
    found = accuracy.drop(labels, logits, logits)
    assert found.value == 0.0
    assert found.high == -found.low == pytest.approx(1 - 0.025 ** (1 / 360))


def test_drop_fails_when_one_model_saw_other_samples() -> None:
    labels, logits = _case(20, 3, 0.9)
    with pytest.raises(RunError, match="accuracies of two models cannot be compared") as caught:
        accuracy.drop(labels, logits, logits[:10])
    assert "[20, 3]" in str(caught.value)
    assert "[10, 3]" in str(caught.value)
