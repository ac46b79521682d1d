"""Every metric on the page, the chosen one in the headline and in the charts, whichever way is better."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.measuring import answers
from pipeline.measuring.quality import Qualities
from pipeline.predictor import Head, Input, Spec
from pipeline.report import figures, headline, metrics, page, tradeoff, words
from pipeline.report.document import Report
from pipeline.report.model import Interval, Model
from tests.pipeline.report import shapes
from tests.pipeline.report.test_page import terminal

CHANCE = np.random.default_rng(4)
BINARY = Head("classification", (2,), ("ham", "spam"), judged="roc_auc")
LABELS = Head("multilabel", (3,), ("cat", "dog", "bird"))
VALUES = Head("regression", (2,), judged="mae")
ANOMALIES = Head("anomaly", (4,))


def answered(head: Head) -> tuple[np.ndarray, np.ndarray]:
    """What is wanted of a head, and answers that are not perfect."""
    if head.task == "classification":
        labels = CHANCE.integers(0, 2, 150)
        return labels, CHANCE.normal(size=(150, 2)) + 2 * np.eye(2)[labels]
    if head.task == "multilabel":
        wanted = (CHANCE.random((150, 3)) < [0.5, 0.3, 0]).astype(np.float32)
        return wanted, CHANCE.normal(size=(150, 3)) + 2 * wanted - 1
    if head.task == "anomaly":
        labels = (CHANCE.random(150) < 0.2).astype(int)
        return labels, CHANCE.random(150) + labels / 2
    wanted = CHANCE.normal(50, 10, (150, 2))
    return wanted, wanted + CHANCE.normal(0, 3, wanted.shape)


def measured(head: Head, **changes: Any) -> Report:
    """All files with the metrics of a head; the final one is worse than the reference, which is the first."""
    wanted, best = answered(head)
    judge = Qualities(Spec((Input("x", (4,), (0.0, 1.0)),), (head,)), wanted, 100)
    found, told = [], []
    for place, item in enumerate(shapes.files()):
        answer = {head.answer: best + 0.05 * place * CHANCE.normal(size=best.shape)}
        values = judge.metrics(answer)
        values |= {f"{name}_drop": one for name, one in judge.drops({head.answer: best}, answer).items()}
        shown = {name: Interval(**one.to_dict()) for name, one in values.items()}
        runs = [run.model_copy(update={"metrics": shown, "judged": judge.judged}) for run in item.runs]
        found.append(item.model_copy(update={"runs": runs}))
        told.append(answers.of_head(item.id, head, wanted, answer[head.answer]))
    tested = None
    if head.task != "regression":
        tested = {
            "samples": len(wanted), "classes": list(head.classes), "answers": told,
            "support": answers.support(head, wanted), "undefined": judge.undefined(),
        }  # fmt: skip
    made = [model.model_copy(update={"metrics": {}}) for model in shapes.line()]
    return shapes.whole(artifacts=found, models=made, tested=tested, **changes)


def test_every_metric_of_reference_and_result_is_beside_the_other_and_the_chosen_one_is_marked() -> None:
    report = measured(BINARY)
    assert [name for name, _ in metrics.shown(report)] == ["train.saved_model.float32", shapes.FINAL]
    rows = metrics.rows(report)
    assert [row.name for row in rows] == [
        "accuracy", "balanced accuracy", "precision", "recall", "F1", "weighted precision", "weighted recall",
        "weighted F1", "ROC AUC", "calibration error", "log loss",
    ]  # fmt: skip
    assert [row.name for row in rows if row.judged] == ["ROC AUC"]
    assert [row.name for row in rows if row.lower] == ["calibration error", "log loss"]
    assert all(cell.value and cell.low and cell.high for row in rows for cell in row.cells)
    text = page.render(report)
    assert '<tr class="judged"><th scope="row">ROC AUC<small>judged by it</small></th>' in text
    assert "log loss<small>lower is better</small>" in text
    assert "ROC AUC against size and latency" in text
    assert headline.answers(report)[-1].details[0].startswith("ROC AUC on the test split, 95 % 0.")


def test_each_class_has_its_samples_and_its_own_metrics() -> None:
    report = measured(BINARY)
    assert metrics.heads_of_classes(report) == ["precision", "recall", "F1"]
    ham, spam = metrics.classes(report)
    assert (ham.name, spam.name) == ("ham", "spam")
    assert ham.samples is not None
    assert ham.samples + (spam.samples or 0) == 150
    assert all(cell.value.endswith(" %") for cell in (*ham.cells, *spam.cells))


def test_label_without_samples_is_named_and_labels_have_no_confusion_matrix() -> None:
    report = measured(LABELS)
    assert metrics.heads_of_classes(report) == ["precision", "recall", "F1", "ROC AUC"]
    assert [one.name for one in metrics.classes(report)] == ["cat", "dog"]
    text = page.render(report)
    assert "Not defined on these samples, and left out: " in text
    assert "ROC AUC of bird: no sample is bird" in text
    assert 'id="confusion"' not in text


def test_curves_are_drawn_of_what_has_them() -> None:
    binary = page.render(measured(BINARY))
    assert binary.count('<polyline class="roc" points="0.0,170.0 ') == 2
    assert 'class="bin"' in binary
    anomalies = page.render(measured(ANOMALIES))
    assert anomalies.count('<polyline class="roc"') == 2
    assert 'class="bin"' not in anomalies
    assert 'class="roc"' not in page.render(measured(LABELS))


def test_points_of_the_reliability_diagram_are_its_bins() -> None:
    report = measured(BINARY)
    told = report.tested.of(shapes.FINAL) if report.tested else None
    assert told is not None
    points = metrics.reliability(told)
    assert len(points) == len(told.reliability)
    for point, (sure, right, count) in zip(points, told.reliability, strict=True):
        assert (point.x, point.y) == pytest.approx((metrics.SIZE * sure, metrics.SIZE * (1 - right)), abs=0.06)
        assert point.said.endswith(f"{count} samples")
        assert 2 < point.radius <= 7


def test_values_have_metrics_one_by_one() -> None:
    report = measured(VALUES)
    assert [row.name for row in metrics.rows(report)] == ["R2", "mean squared error", "mean absolute error"]
    assert metrics.heads_of_classes(report) == ["R2", "mean squared error", "mean absolute error"]
    assert [(one.name, one.samples) for one in metrics.classes(report)] == [("0", None), ("1", None)]


def test_error_is_better_when_it_is_lower_in_headline_and_charts() -> None:
    report = measured(VALUES)
    right = headline.answers(report)[-1]
    runs = {item.id: item.runs[0] for item in report.artifacts}
    first, last = runs["train.saved_model.float32"], runs[shapes.FINAL]
    drop = last.metrics["mae_drop"]
    assert drop.value == pytest.approx(last.metrics["mae"].value - first.metrics["mae"].value)
    assert right.figure == f"{last.metrics['mae'].value:.4g}"
    assert right.details[0].startswith("mean absolute error on the test split, lower is better, 95 % ")
    assert f": {drop.value:+.4g}, 95 % {drop.low:+.4g} to {drop.high:+.4g}" in right.details[1]
    chart = tradeoff.tradeoffs(report)[0]
    values = {item.id: item.runs[0].metrics["mae"].value for item in report.artifacts}
    best = min(values, key=lambda name: values[name])
    assert next(mark for mark in chart.marks if mark.name == best).best
    cheapest = min(report.artifacts, key=lambda item: item.gzip_bytes or 0).id
    assert {mark.name for mark in chart.marks if mark.best} >= {best, cheapest}
    worst = max(values, key=lambda name: values[name])
    assert worst == cheapest or not next(mark for mark in chart.marks if mark.name == worst).best
    text = page.render(report)
    assert "Down is better (of the mean absolute error less is better), left is cheaper." in text
    assert "mean absolute error (lower is better), against size" in text
    assert max(len(line) for line in terminal(report).splitlines()) <= 80


@pytest.mark.parametrize(
    ("drop", "said"),
    [((2.0, 1.0, 3.0), "the mean absolute error rose"), ((-2.0, -3.0, -1.0), "better"),
     ((1.0, -1.0, 2.0), "a little more, which may be chance")],
)  # fmt: skip
def test_still_right_is_said_of_an_error(drop: tuple[float, float, float], said: str) -> None:
    value, low, high = drop
    base = {"stage": "train", "parameters": 1, "macs": 1, "sparsity": 0, "bytes": 1, "gzip_bytes": 1, "judged": ["mae"]}
    mae = {"value": 10, "low": 9, "high": 11}
    line = [Model.model_validate(base | {"metrics": {"mae": mae}})]
    changed = {"mae": mae, "mae_drop": {"value": value, "low": low, "high": high}}
    line.append(Model.model_validate(base | {"stage": "prune", "metrics": changed}))
    found = headline.answers(shapes.report(verdict="incomplete", models=line))[-1]
    assert (found.question, found.said) == ("Still right?", said)
    assert found.details[1].startswith(f"from 10: {value:+.4g}, 95 % {low:+.4g} to {high:+.4g}")


def test_report_of_an_earlier_version_is_judged_by_accuracy_or_r2() -> None:
    assert words.judged_by(shapes.whole()) == "accuracy"
    assert [one.name for one in words.judging(shapes.whole())] == ["accuracy"]


def test_curve_of_a_metric_that_keras_does_not_count_is_of_validation_alone() -> None:
    charts = figures.training({"loss": [2.0, 1.0], "val_loss": [2.0, 1.0], "val_f1": [0.5, 0.75]})
    assert [(chart.title, [curve.label for curve in chart.curves]) for chart in charts] == [
        ("loss", ["training", "validation"]), ("f1", ["validation"])
    ]  # fmt: skip
