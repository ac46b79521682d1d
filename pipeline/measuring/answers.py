"""The confusion matrix of a model and its hardest test samples, from its logits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.measuring import checks
from pipeline.measuring.accuracy import confusion
from pipeline.report.answers import Answers, Example

HARDEST = 16  # samples kept of each model: what fits on a page


def described(of: str, labels: np.ndarray, logits: np.ndarray, count: int = HARDEST) -> Answers:
    """Return the confusion matrix and the hardest samples of one model.

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
    return Answers(of=of, cells=cells, hardest=hardest(truth, scores, count))


def hardest(labels: np.ndarray, logits: np.ndarray, count: int) -> list[Example]:
    """Return the samples with the smallest margin, p(label) - max p(other): the most confidently wrong first.

    Args:
        labels: int64 [n]. logits: float64 [n, classes]. count: how many, at most.
    """
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
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
