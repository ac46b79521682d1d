from __future__ import annotations

from typing import Any

import pytest

from pipeline.report import figures, page, several
from pipeline.report.document import Report
from pipeline.report.model import Fitted, Several
from tests.pipeline.report.test_page import Balance, report, terminal

CURVES = {"loss": [1.0, 0.5], "val_loss": [1.0, 0.6], "accuracy": [0.5, 0.9], "val_accuracy": [0.5, 0.8]}
MODEL = {"stage": "train", "parameters": 70, "macs": 60, "sparsity": 0, "bytes": 280, "gzip_bytes": 300}


def fitted(name: str, quality: float | None, **changes: Any) -> Fitted:
    facts: dict[str, Any] = {"name": name, "model": {}, "seed": 7, "parameters": 12345, "macs": 678, "epoch": 2}
    return Fitted.model_validate(facts | {"quality": quality, "training": CURVES} | changes)


def shown(role: str, *entries: Fitted, best: int = 0) -> Report:
    found = Several.model_validate(
        {"role": role, "metric": "accuracy", "fitted": entries, "best": best, "quality": 0.9, "reason": "it <won>"}
    )
    training = CURVES if role == "candidate" else {}
    return report(training=training, models=[MODEL | {"training": training, "several": found}])


@pytest.fixture
def candidates() -> Report:
    return shown("candidate", fitted("mlp", 0.9), fitted("cnn", 0.81), fitted("wild", None, error="lost", training={}))


def test_page_and_terminal_list_every_candidate_and_the_reason(candidates: Report) -> None:
    text = page.render(candidates)
    Balance().feed(text)
    assert "<h3>Candidates</h3>" in text
    assert "It &lt;won&gt;." in text
    assert "1: mlp<small>goes on</small>" in text
    for part in ("12,345", "678", "90.0 %", "81.0 %", ">lost<"):
        assert part in text
    lines = terminal(candidates, width=200)
    assert "candidate 2 (cnn): 81.0 %, 12,345 parameters" in lines
    assert "candidate 3 (wild): lost" in lines
    assert "it <won>" in lines


def test_every_candidate_has_curves_and_the_chosen_ones_are_those_of_train(candidates: Report) -> None:
    assert list(figures.histories(candidates)) == ["train", "candidate 2: cnn"]
    assert "<summary>candidate 2: cnn</summary>" in page.render(candidates)


def test_every_member_has_curves_and_stands_beside_the_ensemble() -> None:
    made = shown("member", fitted("mlp", 0.8), fitted("mlp", 0.85), best=1)
    assert list(figures.histories(made)) == ["member 1: mlp", "member 2: mlp"]
    text = page.render(made)
    Balance().feed(text)
    assert "<h3>Members of the ensemble</h3>" in text
    assert "goes on</small>" not in text
    assert '<th scope="row">the ensemble</th>' in text


def test_report_of_one_model_says_nothing_of_several() -> None:
    assert (several.found(report()), several.curves(report()), several.lines(report())) == (None, {}, [])
    assert "Candidates" not in page.render(report())
