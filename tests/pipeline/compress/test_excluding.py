from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.compress import excluding, sensitivity_table
from pipeline.compress.prune_config import Config
from pipeline.compress.sensitivity_table import Sensitivity, Technique, Trial
from pipeline.errors import InputError
from pipeline.report.model import Interval

NAMES = ["conv_1", "conv_2", "dense", "logits"]


def trial(technique: Technique, amount: float, lost: float, *layers: str) -> Trial:
    interval = Interval(value=lost, low=lost - 0.01, high=lost + 0.01)
    return Trial(technique=technique, amount=amount, layers=list(layers), lost=interval)


def table(*trials: Trial) -> Sensitivity:
    return Sensitivity(stage="train", metric="accuracy", quality=0.9, samples=1000, trials=list(trials))


# points: 3, 1, 0.4, and a gain of 2
PRUNE = table(
    trial("prune", 0.5, 0.0, "conv_1"),
    trial("prune", 0.9, 0.03, "conv_1"),
    trial("prune", 0.9, 0.01, "conv_2"),
    trial("prune", 0.9, -0.02, "dense"),
    trial("prune", 0.9, 0.004, "logits"),
)


@pytest.mark.parametrize(
    ("budget", "out"),
    [
        (0.044, []),  # just what all lose together; the gain of dense pays for nothing
        (0.043, ["conv_1"]),
        (0.014, ["conv_1"]),
        (0.013, ["conv_1", "conv_2"]),
        (0.0, ["conv_1", "conv_2", "logits"]),
    ],
)
def test_worst_layers_are_left_out_until_the_others_lose_no_more_than_the_budget(budget: float, out: list[str]) -> None:
    assert list(excluding.worst(PRUNE, "prune", asked=0.9, budget=budget)) == out


def test_reason_says_what_a_layer_loses_and_at_what() -> None:
    found = excluding.worst(PRUNE, "prune", asked=0.8, budget=0.02)
    assert found == {"conv_1": "by itself it loses 3.0 points at 90 % zeros (exclude: auto)"}


def test_layers_that_lose_the_same_channels_are_left_out_together() -> None:
    both = table(trial("shrink", 0.5, 0.03, "conv_1", "conv_2"), trial("shrink", 0.5, 0.0, "dense"))
    assert list(excluding.worst(both, "shrink", asked=0.7, budget=0.01)) == ["conv_1", "conv_2"]


@pytest.mark.parametrize(
    ("technique", "amounts", "asked", "nearest"),
    [
        ("prune", (0.5, 0.7, 0.9), 0.74, 0.7),
        ("prune", (0.5, 0.7, 0.9), 0.8, 0.9),  # as near to both: the one that does more
        ("shrink", (0.75, 0.5), 0.625, 0.5),
        ("cluster", (16, 4), 9, 16),  # by ratio
        ("cluster", (16, 4), 8, 4),
        ("quantize", (8,), 8, 8),
    ],
)
def test_trials_are_those_of_the_amount_nearest_to_what_is_asked(
    technique: Technique, amounts: tuple[float, ...], asked: float, nearest: float
) -> None:
    found = table(*(trial(technique, amount, 0.0, "conv_1") for amount in amounts)).at(technique, asked)
    assert [one.amount for one in found] == [nearest]


def test_auto_is_refused_when_no_layer_would_be_left() -> None:
    with pytest.raises(InputError) as refused:
        excluding.worst(table(trial("prune", 0.9, 0.03, "conv_1")), "prune", asked=0.9, budget=0.01)
    assert "prune.exclude auto would leave every layer out" in str(refused.value)
    assert "conv_1 loses 3.0 points at 90 % zeros" in str(refused.value)
    assert "a higher prune.exclude_budget" in str(refused.value)


def test_names_and_patterns_fit_layers() -> None:
    found = excluding.named(("conv_*", "logits"), NAMES, "quantize")
    assert list(found) == ["conv_1", "conv_2", "logits"]
    assert set(found.values()) == {"the recipe leaves it out (quantize.exclude)"}
    assert excluding.named("auto", NAMES, "quantize") == {}


def test_name_that_fits_no_layer_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(InputError) as refused:
        excluding.named(("conv_1", "dens"), NAMES, "cluster")
    assert "cluster.exclude names what is no layer of the model" in str(refused.value)
    assert "found: dens\n" in str(refused.value)
    assert "names or patterns of conv_1, conv_2, dense, logits" in str(refused.value)
    assert "did you mean dense?" in str(refused.value)


def test_layer_that_is_left_out_is_so_whatever_pattern_comes_after_it() -> None:
    found = excluding.without({"conv_1": 0.5, "*": 0.9}, ["conv_1"])
    assert list(found.items()) == [("*", 0.9), ("conv_1", None)]


def test_what_comes_of_a_layer_is_left_out_with_it() -> None:
    origins = {"conv_depthwise": "conv", "conv_1_row": "conv_1"}
    assert excluding.lowered({"conv": "why"}, origins) == {"conv": "why", "conv_depthwise": "why"}


def test_layers_that_the_stage_does_not_touch_use_up_no_budget() -> None:
    trials = table(trial("prune", 0.9, 0.5, "dense"), trial("prune", 0.9, 0.01, "conv_1"))
    assert list(excluding.worst(trials, "prune", asked=0.9, budget=0.02)) == ["dense"]
    assert excluding.worst(trials, "prune", asked=0.9, budget=0.02, touched={"conv_1"}) == {}


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (0.1, ["exclude: auto leaves no layer out: what all of them lose, each by itself, adds up to at most 10.0 "
               "points (prune.exclude_budget)"]),
        (0.014, []),
    ],
)  # fmt: skip
def test_auto_says_where_it_leaves_nothing_out(budget: float, said: list[str], tmp_path: Path) -> None:
    sensitivity_table.write(PRUNE, tmp_path)
    told: list[Any] = []
    job: Any = SimpleNamespace(inputs={"sensitivity": SimpleNamespace(folder=tmp_path)}, emit=told.append)
    model = SimpleNamespace(layers=[SimpleNamespace(name=name) for name in NAMES])
    config = Config(exclude="auto", exclude_budget=budget)
    out = excluding.of(job, model, config, "prune", 0.9)
    assert bool(out) == (not said)
    assert [(one.stage, one.text) for one in told] == [("prune", text) for text in said]
