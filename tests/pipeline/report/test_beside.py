from __future__ import annotations

from typing import Any

from pipeline.report import beside, page
from tests.pipeline.report.test_page import Balance, report, terminal

MODEL: dict[str, Any] = {
    "stage": "train", "parameters": 70, "macs": 60, "sparsity": 0, "bytes": 280, "gzip_bytes": 300,
    "metrics": {"accuracy": {"value": 0.975, "low": 0.96, "high": 0.99}},
}  # fmt: skip


def baseline(low: float, high: float) -> dict[str, Any]:
    gain = {"accuracy": {"value": (low + high) / 2, "low": low, "high": high}}
    return {
        "name": "TF-IDF & <b>SVM</b>", "settings": "LinearSVC(C=1)", "samples": 3903,
        "metrics": {"accuracy": {"value": 0.955, "low": 0.94, "high": 0.97}},
        "gains": [{"of": "train.keras", "metrics": gain}],
    }  # fmt: skip


def test_page_and_terminal_show_the_baseline_and_what_the_model_gains_over_it() -> None:
    shown = report(models=[MODEL], baseline=baseline(0.01, 0.03))
    text = page.render(shown)
    Balance().feed(text)
    for part in (
        "Against a simple model", "TF-IDF &amp; &lt;b&gt;SVM&lt;/b&gt;", "95.5 %<small>94.0 to 97.0</small>",
        "LinearSVC(C=1), fitted to the same 3,903 training samples", "+2.0 points (+1.0 to +3.0)", ">better<",
    ):  # fmt: skip
        assert part in text
    lines = terminal(shown, width=200)
    assert "Baseline: TF-IDF & <b>SVM</b>, accuracy 95.5 % (94.0 to 97.0)" in lines
    assert "train.keras: 97.5 %, +2.0 points (+1.0 to +3.0) against it: better" in lines


def test_interval_that_holds_zero_proves_nothing_and_one_below_it_a_loss() -> None:
    rows = [
        beside.rows(report(models=[MODEL], baseline=baseline(*edges)))[1] for edges in ((-0.01, 0.03), (-0.03, -0.01))
    ]
    assert [(row.word, row.gain) for row in rows] == [
        ("no difference proven", "+1.0 points (-1.0 to +3.0)"), ("worse", "-2.0 points (-3.0 to -1.0)"),
    ]  # fmt: skip


def test_report_without_a_baseline_says_nothing_of_one() -> None:
    assert (beside.rows(report()), beside.lines(report()), beside.settings(report())) == ([], [], "")
    assert "Against a simple model" not in page.render(report())
