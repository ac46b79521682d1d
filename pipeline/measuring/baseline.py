"""A simple model from scikit-learn, fitted to the same training split: what a model of ours has to be better than.

It has no artifact and no latency, only answers to the test split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.measuring.interval import Interval as Measured
from pipeline.measuring.quality import Qualities
from pipeline.report.baseline import Baseline, Gain
from pipeline.report.model import Interval
from pipeline.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.data import Split, Splits
    from pipeline.predictor import Head

SEED = 0


@dataclass(frozen=True)
class Fitted:
    """What was fitted, and what it answers.

    Attributes:
        name, settings: in words.
        answers: the spec's one end -> of the test split logits [n, classes], or values [n, k].
    """

    name: str
    settings: str
    answers: Mapping[str, np.ndarray]


class UnfittedError(Exception):
    """scikit-learn fits no model to the data: texts without a word of two letters, for one. str() says why."""


def why_none(splits: Splits) -> str:
    """Return why there is no baseline for such data; empty where there is one."""
    spec = splits.spec
    if len(spec.inputs) > 1 or len(spec.heads) > 1:
        return "the model has several inputs or outputs"
    if spec.head.task not in ("classification", "regression"):
        return f"there is none for the task {spec.head.task}"
    if isinstance(splits.train.x, Rows):
        return "scikit-learn would need all samples in memory at once"
    return ""


def fit(splits: Splits) -> Fitted:
    """Return what the usual simple model for such data answers.

    Texts: TF-IDF of words and pairs of words, and a linear support vector machine (ridge regression for values). Rows
    of numbers: gradient boosting of trees on histograms. Anything else, such as images: logistic (ridge) regression
    on all numbers, standardized. The distance to the separating plane serves as logit.

    Args:
        splits: texts as strings; `why_none` says nothing of them.

    Raises:
        UnfittedError: the usual model cannot be fitted to them.
    """
    spec = splits.spec
    head, sorts = spec.head, spec.head.task == "classification"
    if spec.takes_text:
        model, name, settings = _of_texts(sorts)
    elif len(spec.input.shape) == 1:
        model, name, settings = _of_rows(sorts, values=head.shape[0])
    else:
        model, name, settings = _of_anything(sorts)
    wanted = np.asarray(splits.train.y)
    # a column of values is a row of them to some models
    wanted = wanted if sorts or wanted.shape[1] > 1 else wanted[:, 0]
    if sorts and len(np.unique(wanted)) < 2:
        raise UnfittedError("the training split has a single class")
    try:
        model.fit(_samples(splits.train, text=spec.takes_text), wanted)
    except ValueError as error:
        raise UnfittedError(f"scikit-learn cannot fit it to these data: {str(error).splitlines()[0]}") from error
    tested = _samples(splits.test, text=spec.takes_text)
    if sorts:
        answers = _logits(_scores(model, tested), model.classes_, head)
    else:
        answers = np.asarray(model.predict(tested), np.float64).reshape(len(tested), -1)
    return Fitted(name, settings, {head.end: answers})


def compared(
    fitted: Fitted, splits: Splits, answers: Mapping[str, Mapping[str, np.ndarray]], resamples: int
) -> Baseline:
    """Return what a baseline is worth, and how much better each model is.

    Args:
        answers: name of a model or an artifact -> end -> of the test split [n, ...].
        resamples: of each interval.
    """
    qualities = Qualities(splits.spec, splits.test.y, resamples)

    def described(found: Mapping[str, Measured]) -> dict[str, Interval]:
        return {name: Interval(**interval.to_dict()) for name, interval in found.items()}

    gains = [
        # what the baseline lost against a model is what the model gained
        Gain(of=name, metrics=described(qualities.drops(found, fitted.answers)))
        for name, found in answers.items()
    ]
    return Baseline(
        name=fitted.name, settings=fitted.settings, samples=len(splits.train),
        metrics=described(qualities.metrics(fitted.answers)), judged=qualities.judged, gains=gains,
    )  # fmt: skip


def _of_texts(sorts: bool) -> tuple[Any, str, str]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    kind = "LinearSVC(C=1)" if sorts else "Ridge(alpha=1)"
    settings = f"scikit-learn's TfidfVectorizer(sublinear_tf, words and pairs of words), {kind}"
    name = f"TF-IDF and {'a linear SVM' if sorts else 'ridge regression'}"
    return make_pipeline(words, LinearSVC(random_state=SEED) if sorts else Ridge(random_state=SEED)), name, settings


def _of_rows(sorts: bool, values: int) -> tuple[Any, str, str]:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.multioutput import MultiOutputRegressor

    name = "gradient boosting of trees"
    if sorts:
        return HistGradientBoostingClassifier(random_state=SEED), name, "scikit-learn's HistGradientBoostingClassifier"
    one = HistGradientBoostingRegressor(random_state=SEED)
    return MultiOutputRegressor(one) if values > 1 else one, name, "scikit-learn's HistGradientBoostingRegressor"


def _of_anything(sorts: bool) -> tuple[Any, str, str]:
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    name = f"{'logistic' if sorts else 'ridge'} regression"
    model = LogisticRegression(max_iter=200) if sorts else Ridge(random_state=SEED)
    kind = "LogisticRegression(C=1)" if sorts else "Ridge(alpha=1)"
    return make_pipeline(StandardScaler(), model), name, f"scikit-learn's {kind} on standardized numbers"


def _samples(split: Split, *, text: bool) -> np.ndarray:
    found = np.asarray(split.x)
    return found if text else found.reshape(len(found), -1)


def _scores(model: Any, samples: np.ndarray) -> np.ndarray:
    found = np.asarray(model.decision_function(samples), np.float64)
    # of two classes there is one number, the second's
    return np.stack([np.zeros_like(found), found], axis=1) if found.ndim == 1 else found


def _logits(scores: np.ndarray, seen: np.ndarray, head: Head) -> np.ndarray:
    """Return scores [n, classes] of all classes: one that the training split has not is below all that it has."""
    found = np.repeat(scores.min(axis=1, keepdims=True) - 1, head.shape[0], axis=1)
    found[:, seen] = scores
    return found
