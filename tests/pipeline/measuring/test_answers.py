"""Confusion matrices against scikit-learn's, the hardest samples, and their pictures."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import RunError
from pipeline.measuring import answers, pictures
from pipeline.predictor import Head


def logits(shares: list[list[float]]) -> np.ndarray:
    return np.log(np.asarray(shares))


def test_confusion_matrix_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import confusion_matrix

    generator = np.random.default_rng(0)
    labels, scores = generator.integers(0, 7, 300), generator.normal(size=(300, 9))
    dense = np.zeros((9, 9), dtype=int)
    for label, answer, count in answers.described("x", labels, scores).cells:
        assert count > 0
        dense[label, answer] = count
    assert (dense == confusion_matrix(labels, scores.argmax(axis=1), labels=range(9))).all()


def test_hardest_are_the_most_confidently_wrong_and_then_the_least_sure() -> None:
    scores = logits([[0.9, 0.1], [0.55, 0.45], [0.2, 0.8], [0.02, 0.98], [0.4, 0.6]])
    found = answers.described("x", np.array([0, 0, 0, 1, 0]), scores, count=4).hardest
    assert [(one.index, one.label, one.answer, one.right) for one in found] == [
        (2, 0, 1, False), (4, 0, 1, False), (1, 0, 0, True), (0, 0, 0, True)
    ]  # fmt: skip
    assert [one.probability for one in found] == pytest.approx([0.8, 0.6, 0.55, 0.9])
    assert [one.probability_of_label for one in found] == pytest.approx([0.2, 0.4, 0.55, 0.9])


def test_margin_and_not_the_probability_decides_what_is_hard() -> None:
    scores = logits([[0.5, 0.25, 0.25], [0.52, 0.47, 0.01]])
    assert [one.index for one in answers.described("x", np.array([0, 0]), scores).hardest] == [1, 0]


def test_very_large_logits_do_not_overflow() -> None:
    (one,) = answers.described("x", np.array([0]), np.array([[1e4, -1e4]])).hardest
    assert (one.probability, one.probability_of_label) == (1.0, 1.0)


def test_kept_are_at_most_as_many_samples_as_fit_on_a_page() -> None:
    found = answers.described("x", np.zeros(100, dtype=int), np.random.default_rng(0).normal(size=(100, 3)))
    assert len(found.hardest) == answers.HARDEST


def test_answers_that_are_not_finite_are_refused_with_their_models_name() -> None:
    with pytest.raises(RunError, match=r"the logits of prune\.keras are not all finite"):
        answers.described("prune.keras", np.array([0]), np.array([[np.nan, 1.0]]))


def test_pictures_are_named_for_the_samples_that_have_one() -> None:
    found = answers.described("x", np.array([0, 1]), np.eye(2))
    assert [one.picture for one in answers.pictured(found, {1: "a.png"}).hardest] == [None, "a.png"]


@pytest.mark.parametrize(
    ("shape", "images"),
    [
        ((8, 8, 1), True),
        ((32, 24, 3), True),
        ((13,), False),
        ((128, 9), False),
        ((1, 40, 1), False),
        ((8, 8, 5), False),
    ],
)
def test_images_are_grey_or_coloured_and_have_two_sides(shape: tuple[int, ...], images: bool) -> None:
    assert pictures.are_images(shape) == images


@pytest.mark.parametrize("channels", [1, 3])
def test_png_holds_the_pixels_from_black_to_white_and_clips_what_is_outside(channels: int) -> None:
    import tensorflow as tf

    sample = np.array([[0, 16, 8], [-4, 20, 4]], dtype=np.float32)[..., None].repeat(channels, axis=2)
    (image,) = pictures.png(sample[None], (0.0, 16.0))
    found = tf.io.decode_png(image).numpy()
    assert found.shape == (2, 3, channels)
    assert found[..., 0].tolist() == [[0, 255, 128], [0, 255, 64]]


def test_large_image_is_made_smaller_and_keeps_its_sides_ratio() -> None:
    import tensorflow as tf

    (image,) = pictures.png(np.full((1, 300, 150, 3), 255, dtype=np.float32), (0.0, 255.0))
    assert tf.io.decode_png(image).shape == (pictures.LONGEST, pictures.LONGEST // 2, 3)


def test_curves_are_kept_of_two_classes_and_of_anomaly_scores() -> None:
    labels, scores = np.array([0, 1, 1, 0]), np.array([[2.0, 0], [0, 3], [1, 0], [0, 0.5]])
    binary = answers.described("x", labels, scores)
    assert (binary.roc[0], binary.roc[-1]) == ((0, 0), (1, 1))
    assert sum(count for *_, count in binary.reliability) == 4
    assert answers.described("x", labels, np.eye(3)[[0, 1, 1, 0]]).roc == []
    assert answers.described("x", labels * 0, scores).roc == []
    head = Head("anomaly", (4,))
    assert answers.of_head("x", head, labels, np.array([0, 1.0, 1, 0])).roc == [(0, 0), (0, 1), (1, 1)]
    assert answers.of_head("x", head, labels * 0, np.array([0, 1.0, 1, 0])).roc == []


def test_support_counts_the_samples_of_each_class_label_or_kind() -> None:
    assert answers.support(Head("classification", (3,), ("a", "b", "c")), np.array([0, 2, 2])) == [1, 0, 2]
    assert answers.support(Head("multilabel", (2,), ("a", "b")), np.array([[1.0, 0], [1, 1]])) == [2, 1]
    assert answers.support(Head("anomaly", (4,)), np.array([0, 0, 1])) == [2, 1]
