from __future__ import annotations

import io
import json

from rich.console import Console

from pipeline.compress.sensitivity_table import Sensitivity, Trial
from pipeline.report import page, sensitivity, tables
from pipeline.report.model import Interval
from tests.pipeline.report import shapes


def trial(technique: str, amount: float, lost: float, *layers: str, half: float = 0.01) -> Trial:
    interval = Interval(value=lost, low=lost - half, high=lost + half)
    return Trial.model_validate(
        {"technique": technique, "amount": amount, "layers": list(layers), "lost": interval.model_dump()}
    )  # fmt: skip


TABLE = Sensitivity(
    stage="train", metric="accuracy", quality=0.97, samples=1000,
    trials=[
        trial("prune", 0.9, 0.004, "conv_1"), trial("prune", 0.5, -0.001, "conv_1"), trial("prune", 0.9, 0.05, "dense"),
        trial("shrink", 0.5, 0.02, "conv_1", "conv_2", half=0.03),
    ],
    untouched={"prune": {"depthwise": "TF-MOT does not prune it", "other": "TF-MOT does not prune it"}},
)  # fmt: skip


def test_heat_map_has_a_number_in_each_cell_and_the_worst_layer_first() -> None:
    html = page.render(shapes.report(verdict="pass", sensitivity=TABLE))
    assert '<h2 id="sensitivity-title">What each layer loses by itself</h2>' in html
    assert html.index("<code>dense</code></th>") < html.index("<code>conv_2</code></th>")
    assert html.index("<code>conv_2</code></th>") > html.index("<code>conv_1</code></th>")
    assert '<td class="cell wrong s5" title="95 %: 4.0 to 6.0 points"><b>5.0</b></td>' in html
    assert '<td class="cell wrong s2" title="95 %: -1.0 to 5.0 points">2.0</td>' in html  # it may be chance
    assert '<td class="cell s0">-</td>' in html  # nothing was tried
    assert "prune leaves depthwise, other alone: TF-MOT does not prune it" in html


def test_columns_go_from_the_mildest_to_the_harshest() -> None:
    assert sensitivity.columns(TABLE) == [("shrink", "50 % stay"), ("prune", "50 % zeros"), ("prune", "90 % zeros")]
    assert [row.name for row in sensitivity.rows(TABLE)] == ["dense", "conv_1", "conv_2"]


def test_little_losses_are_not_drawn_as_dark_ones() -> None:
    small = TABLE.model_copy(
        update={"trials": [trial("prune", 0.5, 0.002, "conv_1"), trial("prune", 0.5, 0.0, "dense")]}
    )
    assert [row.cells[0].shade for row in sensitivity.rows(small) if row.cells[0]] == [1, 0]


def test_sentence_says_what_was_compared() -> None:
    assert sensitivity.sentence(TABLE) == (
        "One layer at a time, all others as they are and without fine-tuning: points of accuracy lost against the "
        "model of train, which has 97.0 % on 1,000 samples of the validation split."
    )


def test_terminal_and_report_json_have_the_table() -> None:
    report = shapes.report(verdict="pass", sensitivity=TABLE)
    assert json.loads(report.model_dump_json())["sensitivity"] == TABLE.model_dump(mode="json")
    written = io.StringIO()
    Console(width=80, file=written).print(tables.sensitive(TABLE))
    text = written.getvalue()
    assert text.index("dense") < text.index("conv_1")
    assert "5.0" in text and "-0.1" in text


def test_channels_that_are_lost_together_are_spoken_of_only_where_shrink_was_tried() -> None:
    said = "Layers that lose the same channels share their figures of shrink."
    assert said in page.render(shapes.report(verdict="pass", sensitivity=TABLE))
    pruned = TABLE.model_copy(update={"trials": [one for one in TABLE.trials if one.technique == "prune"]})
    assert said not in page.render(shapes.report(verdict="pass", sensitivity=pruned))
