"""What a model answered to the test split: its confusion matrix, hardest samples, reliability and ROC curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pipeline.measuring import checks
from pipeline.measuring.accuracy import confusion
from pipeline.report.answers import Answers, Example
from pipeline.scoring import calibration, ranking

if TYPE_CHECKING:
    from pipeline.predictor import Head

HARDEST = 16  # samples kept of each model: what fits on a page


def support(head: Head, wanted: np.ndarray) -> list[int]:
    """Return the number of samples of each class or with each label; of an anomaly score of normal samples and others.

    Args:
        wanted: as `data.Split.y`.
    """
    if head.task == "multilabel":
        return [int(count) for count in (wanted > 0).sum(axis=0)]
    if head.task == "anomaly":
        return [int((wanted == 0).sum()), int((wanted > 0).sum())]
    return [int(count) for count in np.bincount(wanted, minlength=len(head.classes))]


def of_head(of: str, head: Head, wanted: np.ndarray, answered: np.ndarray) -> Answers:
    """Return what one model answered, by the task of its head.

    Args:
        of: its name.
        wanted: as `data.Split.y`. answered: its `answer`.

    Raises: as `described`.
    """
    if head.task == "classification":
        return described(of, wanted, answered)
    found = checks.values(answered, who=of)
    anomalies = wanted > 0
    if head.task != "anomaly" or anomalies.all() or not anomalies.any():
        return Answers(of=of)
    return Answers(of=of, roc=ranking.curve(anomalies, found))


def described(of: str, labels: np.ndarray, logits: np.ndarray, count: int = HARDEST) -> Answers:
    """Return the confusion matrix, the hardest samples and the curves of one classifier.

    Args:
        of: its name.
        labels: int [n], n >= 1, each in 0..classes-1.
        logits: float [n, classes]; the highest is the answer, the first of equals.
        count: how many samples, at most.

    Raises:
        RunError: nothing to compare, NaN or infinity, or labels that do not fit the logits.
    """
    scores = checks.logits(logits, who=of)
    truth = checks.labels(labels, scores)
    rows, columns, counts = confusion(truth, scores)
    cells = list(zip(rows.tolist(), columns.tolist(), counts.tolist(), strict=True))
    roc = ranking.curve(truth == 1, scores[:, 1] - scores[:, 0]) if len(set(truth)) == scores.shape[1] == 2 else []
    return Answers(
        of=of, cells=cells, hardest=hardest(truth, scores, count), reliability=calibration.reliability(truth, scores),
        roc=roc,
    )  # fmt: skip


def hardest(labels: np.ndarray, logits: np.ndarray, count: int) -> list[Example]:
    """Return the samples with the smallest margin, p(label) - max p(other): the most confidently wrong first.

    Args:
        labels: int64 [n]. logits: float64 [n, classes]. count: how many, at most.
    """
    shares = calibration.softmax(logits)
    samples = np.arange(labels.size)
    own = shares[samples, labels]
    others = shares.copy()
    others[samples, labels] = -1
    order = np.argsort(own - others.max(axis=1), kind="stable")[:count]
    answers = logits.argmax(axis=1)
    return [
        Example(
            index=int(i), label=int(labels[i]), answer=int(answers[i]), probability=float(shares[i, answers[i]]),
            probability_of_label=float(own[i]),
        )
        for i in order
    ]  # fmt: skip


def pictured(answers: Answers, pictures: Mapping[int, str]) -> Answers:
    """Return the answers with a picture for each of the hardest samples that has one.

    Args:
        pictures: index of a sample -> its file in the run's folder.
    """
    found = [one.model_copy(update={"picture": pictures.get(one.index)}) for one in answers.hardest]
    return answers.model_copy(update={"hardest": found})
