"""Which widths groups may have, and which are chosen, worked out by hand for branches whose costs just add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pytest

from pipeline.compress import channel_graph, widths
from pipeline.compress.channel_graph import ChannelGraph
from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras

ALL: Mapping[str, float | None] = {}


def _branches(**sizes: int) -> ChannelGraph:
    """Return the graph of dense branches that are read together; a channel of each costs 4 + 2 MACs."""
    keras = load_keras()
    inputs = keras.Input((4,), name="samples")
    sides = [keras.layers.Dense(size, use_bias=False, name=name)(inputs) for name, size in sizes.items()]
    x = keras.layers.Concatenate(name="beside")(sides) if len(sides) > 1 else sides[0]
    return channel_graph.follow(keras.Model(inputs, keras.layers.Dense(2, use_bias=False, name="logits")(x)))


def _allowed(
    graph: ChannelGraph, *, multiple: int | None = None, min_share: float = 0.1,
    layers: Mapping[str, float | None] = ALL, names: Sequence[str] = (),
) -> dict[str, tuple[int, ...]]:  # fmt: skip
    names = names or ["samples", *graph.full]
    return widths.allowed(graph, names, multiple=multiple, min_share=min_share, layers=layers)


def _grouped(groups: int, filters: int) -> ChannelGraph:
    keras = load_keras()
    inputs = keras.Input((4, 4, 2 * groups))
    x = keras.layers.Conv2D(filters, 1, groups=groups, name="grouped")(inputs)
    return channel_graph.follow(keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalMaxPooling2D()(x))))


@pytest.mark.parametrize(
    ("size", "multiple", "expected"),
    [
        (32, 8, (8, 16, 24, 32)), (36, 8, (8, 16, 24, 32, 36)), (16, 8, (8, 16)), (15, 8, tuple(range(2, 16))),
        (16, None, tuple(range(2, 17))), (20, 6, (6, 12, 18, 20)), (2, 8, (1, 2)),
    ],
)  # fmt: skip
def test_widths_are_multiples_in_layers_of_sixteen_channels_or_more(
    size: int, multiple: int | None, expected: tuple[int, ...]
) -> None:
    assert _allowed(_branches(hidden=size), multiple=multiple) == {"hidden": expected}


@pytest.mark.parametrize(
    ("groups", "filters", "expected"),
    # the layer has 2 times 4, 8, 12, 16 channels; 3 times 8, 16; fewer than 16 in all
    [(2, 32, (4, 8, 12, 16)), (3, 48, (8, 16)), (2, 14, tuple(range(1, 8)))],
)
def test_multiples_are_of_the_whole_width_when_each_channel_stands_for_several(
    groups: int, filters: int, expected: tuple[int, ...]
) -> None:
    assert _allowed(_grouped(groups, filters), multiple=8) == {"grouped": expected}


@pytest.mark.parametrize("multiple", [None, 8])
def test_very_wide_layers_have_no_more_widths_than_can_be_told_apart(multiple: int | None) -> None:
    found = _allowed(_branches(hidden=512), multiple=multiple, min_share=0.01)["hidden"]
    assert found == tuple(range(16, 513, 16))


@pytest.mark.parametrize(
    ("size", "min_share", "least"), [(10, 0.25, 3), (10, 0.5, 5), (30, 0.1, 3), (10, 0.3, 3), (10, 0, 1)]
)
def test_group_keeps_the_least_share_of_its_channels_and_one_at_least(size: int, min_share: float, least: int) -> None:
    assert _allowed(_branches(hidden=size), min_share=min_share)["hidden"][0] == least


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ({}, {"one_a": 1, "one_b": 1, "two": 1}),
        ({"one_a": 0.75}, {"one_a": 6, "one_b": 1, "two": 1}),
        ({"one_a": None}, {"one_a": 8, "one_b": 1, "two": 1}),
        ({"one_*": 0.5}, {"one_a": 4, "one_b": 4, "two": 1}),
        ({"*": 0.5, "two": None}, {"one_a": 4, "one_b": 4, "two": 8}),
        ({"two": 0.5, "t?o": 0.25}, {"one_a": 1, "one_b": 1, "two": 4}),
    ],
)
def test_shares_of_layers_hold_by_name_and_by_pattern_and_the_largest_of_several(
    layers: dict[str, float | None], expected: dict[str, int]
) -> None:
    found = _allowed(_branches(one_a=8, one_b=8, two=8), layers=layers)
    assert {name: some[0] for name, some in found.items()} == expected


def test_share_of_a_layer_is_no_less_than_the_share_of_all() -> None:
    assert _allowed(_branches(hidden=8), min_share=0.5, layers={"hidden": 0.25})["hidden"][0] == 4


def _added() -> ChannelGraph:
    """Return the graph of first and second, which are added; their norm; and other, a group of its own."""
    keras = load_keras()
    layers, inputs = keras.layers, keras.Input((4,))
    x = layers.Add()([layers.Dense(8, name=name)(inputs) for name in ("first", "second")])
    x = layers.Dense(8, name="other")(layers.BatchNormalization(name="norm")(x))
    return channel_graph.follow(keras.Model(inputs, layers.Dense(2, name="logits")(x)))


@pytest.mark.parametrize("name", ["first", "second", "norm"])
def test_share_of_a_layer_holds_for_all_that_lose_the_same_channels(name: str) -> None:
    found = _allowed(_added(), layers={name: None}, names=["first", "second", "norm", "other", "logits"])
    assert {name: some[0] for name, some in found.items()} == {"first": 8, "other": 1}


def test_groups_of_one_layer_are_told_apart_by_the_groups_name() -> None:
    keras = load_keras()
    inputs = keras.Input((6, 3))
    x = keras.layers.MultiHeadAttention(4, 2, output_shape=8, name="attention")(inputs, inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(x)))
    graph = channel_graph.follow(model)
    further = next(name for name in graph.full if "." in name)
    assert further == "attention.2"
    found = _allowed(graph, layers={further: None}, names=[layer.name for layer in model.layers])
    assert {name: some[0] for name, some in found.items()} == {"attention": 1, further: graph.full[further]}


def test_name_of_no_layer_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError) as failed:
        _allowed(_branches(hidden=8), layers={"hiden": 0.5, "hidden": 0.5, "stack_*": None})
    assert failed.value.what == "shrink.layers names layers that the model does not have"
    assert failed.value.expected.startswith("names or patterns of samples, hidden, logits")
    assert (failed.value.found, failed.value.todo) == ("hiden, stack_*", "did you mean hidden?")


def test_pattern_that_is_like_no_layer_is_answered_with_all_of_them() -> None:
    with pytest.raises(InputError) as failed:
        _allowed(_branches(hidden=8), layers={"zzz": 0.5})
    assert (failed.value.found, failed.value.todo) == ("zzz", "correct them")


def test_nothing_is_chosen_when_all_layers_are_to_stay() -> None:
    with pytest.raises(InputError) as failed:
        _allowed(_branches(left=16, right=8), multiple=16, layers={"right": None})
    assert str(failed.value) == (
        "shrink: all channels are to stay\n"
        "  expected: a group that may lose some\n"
        "  found: left stays at 16, right stays at 8\n"
        "  what to do: take names out of shrink.layers, or lower shrink.min_share or shrink.multiple"
    )


def test_model_with_nothing_to_remove_is_refused_with_the_reasons() -> None:
    keras = load_keras()
    layers, inputs = keras.layers, keras.Input((4,))
    x = layers.Dense(1, name="narrow")(layers.Softmax(name="shares")(layers.Dense(5, name="one")(inputs)))
    model = keras.Model(inputs, layers.Dense(2, name="logits")(layers.Lambda(abs, name="odd")(x)))
    with pytest.raises(InputError) as failed:
        _allowed(channel_graph.follow(model))
    assert failed.value.what == "shrink: there is nothing to remove in this model"
    assert failed.value.found == (
        "one: shares (Softmax) makes shares of all of them; "
        "narrow: odd (Lambda) reads them: nobody knows what its function makes of them; "
        "logits: they are what the model answers"
    )
    assert failed.value.todo == "leave the section shrink out"


def test_groups_that_stay_whole_are_listed_by_their_reason() -> None:
    assert widths.whole(_branches(left=1, right=8)) == {
        "it has one channel": ["left"], "they are what the model answers": ["logits"],
    }  # fmt: skip


def _choose(
    graph: ChannelGraph, scores: Mapping[str, Any], budget: float, *,
    selection: Literal["global", "uniform"] = "global", **options: Any,
) -> dict[str, list[int]]:  # fmt: skip
    """Return the channels that stay at no more than so many MACs."""
    arrays = {name: np.array(one, dtype=np.float64) for name, one in scores.items()}
    found = widths.choose(
        graph, arrays, options.pop("allowed", None) or _allowed(graph, **options), cost=graph.macs, budget=budget,
        selection=selection, unit="the MACs",
    )  # fmt: skip
    return {name: places.tolist() for name, places in found.items()}


def _full(graph: ChannelGraph, kept: Mapping[str, Sequence[int]]) -> dict[str, int]:
    return graph.full | {name: len(places) for name, places in kept.items()}


@pytest.mark.parametrize("selection", ["global", "uniform"])
@pytest.mark.parametrize("multiple", [None, 8])
@pytest.mark.parametrize("budget", [700, 500, 333, 200, 120])
def test_budget_is_met_and_no_wider_group_would_fit(
    budget: float, multiple: int | None, selection: Literal["global", "uniform"]
) -> None:
    graph = _branches(one=64, two=48, three=8)
    random = np.random.default_rng(3)
    scores = {name: random.random(size) for name, size in graph.full.items()}
    allowed = _allowed(graph, multiple=multiple)
    found = _full(graph, _choose(graph, scores, budget, allowed=allowed, selection=selection))
    assert graph.macs(found) <= budget < graph.macs({})
    for name, some in allowed.items():
        assert found[name] in some
        wider = [width for width in some if width > found[name]][:1]
        assert all(graph.macs(found | {name: width}) > budget for width in wider)


@pytest.mark.parametrize("selection", ["global", "uniform"])
def test_nothing_is_removed_when_all_of_it_is_within_the_budget(selection: Literal["global", "uniform"]) -> None:
    graph = _branches(left=8, right=4)
    assert _choose(graph, {"left": [1] * 8, "right": [1] * 4}, 6 * 12, selection=selection) == {}


def test_channels_with_the_largest_scores_stay_in_the_order_of_their_places() -> None:
    graph = _branches(hidden=8)
    assert _choose(graph, {"hidden": [3, 1, 4, 1, 5, 9, 2, 6]}, 6 * 4) == {"hidden": [2, 4, 5, 7]}


def test_first_of_channels_with_equal_scores_stay() -> None:
    assert _choose(_branches(hidden=6), {"hidden": [1, 2, 1, 1, 2, 1]}, 6 * 4) == {"hidden": [0, 1, 2, 4]}


def test_group_whose_channels_hardly_matter_is_narrower() -> None:
    scores = {"left": [1.0] * 8, "right": [7.93, *[0.01] * 7]}
    found = _full(_branches(left=8, right=8), _choose(_branches(left=8, right=8), scores, 6 * 9))
    assert (found["left"], found["right"]) == (8, 1)


def test_groups_that_are_alike_are_as_wide() -> None:
    graph = _branches(left=8, right=8)
    found = _full(graph, _choose(graph, {"left": [1] * 8, "right": [1] * 8}, 6 * 8))
    assert (found["left"], found["right"]) == (4, 4)


def test_uniform_keeps_one_share_of_every_group_whatever_their_scores() -> None:
    graph = _branches(left=8, right=4)
    scores: dict[str, Any] = {"left": [0.01] * 7 + [7.93], "right": [1] * 4}
    assert _choose(graph, scores, 6 * 6, selection="uniform") == {"left": [0, 1, 2, 7], "right": [0, 1]}


def test_uniform_is_as_near_to_one_share_as_widths_allow_and_gives_back_what_is_left() -> None:
    graph = _branches(large=32, small=8)
    scores = {"large": [1.0] * 32, "small": [1.0] * 8}
    exact = _full(graph, _choose(graph, scores, 6 * 20, selection="uniform", multiple=8))
    assert (exact["large"], exact["small"]) == (16, 4)
    # three quarters of both are 30 channels; half of both leaves room for 8 more, which are the large group's next
    wider = _full(graph, _choose(graph, scores, 6 * 28, selection="uniform", multiple=8))
    assert (wider["large"], wider["small"]) == (24, 4)


def test_what_one_wide_step_took_too_much_is_given_back_to_others() -> None:
    graph = _branches(large=16, small=4)
    # 14 channels may stay: first the one of the small group goes that is nothing, then 8 of the large group must
    scores: dict[str, Any] = {"large": [1.0] * 8 + [0.2] * 8, "small": [1.0] * 3 + [1e-6]}
    found = _full(graph, _choose(graph, scores, 6 * 14, multiple=8))
    assert (found["large"], found["small"]) == (8, 4)


@pytest.mark.parametrize("selection", ["global", "uniform"])
def test_choice_is_the_same_again_and_in_another_order_of_groups(selection: Literal["global", "uniform"]) -> None:
    graph = _branches(one=12, two=12, three=12)
    scores = {name: [1.0] * 12 for name in ("one", "two", "three")}
    allowed = _allowed(graph)
    first = _choose(graph, scores, 6 * 17, allowed=allowed, selection=selection)
    turned = {name: allowed[name] for name in reversed(allowed)}
    assert _choose(graph, scores, 6 * 17, allowed=allowed, selection=selection) == first
    assert _choose(graph, scores, 6 * 17, allowed=turned, selection=selection) == first


@pytest.mark.parametrize("selection", ["global", "uniform"])
def test_budget_that_cannot_be_reached_is_refused_with_what_can(selection: Literal["global", "uniform"]) -> None:
    graph = _branches(left=8, right=8)
    with pytest.raises(InputError) as failed:
        _choose(graph, {"left": [1] * 8, "right": [1] * 8}, 28.8, min_share=0.5, selection=selection)
    assert str(failed.value) == (
        "shrink: 30% of the MACs cannot be reached\n"
        "  expected: at least 50 %, with every group as narrow as it may be\n"
        "  found: 28.8 of 96; the least is 48 (left 8 to 4, right 8 to 4)\n"
        "  what to do: ask for less to be removed, or lower shrink.min_share, shrink.multiple or shares in "
        "shrink.layers"
    )


def test_least_that_can_be_reached_is_reached() -> None:
    graph = _branches(left=8, right=8)
    found = _full(graph, _choose(graph, {"left": [1] * 8, "right": [1] * 8}, 48, min_share=0.5))
    assert (found["left"], found["right"]) == (4, 4)


def test_refusal_names_six_groups_of_many() -> None:
    graph = _branches(**{f"side_{place}": 2 for place in range(7)})
    with pytest.raises(InputError) as failed:
        _choose(graph, {name: [1, 1] for name in graph.full if name != "logits"}, 1)
    assert failed.value.found == (
        "1 of 84; the least is 42 (side_0 2 to 1, side_1 2 to 1, side_2 2 to 1, side_3 2 to 1, side_4 2 to 1, "
        "side_5 2 to 1, ...)"
    )


@pytest.mark.parametrize("selection", ["global", "uniform"])
def test_group_that_lost_channels_before_keeps_widths_of_the_model_that_came_in(
    selection: Literal["global", "uniform"],
) -> None:
    allowed = _allowed(_branches(left=16, right=16), multiple=8, min_share=0.5)
    assert allowed == {"left": (8, 16), "right": (8, 16)}
    now = _branches(left=8, right=16)
    scores = {"left": [0.1] * 8, "right": [1.0] * 16}
    assert _choose(now, scores, 6 * 17, allowed=allowed, selection=selection) == {"right": list(range(8))}
