"""Channels removed and left alone, on the page and in the terminal."""

from __future__ import annotations

import re

import pytest

from pipeline.report import channels, page, words
from pipeline.report.model import Channels, Layer, Model
from tests.pipeline.report import shapes
from tests.pipeline.report.test_page import Balance, terminal


def shrunk(*groups: Channels) -> Model:
    return shapes.model("shrink", 0.9, 1000, channels=[group.model_dump() for group in groups])


def attending(*groups: Channels) -> Model:
    """Return a model with a layer of attention."""
    layer = Layer(name="attention", kind="MultiHeadAttention", parameters=9, macs=9)
    return shrunk(*groups).model_copy(update={"layers": [layer]})


def group(name: str, before: int, after: int, *others: str, reason: str = "", positions: int = 1) -> Channels:
    return Channels(name=name, layers=[name, *others], before=before, after=after, reason=reason, positions=positions)


def heads(name: str, before: int, after: int, reason: str = "") -> Channels:
    return Channels(name=name, layers=[], before=before, after=after, reason=reason)


def test_groups_with_one_reason_become_one_line() -> None:
    mixed = [group(f"mix_{i}", 8, 8, reason="an own layer reads them") for i in range(6)]
    model = shrunk(mixed[0], group("conv", 64, 24), *mixed[1:], group("logits", 10, 10, reason="the model's outputs"))
    assert channels.lines(model) == [
        "mix_0, mix_1, mix_2, mix_3 and 2 more (48 channels): an own layer reads them",
        "logits (10 channels): the model's outputs",
    ]
    assert [one.name for one in channels.open_to_removal(model)] == ["conv"]


def test_more_reasons_than_a_page_should_list_are_counted() -> None:
    model = shrunk(*(group(f"c{i}", 8, 8, reason=f"reason {i}") for i in range(channels.MOST_REASONS + 2)))
    assert len(channels.lines(model)) == channels.MOST_REASONS + 1
    assert channels.lines(model)[-1] == "and 2 reasons more, in report.json"


def test_counts_tell_groups_of_which_none_had_to_go_from_those_that_could_not_lose_any() -> None:
    spared = group("logits", 10, 10, reason="the model's outputs")
    model = shrunk(group("a", 64, 24), group("b", 32, 32), spared)
    assert channels.counts(model) == "40 of 106 channels removed from 1 group, none from 1 more, 1 group left alone"
    assert channels.counts(shrunk(group("a", 1200, 600))) == "600 of 1,200 channels removed from 1 group"


def test_channels_are_counted_by_the_positions_that_they_take() -> None:
    model = shrunk(group("grouped", 2, 1, positions=8), group("lstm", 8, 4, positions=2), group("dense", 10, 10))
    assert channels.counts(model) == "16 of 42 channels removed from 2 groups, none from 1 more"
    assert channels.of_layers(model) == {"grouped": (16, 8), "lstm": (16, 8), "dense": (10, 10)}
    assert channels.widest(model.channels) == 16
    assert [(one.before, one.after) for one in channels.silhouette(model)] == [(100, 50), (100, 50), (62.5, 62.5)]


def test_heads_are_counted_apart_from_channels() -> None:
    model = attending(group("attention", 64, 32), heads("attention.2", 8, 5), group("dense", 10, 10))
    assert channels.heads(model) == {"attention.2"}
    assert channels.counts(model) == (
        "32 of 74 channels and 3 of 8 attention heads removed from 2 groups, none from 1 more"
    )
    assert channels.of_layers(model)["attention"] == (64, 32)


def test_heads_that_were_left_alone_are_called_heads() -> None:
    held = "shrink.layers allows no fewer"
    model = attending(group("grouped", 2, 2, reason=held, positions=8), heads("attention", 8, 8, reason=held))
    assert channels.lines(model) == [f"grouped, attention (16 channels, 8 heads): {held}"]


def test_channels_inside_of_another_layer_than_attention_are_no_heads() -> None:
    assert channels.heads(attending(heads("conv", 8, 8, reason="an own layer reads them"))) == set()


def test_sentence_has_macs_and_parameters_where_the_model_before_is_known() -> None:
    report = shapes.shrunk()
    (model,) = channels.shrunk(report)
    assert channels.sentence(model, report) == (
        "600,000 → 282,000 MACs (2.1x fewer), 15,000 → 7,000 parameters (2.1x fewer), 136 of 816 channels removed from "
        "3 groups, 2 groups left alone."
    )
    alone = shapes.report(verdict="incomplete", models=[model])
    assert channels.sentence(model, alone) == "136 of 816 channels removed from 3 groups, 2 groups left alone."


def test_silhouette_is_as_high_as_the_widest_group_and_as_wide_as_the_page() -> None:
    columns = channels.silhouette(shrunk(group("a", 32, 8), group("b", 64, 64, reason="outputs")))
    assert [(one.before, one.after, one.left_alone) for one in columns] == [(50, 12.5, False), (100, 100, True)]
    assert columns[0].x == 0
    assert columns[0].width < columns[1].x == 50
    assert columns[1].x + columns[1].width <= 100


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ((), ""),
        (("bn", "relu"), "bn, relu"),
        (("a", "b", "c", "d"), "a, b, c, d"),
        (("a", "b", "c", "d", "e"), "a, b, c and 2 more"),
    ],
)
def test_layers_of_a_group_are_the_others_of_which_the_first_are_named(others: tuple[str, ...], said: str) -> None:
    assert channels.layers(group("conv", 8, 4, *others)) == said


