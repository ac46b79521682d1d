"""What models are judged by during a fit: watched by stopping and schedule, without a change of what Keras counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss

from pipeline.data import Splits
from pipeline.errors import InputError
from pipeline.fit.loop import METRICS
from pipeline.predictor import Spec
from pipeline.scoring.calibration import softmax
from tests.pipeline.fit.test_loop import SPLITS, _cnn, _fit, _killed_after, _same

STOP: dict[str, Any] = {
    "schedule": {"name": "constant"}, "early_stopping": {"monitor": "val_accuracy", "patience": 2}, "epochs": 8,
}  # fmt: skip


def judged(metric: str, splits: Splits = SPLITS) -> Splits:
    return replace(splits, spec=Spec(splits.spec.inputs, (replace(splits.spec.head, judged=metric),)))


def logits(model: Any) -> np.ndarray:
    found: np.ndarray = model.predict(SPLITS.validation.x, verbose=0)
    return found


@pytest.mark.parametrize("metric", ["f1", "log_loss"])
def test_training_stops_by_the_metric_that_is_chosen_whichever_way_is_better(tmp_path: Path, metric: str) -> None:
    model = _cnn()
    history = _fit(model, tmp_path, splits=judged(metric), config=STOP)
    curve = history.epochs[f"val_{metric}"]
    assert history.best_epoch == 1 + int((np.argmin if metric == "log_loss" else np.argmax)(curve))
    assert len(curve) == min(8, history.best_epoch + 2)
    answered = logits(model)  # of the best epoch, whose weights are restored
    wanted = SPLITS.validation.y
    expected = (
        log_loss(wanted, softmax(answered))
        if metric == "log_loss"
        else f1_score(wanted, answered.argmax(axis=1), average="macro")
    )
    assert curve[history.best_epoch - 1] == pytest.approx(expected, abs=1e-6)


def test_what_keras_counts_and_the_weights_are_as_without_another_metric(tmp_path: Path) -> None:
    config = {"early_stopping": None, "epochs": 3}
    one, other = _cnn(dropout=0.3), _cnn(dropout=0.3)
    plain = _fit(one, tmp_path / "plain", config=config).epochs
    found = _fit(other, tmp_path / "f1", splits=judged("f1"), config=config).epochs
    assert _same(one, other)
    assert {name: found[name] for name in METRICS} == plain
    assert set(found) - set(plain) == {"val_f1"}


def test_fit_that_was_killed_goes_on_with_the_metric_that_is_chosen(tmp_path: Path) -> None:
    whole, resumed = _cnn(), _cnn()
    history = _fit(whole, tmp_path / "whole", splits=judged("f1"), config={"epochs": 4})
    with pytest.raises(KeyboardInterrupt):
        _fit(_cnn(), tmp_path / "killed", splits=judged("f1"), emit=_killed_after(2), config={"epochs": 4})
    assert _fit(resumed, tmp_path / "killed", splits=judged("f1"), config={"epochs": 4}) == history
    assert _same(whole, resumed)


def test_learning_rate_falls_when_an_error_no_longer_does(tmp_path: Path) -> None:
    config = {
        "schedule": {"name": "plateau", "monitor": "val_accuracy", "patience": 1, "factor": 0.1, "min_delta": 1e6},
        "early_stopping": None, "epochs": 3,
    }  # fmt: skip
    steady = _fit(_cnn(), tmp_path / "steady", splits=judged("log_loss"), config=config).epochs["learning_rate"]
    assert steady[2] == pytest.approx(0.1 * steady[0])
    config["schedule"] = config["schedule"] | {"min_delta": 0.0}  # type: ignore[operator]
    history = _fit(_cnn(), tmp_path / "falls", splits=judged("log_loss"), config=config).epochs
    assert history["val_log_loss"][1] < history["val_log_loss"][0]
    assert history["learning_rate"][2] == history["learning_rate"][0]


def test_metric_that_the_validation_split_leaves_undefined_is_refused(tmp_path: Path) -> None:
    kept = np.flatnonzero(SPLITS.validation.y == 1)
    alone = replace(SPLITS.validation, x=SPLITS.validation.x[kept], y=SPLITS.validation.y[kept])  # type: ignore[index]
    with pytest.raises(InputError) as refused:
        _fit(_cnn(), tmp_path, splits=judged("roc_auc", replace(SPLITS, validation=alone)), config=STOP)
    assert str(refused.value) == (
        "data.metric roc_auc is not defined on the validation split\n"
        "  expected: samples of both kinds in it\n"
        "  found: every sample is b\n"
        "  what to do: give it more samples (data.split.validation), or change data.metric"
    )
