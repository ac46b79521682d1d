"""tune.json as it is read again, and the page, the figures and the table of a search."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.report import tuning, tuning_figures, tuning_table
from pipeline.report.tuning import Objective, Stage, Trial, Tuning

SPACE = {"prune.final_sparsity": [0.5, 0.6], "quantize.optimizer": ['{"name": "<b>"}'],
         "train.rate": {"low": 0.001, "high": 0.1, "step": None, "log": True}}  # fmt: skip
ACCURACY = Objective(name="quality", direction="maximize", metric="accuracy")
SIZE = Objective(name="size", direction="minimize", unit="bytes")


def trial(number: int, quality: float | None, size: float = 0.0, **changes: Any) -> Trial:
    fields: dict[str, Any] = {
        "number": number, "state": "failed" if quality is None else "complete",
        "params": {"prune.final_sparsity": 0.5 + number % 2 / 10, "quantize.optimizer": '{"name": "<b>"}',
                   "train.rate": 0.001 * (number + 1)},
        "values": None if quality is None else {"quality": quality, "size": size}, "seconds": 3.25,
        "stages": {"train": Stage(status="reused", seconds=10), "prune": Stage(status="run", seconds=4.1)},
    }  # fmt: skip
    return Trial(**fields | changes)


def example(**changes: Any) -> Tuning:
    trials = [
        trial(0, 0.9, 500),
        trial(1, None, reason="prune <lost>\n  too much"),
        trial(2, 0.95, 700),
        trial(3, 0.8, 900),
    ]
    fields: dict[str, Any] = {
        "modelmill": "0.1.0", "recipe": "mine", "seed": 3, "study": "mine", "storage": "sqlite:///x.db",
        "sampler": "tpe", "pruner": "median", "wanted": 5, "objectives": [ACCURACY], "space": SPACE, "trials": trials,
        "best": 2, "rule": "the best value", "unimportant": "It takes 8.", "notes": ["Mind the <gap>."],
    }  # fmt: skip
    return Tuning(**fields | changes)


def several(**changes: Any) -> Tuning:
    return example(objectives=[ACCURACY, SIZE], pareto=[2, 0], **changes)


@pytest.mark.parametrize("found", [example(), several(importance={"quality": {"train.rate": 0.75}})])
def test_result_is_read_as_it_was_written(tmp_path: Path, found: Tuning) -> None:
    tuning.write(found, tmp_path)
    assert tuning.read(tmp_path) == found
    assert {path.name for path in tmp_path.iterdir()} == {"tune.json", "tune.html"}
    assert '"schema": 1' in (tmp_path / "tune.json").read_text("utf-8")


def test_page_tells_all_and_escapes_what_comes_from_outside(tmp_path: Path) -> None:
    tuning.write(several(importance={"quality": {"train.rate": 0.75}}), tmp_path)
    page = (tmp_path / "tune.html").read_text("utf-8")
    for part in ("mine: 3 complete, 1 failed of 5 trials", "accuracy 95.00 %", "size 700 bytes",
                 "Mind the &lt;gap&gt;.", "prune &lt;lost&gt;",
                 "train reused, prune run (4.1 s)", "pareto/0.yaml", "75 %", "fANOVA",
                 "4 of 8 stages were reused from the store; run again they would have taken 40 s."):  # fmt: skip
        assert part in page
    assert "<b>" not in re.sub(r"<b>\d", "", page)
    assert page.count("://") == page.count("sqlite:///")  # it loads nothing
    # history of two objectives, a front, and three keys
    assert page.count('role="img" aria-labelledby') == 6


def test_page_of_a_search_without_a_result_yet_is_a_page(tmp_path: Path) -> None:
    tuning.write(example(trials=[], best=None), tmp_path)
    page = (tmp_path / "tune.html").read_text("utf-8")
    assert "No trial has come to a result yet." in page
    assert 'id="history"' not in page


def test_history_is_drawn_with_the_best_so_far() -> None:
    (plot,) = tuning_figures.histories(example())
    assert [mark.number for mark in plot.marks if mark.best] == [2]
    corners = [tuple(map(float, corner.split(","))) for corner in plot.line.split()]
    heights = [y for _, y in corners]
    assert heights == sorted(heights, reverse=True)  # upwards only
    assert "the first 90.00 %, the best 95.00 %" in plot.said


def test_front_joins_the_pareto_trials() -> None:
    (plot,) = tuning_figures.fronts(several())
    assert sorted(mark.number for mark in plot.marks if mark.best) == [0, 2]
    assert len(plot.line.split()) == 2
    assert "trial 2: accuracy 95.00 %, size 700 bytes, a Pareto trial" in plot.said
    assert tuning_figures.fronts(example()) == []


def test_each_key_has_its_own_axis() -> None:
    choices, sections, rates = tuning_figures.slices(example())
    assert [tick.label for tick in choices.x.ticks] == ["0.5", "0.6"]
    assert sections.x.ticks[0].label == '{"name": "<…'
    assert rates.x.log
    assert [round(mark.x / tuning_figures.WIDTH, 2) for mark in choices.marks] == [0.25, 0.25, 0.75]


def test_parallel_axes_have_a_line_for_each_trial_and_the_best_on_top() -> None:
    columns, threads = tuning_figures.parallel(example())
    assert [column.title for column in columns] == [*SPACE, "accuracy in %"]
    assert [thread.number for thread in threads][-1] == 2
    assert all(len(thread.points.split()) == 4 for thread in threads)
    assert tuning_figures.parallel(example(trials=[trial(0, 0.5)])) == ([], [])


def test_table_shows_the_best_first_and_why_others_failed() -> None:
    console = Console(width=120, force_terminal=False)
    with console.capture() as capture:
        tuning_table.show(example(), console)
    lines = [line.split() for line in capture.get().splitlines()]
    rows = [line for line in lines if line and line[0] in ("0", "2", "3")]
    assert [row[0] for row in rows] == ["2", "0", "3"]
    assert rows[0][-1] == "best"
    assert "trial 1 failed: prune <lost>" in capture.get()
    assert "4 of 8 stages were reused" in capture.get()


def test_equal_values_have_a_place() -> None:
    found = example(trials=[trial(0, 0.5), trial(1, 0.5)], best=0)
    (plot,) = tuning_figures.histories(found)
    assert all(0 < mark.y < tuning_figures.HEIGHT for mark in plot.marks)