def test_page_draws_each_group_of_a_small_model_with_its_widths() -> None:
    text = page.render(shapes.shrunk())
    balance = Balance()
    balance.feed(text)
    assert balance.open == []
    section = text.split('<section id="channels"')[1].split("</section>")[0]
    rows = re.findall(r"<code>(conv_\d)</code>.*?width=\"(\d+)\".*?width=\"(\d+)\"", section, re.DOTALL)
    assert rows == [("conv_1", "16", "8"), ("conv_2", "80", "32"), ("conv_3", "160", "80")]
    assert '<td class="n">80</td><td class="n"><b>32</b></td><td class="n">40 %</td>' in section
    assert "<li><code>conv_5</code> (320 channels): they are the model&#39;s outputs</li>" in section
    assert "silhouette" not in section
    assert "<details" not in section


def test_page_shows_positions_and_says_which_are_heads() -> None:
    model = attending(group("grouped", 2, 1, "bn", positions=8), heads("attention", 8, 5))
    report = shapes.report(verdict="incomplete", models=[model])
    section = page.render(report).split('<section id="channels"')[1].split("</section>")[0]
    assert "<code>grouped</code><small>bn</small>" in section
    assert '<td class="n">16</td><td class="n"><b>8</b></td><td class="n">50 %</td>' in section
    assert "<code>attention</code><small>heads of attention</small>" in section
    assert '<td class="n">8</td><td class="n"><b>5</b></td><td class="n">62 %</td>' in section


def test_page_folds_the_table_of_a_deep_model_below_its_silhouette() -> None:
    text = page.render(shapes.shrunk_deep())
    section = text.split('<section id="channels"')[1].split("</section>")[0]
    drawn, table = section.split("<details>")
    assert drawn.count('class="stays"') == 82
    assert drawn.count('class="spared"') == 15
    assert "82 groups, one by one" in table
    assert table.count('<th scope="row">') == 82
    assert "and 10 more (2,800 channels): an own layer, Mixer, reads them" in table


def test_page_of_very_many_groups_says_what_it_left_out() -> None:
    text = page.render(shapes.shrunk(shapes.removed(900)))
    assert "The first 200 of 771; report.json has all." in text


def test_page_has_no_such_section_when_nothing_was_shrunk() -> None:
    text = page.render(shapes.whole())
    assert "Channels removed" not in text
    assert '<th scope="col" class="n">channels</th>' not in text


def test_names_from_outside_are_escaped() -> None:
    bad = [group("<conv>", 16, 8, "<bn>"), group("<x>", 8, 8, reason="<why>")]
    text = page.render(shapes.shrunk([one.model_dump() for one in bad]))
    for name in ("<conv>", "<bn>", "<x>", "<why>"):
        assert name not in text
        assert name.replace("<", "&lt;").replace(">", "&gt;") in text


def test_table_of_layers_shows_the_channels_of_those_in_a_group() -> None:
    layers = page.render(shapes.shrunk()).split('<section id="layers"')[1]
    one = layers.split("<summary>shrink:")[1].split("</details>")[0]
    assert '<th scope="col" class="n">channels</th>' in one
    assert '<td class="n">80 → 32</td>' in one  # conv_2
    assert '<td class="n">240</td>' in one  # conv_4, left alone
    assert '<th scope="col" class="n">channels</th>' not in layers.split("<summary>prune:")[1]


def test_layer_with_channels_of_several_groups_has_their_sum() -> None:
    model = shrunk(group("a", 64, 24, "joined"), group("b", 32, 32, "joined"))
    assert channels.of_layers(model) == {"a": (64, 24), "b": (32, 32), "joined": (96, 56)}


def test_terminal_says_what_was_removed_and_left_alone() -> None:
    text = terminal(shapes.shrunk(), 200)
    assert "shrink: 136 of 816 channels removed from 3 groups, 2 groups left alone" in text
    assert "left alone: conv_4 (240 channels): an own layer, Mixer, reads them" in text
    told = (
        "600,000 -> 282,000 MACs (47 %), 15,000 -> 7,000 parameters (47 %), 5 groups, 2 left alone, val_accuracy 0.98"
    )
    assert told in text
    assert told.replace("_", " ").replace(">", "&gt;") in page.render(shapes.shrunk())


@pytest.mark.parametrize(
    ("metrics", "parts"),
    [
        ({"parameters": 66218, "val_loss": 0.25}, ["parameters 66,218", "val_loss 0.25"]),
        ({"macs": 702_000, "macs_before": 1_493_632}, ["1,493,632 -> 702,000 MACs (47 %)"]),
        ({"latency_ms": 0.305, "latency_ms_before": 0.61}, ["0.61 -> 0.305 ms by the table of layer times (50 %)"]),
        ({"channels_before": 96, "channels": 48}, ["96 -> 48 channels (50 %)"]),
        ({"groups": 1, "left_groups": 0}, ["1 group", "0 left alone"]),
        ({"macs": 0, "macs_before": 0}, ["0 -> 0 MACs"]),
        ({"macs_before": 9}, ["macs_before 9"]),
        # a share of a metric of quality would say nothing
        ({"val_accuracy": 0.8, "val_accuracy_before": 0.9}, ["val_accuracy 0.8", "val_accuracy_before 0.9"]),
    ],
)
def test_metrics_of_a_stage_are_told_with_what_they_were_before(metrics: dict[str, float], parts: list[str]) -> None:
    assert words.told(metrics) == parts
