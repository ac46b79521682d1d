"""What each stage bought, the student, the layers and the curves, on the page and in the terminal."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pipeline.bought import bought
from pipeline.report import document, figures, page, tables, variants, words
from pipeline.report.model import Histogram
from pipeline.variants import ALONE
from tests.pipeline.report.test_page import Balance, report, terminal
from tests.pipeline.test_bought import artifact

HISTOGRAM = {"low": -0.5, "high": 0.5, "counts": [1, 4, 2], "zeros": 13}
CURVES = {"loss": [1.0, 0.5], "val_loss": [1.0, 0.6], "accuracy": [0.5, 0.9], "val_accuracy": [0.5, 0.8]}


def layer(**changes: Any) -> dict[str, Any]:
    return {"name": "conv", "kind": "Conv2D", "parameters": 20, "macs": 300} | changes


def model(stage: str, accuracy: float, **changes: Any) -> document.Model:
    found = {"accuracy": interval(accuracy, 0.01)} | changes.pop("metrics", {})
    facts: dict[str, Any] = {
        "stage": stage, "parameters": 1234, "macs": 5000, "sparsity": 0.0, "bytes": 4000, "gzip_bytes": 3000,
        "metrics": found, "training": CURVES,
    }  # fmt: skip
    return document.Model.model_validate(facts | changes)


def interval(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def gains(**changes: Any) -> document.Report:
    """A report of a teacher, a student with and without it, and the student pruned."""
    pruned = [
        layer(name="<first>", macs=None, sparsity=0.0, reason="it is the <first>"),
        layer(sparsity=0.65, target=0.7, histogram=HISTOGRAM),
        layer(name="pool", kind="MaxPooling2D", macs=None),
    ]
    models = [
        model("train", 0.97),
        model("distill", 0.96, parameters=617, metrics={"accuracy_gain_by_teaching": interval(0.02, 0.01)}),
        model("distill", 0.94, variant="alone", parameters=617),
        model("prune", 0.955, parameters=617, sparsity=0.65, layers=pruned),
    ]
    files = [
        artifact("train", gzip_bytes=4000),
        artifact("distill", gzip_bytes=2000, ms=0.5),
        artifact("prune", gzip_bytes=800, ms=0.5, sparsity=0.65, optional=True),
        artifact("prune", "onnx", gzip_bytes=None, runs=[], error="no such <operator>", optional=True, path=None),
    ]
    facts = {
        "models": models, "artifacts": measured(files), "bought": bought(models, files), "reference": files[0].id,
        "final": files[2].id, "gates": [],
    }  # fmt: skip
    return report(**facts | changes)


def measured(files: list[document.Artifact]) -> list[document.Artifact]:
    """Return the files with what the page says of every run."""
    accuracy = document.Interval(value=0.9, low=0.8, high=1.0)
    settings = {"generator": "mlperf_loadgen 6", "blocks": 5}

    def complete(run: document.Run) -> document.Run:
        timed = [one.model_copy(update={"settings": settings}) for one in run.latency]
        return run.model_copy(update={"metrics": {"accuracy": accuracy}, "latency": timed})

    return [file.model_copy(update={"runs": [complete(run) for run in file.runs]}) for file in files]


def test_page_says_what_each_stage_bought_and_why_it_is_not_faster() -> None:
    text = page.render(gains())
    for said in (
        "<h3>distill</h3>\n<p>smaller (2.0x) and faster (LiteRT 2.0x)</p>",
        "<h3>prune</h3>\n<p>smaller (2.5x), not faster (LiteRT 1.00x)</p>",
        "LiteRT: 65.0 % zeros, but none of the 26 output channels is all zero; dense kernels",
        "<small>1.00x</small><small>1.00 to 1.00</small>",
        '<th scope="row">distill (alone)</th>',
    ):
        assert said in text


def test_page_is_well_formed_and_escapes_names_and_reasons() -> None:
    text = page.render(gains())
    balance = Balance()
    balance.feed(text)
    assert balance.open == []
    for raw in ("<first>", "<operator>"):
        assert raw not in text
        assert raw.replace("<", "&lt;").replace(">", "&gt;") in text
    assert "://" not in text  # nothing from outside
    assert {target[:1] for target in re.findall(r'(?:href|src)="([^"]*)"', text)} == {"#", "d"}  # data:


def test_page_compares_the_student_with_the_one_alone() -> None:
    text = page.render(gains())
    for said in (
        "The student with and without its teacher",
        '<td class="n">96.0 %<small>95.0 to 97.0</small></td><td class="n">94.0 %<small>93.0 to 95.0</small></td>',
        "The teacher helped: +2.0 points of accuracy, 95 % +1.0 to +3.0.",
        '<polyline class="taught" points="0.0,140.0 256.0,0.0"/>',
        "validation accuracy over 2 epochs: taught from 0.5 to 0.8, alone from 0.5 to 0.8",
        '<polyline class="alone"',
    ):
        assert said in text


def _taught_twice() -> document.Report:
    shown = gains()
    gained = {"accuracy_gain_by_teaching": interval(-0.01, 0.02)}
    pruned = model(
        "prune", 0.955, metrics=gained, taught=["logits (temperature 4, weight 0.9)", "features by <fitnet>"]
    )
    return gains(models=[*shown.models[:3], pruned, model("prune", 0.965, variant="alone")])


def test_page_compares_each_stage_with_what_it_made_alone_and_says_what_was_learned() -> None:
    text = page.render(_taught_twice())
    for said in (
        "<h3>The student with and without its teacher</h3>\n<p>The teacher helped: +2.0 points",
        "<h3>prune with and without its teacher</h3>\n<p>No effect of the teacher is proven: -1.0 points",
        "<p>Learned of the teacher: logits (temperature 4, weight 0.9); features by &lt;fitnet&gt;.</p>",
        "<summary>prune (alone)</summary>",
    ):
        assert said in text
    assert text.count('<polyline class="alone"') == 2
    balance = Balance()
    balance.feed(text)
    assert balance.open == []


def test_terminal_says_of_each_stage_what_its_teacher_was_worth() -> None:
    lines = " ".join(terminal(_taught_twice()).split())
    for said in (
        "distill: The teacher helped: +2.0 points",
        "prune: No effect of the teacher is proven: -1.0 points",
        "learned: features by <fitnet>",
    ):
        assert said in lines


def test_page_has_no_empty_sections_when_there_was_one_stage() -> None:
    text = page.render(gains(models=[model("train", 0.97)], bought=[]))
    assert "without its teacher" not in text
    assert "Left out" not in text
    assert 'class="cards"' not in text
    assert 'id="layers"' not in text


def test_page_shows_zeros_weights_and_omissions_of_layers() -> None:
    text = page.render(gains())
    for said in (
        "prune: 65.0 % zeros in 2 kernels",
        '<rect class="zero" width="65.0" height="10"/><path class="target" d="M70.0 0V10"/>',
        "aimed at 70.0 %",
        "Weights of conv in prune: 7 that are not zero, from -0.5 to 0.5, and 13 zeros",
        "7 not zero, 13 zeros",
        "prune: <code>&lt;first&gt;</code>, it is the &lt;first&gt;",
        '<td class="n">unknown</td>',
        "Without kernels: MaxPooling2D.",
    ):
        assert said in text


def test_page_marks_optional_artifacts_and_says_what_is_in_the_files() -> None:
    text = page.render(gains())
    assert '<span class="chip final">final</span><span class="chip optional">optional</span>' in text
    chips = '<span class="chip reference">reference</span><span class="chip served-by-default">served by default</span>'
    assert chips in page.render(gains(to_serve="train.tflite.float32"))
    assert "What is in the files" in text
    assert "0 of 26" in text


def test_page_draws_the_curves_of_every_model_and_of_the_first_stage_where_none_is_known() -> None:
    text = page.render(gains())
    assert text.count('<polyline class="validation"') == 8
    for name in ("train", "distill", "distill (alone)", "prune"):
        assert f"<summary>{name}</summary>" in text
    assert page.render(gains(models=[], bought=[])).count('<polyline class="validation"') == 2


def test_terminal_says_what_each_stage_bought_within_80_columns() -> None:
    text = terminal(gains())
    assert max(len(line) for line in text.splitlines()) <= 80
    lines = " ".join(text.split())
    for said in (
        "What each stage bought",
        "distill (alone)",
        "distill: smaller (2.0x) and faster (LiteRT 2.0x)",
        "prune: smaller (2.5x), not faster (LiteRT 1.00x)",
        "65.0 % zeros, but none of the 26 output channels is all zero",
        "The teacher helped: +2.0 points",
        "Left out: prune <first>: it is the <first>",
        "litert, final, optional",
        "(optional): no such <operator>",
    ):
        assert said in lines


def test_terminal_has_no_table_of_gains_when_no_model_is_known() -> None:
    assert "bought" not in terminal(report())
    assert tables.number(1234) == "1,234"


def test_size_of_a_model_is_that_of_the_file_that_was_compared() -> None:
    shown = gains()
    assert [words.packed(one, shown) for one in shown.models] == [4000, 2000, None, 800]
    bare = gains(artifacts=[], bought=bought(shown.models, []))
    assert [words.packed(one, bare) for one in bare.models] == [3000, 3000, 3000, 3000]


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ((0.02, 0.01, 0.03), "The teacher helped: +2.0 points of accuracy, 95 % +1.0 to +3.0"),
        ((0.01, -0.01, 0.03), "No effect of the teacher is proven: +1.0 points of accuracy, 95 % -1.0 to +3.0"),
        ((-0.02, -0.03, -0.01), "The teacher did harm: -2.0 points of accuracy, 95 % -3.0 to -1.0"),
    ],
)
def test_gain_by_teaching_is_claimed_only_where_the_interval_shows_it(
    gain: tuple[float, float, float], said: str
) -> None:
    value, low, high = gain
    assert variants.said(ALONE, document.Interval(value=value, low=low, high=high)) == said


def _removed(loss: float, half: float) -> document.Report:
    """A report of a model that shrank, beside the same with all its channels."""
    lost = {"accuracy_loss_by_removal": interval(loss, half)}
    return gains(models=[
        *gains().models[:1], model("shrink", 0.955, parameters=300, metrics=lost),
        model("shrink", 0.965, variant="control", parameters=617),
    ])  # fmt: skip


def test_page_compares_the_model_that_shrank_with_the_one_that_kept_its_channels() -> None:
    text = page.render(_removed(0.01, 0.002))
    for said in (
        "<h3>shrink with and without channel removal</h3>\n<p>Removing channels cost: -1.0 points of accuracy, "
        "95 % -1.2 to -0.8.</p>",
        '<th scope="col" class="n">shrunk</th><th scope="col" class="n">control</th>',
        '<tr><th scope="row">parameters</th><td class="n">300</td><td class="n">617</td></tr>',
        '<polyline class="shrunk" points="0.0,140.0 256.0,0.0"/>',
        "validation accuracy over 2 epochs: shrunk from 0.5 to 0.8, control from 0.5 to 0.8",
        "<summary>shrink (control)</summary>",
    ):
        assert said in text


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (0.01, "Removing channels cost: -1.0 points of accuracy, 95 % -1.2 to -0.8"),
        (0.001, "No loss by removing channels is proven: -0.1 points of accuracy, 95 % -0.3 to +0.1"),
        (-0.01, "Removing channels helped: +1.0 points of accuracy, 95 % +0.8 to +1.2"),
    ],
)
def test_terminal_says_what_removal_lost_as_the_interval_shows_it(loss: float, said: str) -> None:
    assert said in " ".join(terminal(_removed(loss, 0.002)).split())


@pytest.mark.parametrize(("value", "said"), [(0.854, "0.85x"), (1.0, "1.00x"), (1.96, "2.0x"), (12.3, "12x")])
def test_a_ratio_has_two_digits_or_more(value: float, said: str) -> None:
    assert words.ratio(value) == said


@pytest.mark.parametrize(
    ("counts", "path"),
    [
        ([1, 4, 2], "M0 40V30.0H10.0V0.0H20.0V20.0H30.0V40Z"),
        ([0, 0], "M0 40V40.0H15.0V40.0H30.0V40Z"),
        ([], "M0 40V40Z"),
    ],
)
def test_outline_of_a_histogram_is_as_high_as_the_area(counts: list[int], path: str) -> None:
    assert figures.outline(Histogram(low=-1, high=1, counts=counts, zeros=0), 30, 40) == path


def test_rounded_copies_of_a_model_are_not_its_latency() -> None:
    shown = gains(artifacts=measured([artifact("train"), artifact("train", precision="float16", ms=0.1)]))
    timed = list(words.timed(shown.models[0], shown))
    assert [place for place, _, _ in timed] == ["LiteRT"]
