"""cv.json as it is read again, the page and the tables of a cross-validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.report import folds, folds_table
from pipeline.report.folds import Fold, Folds, Limits, Spread, Stage


def spread(*values: float, width: float | None = 0.05) -> Spread:
    mean = sum(values) / len(values)
    limits = None if width is None else Limits(low=mean - width, high=mean + width)
    return Spread(mean=mean, deviation=0.0123, low=min(values), high=max(values), values=list(values), interval=limits)


def example(**changes: Any) -> Folds:
    stages = [
        Stage(
            stage="train",
            metrics={"accuracy": spread(0.9, 0.95), "f1": spread(0.8, 0.82), "f1.a<b": spread(0.1, 0.2)},
        ),
        Stage(
            stage="distill", variant="alone", metrics={"accuracy": spread(0.91, 0.91, width=None)},
            differences={"accuracy": spread(0.01, -0.04)},
        ),
    ]  # fmt: skip
    kept = [Fold(fold=place, folder=f"out/fold-{place}", test_samples=900, reused=place == 1) for place in (1, 2)]
    fields = {
        "modelmill": "0.1.0", "recipe": "mine", "seed": 3, "by": "content", "judged_by": ["accuracy"],
        "against": "train", "apart": 0, "notes": ["Mind the <gap>."], "folds": kept, "stages": stages,
    }  # fmt: skip
    return Folds(**fields | changes)


def test_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    folds.write(example(), tmp_path)
    assert folds.read(tmp_path) == example()
    assert {path.name for path in tmp_path.iterdir()} == {"cv.json", "cv.html"}
    assert '"schema": 1' in (tmp_path / "cv.json").read_text("utf-8")


def test_page_says_what_was_done_and_what_the_interval_is_and_escapes_what_comes_from_outside(tmp_path: Path) -> None:
    folds.write(example(), tmp_path)
    page = (tmp_path / "cv.html").read_text("utf-8")
    assert "mine: 2 folds of 1,800 samples, content" in page
    assert "The folds share training data" in page
    assert "Nadeau and Bengio (2003)" in page
    assert "Mind the &lt;gap&gt;." in page
    assert "92.5 %" in page
    assert "distill (alone)" in page
    assert "-1.5 points" in page
    assert page.count("<circle") == 4
    assert "f1.a" not in page  # of one class alone: in cv.json
    assert 'href="fold-2/report.html"' in page
    assert "://" not in page


def test_tables_on_a_terminal_have_every_stage_and_every_fold() -> None:
    console = Console(width=120, force_terminal=False)
    with console.capture() as capture:
        folds_table.show(example(), console)
    lines = capture.get().splitlines()
    (train,) = [line for line in lines if line.strip().startswith("train") and "92.5 %" in line]
    assert train.split() == ["train", "92.5", "%", "1.2", "90.0", "to", "95.0", "87.5", "to", "97.5", "90.0,", "95.0"]
    (alone,) = [line for line in lines if "91.0 %" in line]
    assert alone.split() == ["distill", "(alone)", "91.0", "%", "1.2", "91.0", "to", "91.0", "-", "91.0,", "91.0"]
    assert any("accuracy less that of train, on the same samples" in line for line in lines)
    assert any("-1.5 points" in line for line in lines)
    assert any(line.split() == ["F1", "81.0", "%", "±", "1.2", "-"] for line in lines)
    assert "Mind the <gap>." in capture.get()


def test_values_are_written_as_their_metric_is() -> None:
    assert folds.mean("mse", spread(1234.5, 1235.5)) == "1235 ± 0.0123"
    assert folds.cells("price_mse", spread(2.0, 3.0), change=True)[0] == "+2.5"
    assert folds.noun("price_mse") == "price mean squared error"
    found = folds.cells("accuracy", spread(-0.02, 0.03), change=True)
    assert found == ("+0.5 points", "1.2", "-2.0 to 3.0", "-4.5 to 5.5", "-2.0, 3.0")
    assert folds.cells("r2", spread(0.1, 0.2))[:2] == ("0.1500", "0.0123")
    assert folds.cells("accuracy", spread(0.1, 0.2, 0.3), most=2)[-1] == "10.0, 20.0, ..."


@pytest.mark.parametrize("value", [0.5, 1.0])
def test_dots_of_equal_values_have_a_place(value: float) -> None:
    stages = [Stage(stage="train", metrics={"accuracy": spread(value, value)})]
    assert folds.dots(stages, "accuracy") == {"train": [0.0, 0.0]}


def test_metric_that_no_fold_has_is_in_no_table(tmp_path: Path) -> None:
    found = example(judged_by=["roc_auc"])
    assert folds.dots(found.stages, "roc_auc") == {}
    folds.write(found, tmp_path)
    assert "ROC AUC" not in (tmp_path / "cv.html").read_text("utf-8")
    console = Console(width=120, force_terminal=False)
    with console.capture() as capture:
        folds_table.show(found, console)
    assert "ROC AUC" not in capture.get()
