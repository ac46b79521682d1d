"""Findings of benchmarks outlive an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.findings import Findings, bench, table, told_gain, told_ratio


def never() -> dict[str, Any]:
    raise AssertionError("it is known")


def interrupted() -> dict[str, Any]:
    raise KeyboardInterrupt


def test_sides_that_are_known_are_not_made_again_after_an_interruption(tmp_path: Path) -> None:
    first = Findings("mnist", "python -m mnist", tmp_path)
    assert first.once("tutorial", lambda: {"accuracy": 0.97})["accuracy"] == 0.97
    with pytest.raises(KeyboardInterrupt):
        first.once("ours", interrupted)
    second = Findings("mnist", "python -m mnist", tmp_path)
    assert second.once("tutorial", never)["accuracy"] == 0.97
    assert second.once("ours", lambda: {"accuracy": 0.98})["accuracy"] == 0.98
    assert list(Findings("mnist", "python -m mnist", tmp_path).sides) == ["tutorial", "ours"]


def test_sides_of_other_options_are_made_again_and_that_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = Findings("mnist", "python -m mnist", tmp_path)
    findings.once("ours", lambda: {"accuracy": 0.97}, {"epochs": 1})
    assert findings.once("ours", never, {"epochs": 1})["accuracy"] == 0.97
    assert findings.knows("ours", {"epochs": 1})
    assert not findings.knows("ours", {"epochs": 2})
    assert not findings.knows("theirs", {"epochs": 1})
    assert findings.once("ours", lambda: {"accuracy": 0.98}, {"epochs": 2})["accuracy"] == 0.98
    assert capsys.readouterr().out.startswith("ours: what is known was found of something else")


def test_machines_that_differ_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = Findings("mnist", "python -m mnist", tmp_path)
    for cpu in ("one", "other"):
        monkeypatch.setattr("pipeline.machine.describe", lambda _, cpu=cpu: {"cpu": cpu, "cores": 2})
        findings.once(f"on {cpu}", lambda: {"n": 1})
    assert findings.told("on one").startswith("2 cores, one; load ")
    assert findings.told().startswith("Sides are of DIFFERENT machines: 2 cores, one and 2 cores, other; load ")


def test_sides_that_are_to_be_made_again_are_forgotten_by_their_prefix(tmp_path: Path) -> None:
    findings = Findings("mnist", "python -m mnist", tmp_path)
    for name in ("times, a", "times, b", "sizes"):
        findings.once(name, lambda: {"n": 1})
    findings.again("times")
    assert list(findings.sides) == ["sizes"]


def test_table_is_markdown() -> None:
    assert table(("file", "n"), [("a", 1), ("b", told_ratio((1.5, 1.25, 2)))]) == (
        "| file | n |\n| --- | ---: |\n| a | 1 |\n| b | 1.50 (1.25 to 2.00) |"
    )
    assert told_ratio(None) == "-"


def test_what_is_lost_is_told_as_what_is_gained_with_the_interval_turned_round() -> None:
    assert told_gain((1.77, 1.09, 2.45)) == "-1.77 (-2.45 to -1.09)"
    assert told_gain((-0.09, -0.31, 0.12)) == "+0.09 (-0.12 to +0.31)"


def test_bench_that_failed_before_it_could_measure_ends_with_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.benchmarks.findings.modelmill", lambda *_, **__: 4)
    with pytest.raises(SystemExit) as ended:
        bench({"a": tmp_path / "a.tflite"}, tmp_path)
    assert ended.value.code == 4
