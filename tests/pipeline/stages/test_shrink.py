"""shrink on a small net and the digits: what it leaves, what it says, and that it goes on where it was stopped."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from pipeline import data, fine_tune
from pipeline.compress import importance, removal, removal_promise, sensitivity_table, shrink_bounds, widths
from pipeline.compress.sensitivity_table import Sensitivity, Trial
from pipeline.errors import InputError, PromiseError
from pipeline.events import Event, Note, Progress
from pipeline.files import hashes
from pipeline.formats import keras_file
from pipeline.legacy_keras import load as load_keras
from pipeline.measuring import anatomy, footprint, layer_times
from pipeline.measuring.layer_times import Entry, LayerTimes
from pipeline.predictor import Spec
from pipeline.report.model import Interval, read_models, write_models
from pipeline.stage import Result
from pipeline.stages import shrink
from tests.pipeline.stages.small import DATA, job

_TOO_LITTLE_TIME = r"20% of the time by the table of layer times cannot be reached(.|\n)*at least 40 %"
BRIEF: dict[str, Any] = {"epochs": 1, "batch_size": 256, "tensorboard": False}


def stored(model: Any, spec: Spec, folder: Path) -> None:
    """Write a model as the stage train leaves one."""
    keras_file.write(model, spec, folder)
    write_models([anatomy.describe(model, "train")], folder)


@pytest.fixture(scope="module")
def came(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    spec = data.load(DATA).spec
    config = models.cnn.Config(architecture="cnn", filters=(16, 32), convolutions=1, head="average")
    stored(models.build(config, spec, seed=0), spec, folder)
    return folder


def shrunk(came: Path, folder: Path, events: list[Event] | None = None, **options: Any) -> Result:
    config = shrink.Config.model_validate(BRIEF | options)
    return shrink.run(job(folder, [] if events is None else events, train=came), data=DATA, shrink=config, seed=0)


def notes(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note)]


@pytest.mark.parametrize(
    "options",
    [
        {"macs": 0.5},
        {"parameters": 0.4, "importance": "taylor", "selection": "uniform", "multiple": None},
        {"macs": 0.6, "importance": "batch_norm", "steps": 2, "epochs": 3, "teach": {}},
        {"parameters": 0.7, "importance": "random", "layers": {"conv_1": 0.75}, "multiple": 4},
    ],
    ids=lambda options: " ".join(options),
)
def test_model_that_shrank_is_an_ordinary_one_and_takes_no_more_than_its_share(
    options: dict[str, Any], came: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    found = shrunk(came, tmp_path / "entry", events, **options).metrics
    before, spec = keras_file.read(came)
    model, same = keras_file.read(tmp_path / "entry")
    assert same == spec
    counted = {"macs": footprint.macs(model).total, "parameters": footprint.parameters(model)}
    whole = {"macs": footprint.macs(before).total, "parameters": footprint.parameters(before)}
    assert {name: (found[name], found[f"{name}_before"]) for name in counted} == {
        name: (counted[name], whole[name]) for name in counted
    }
    target = "macs" if "macs" in options else "parameters"
    assert 0 < counted[target] <= options[target] * whole[target]
    assert model.input_shape == before.input_shape
    assert model.output_shape == before.output_shape
    assert [layer.name for layer in model.layers] == [layer.name for layer in before.layers]
    assert (found["groups"], found["left_groups"]) == (3, 1)
    (described,) = read_models(tmp_path / "entry")
    epochs = options.get("epochs", 1)
    assert {len(values) for values in described.training.values()} == {epochs}
    assert found["epoch"] == epochs
    convolution, second, logits = described.channels
    assert (convolution.name, convolution.before, convolution.after) == (
        "conv_1", 16, model.get_layer("conv_1").filters,
    )  # fmt: skip
    assert (second.before, second.after) == (32, model.get_layer("conv_2").filters)
    assert (logits.layers, logits.before, logits.after) == (["logits"], 10, 10)
    assert logits.reason == "they are what the model answers"
    assert (found["channels_before"], found["channels"]) == (58, convolution.after + second.after + 10)
    assert convolution.after >= 12 or "layers" not in options
    if multiple := options.get("multiple", 8):
        assert (convolution.after % multiple, second.after % multiple) == (0, 0)
    told = notes(events)
    assert told[0] == "all channels stay in logits: they are what the model answers"
    fewer = sum(group.after < group.before for group in described.channels)
    assert told[-1].endswith(f"; {58 - found['channels']:.0f} of 58 channels go, in {fewer} of 3 groups")
    assert f"{whole['macs']:,.6g} to {counted['macs']:,.6g} MACs ({counted['macs'] / whole['macs']:.1%})" in told[-1]
    assert [text.split(":")[0] for text in told[2:]] == (
        ["round 1 of 2", "round 2 of 2"] if options.get("steps") else [told[-1].split(":")[0]]
    )
    least, asked = re.fullmatch(
        r"every group as narrow as it may be would leave (.+)% of the .+, (.+)% may stay", told[1]
    ).groups()  # type: ignore[union-attr]
    assert float(least) < float(asked) == pytest.approx(100 * options[target])


@pytest.mark.parametrize("steps", [1, 2])
def test_control_is_the_model_that_came_in_fitted_on_the_same_budget(steps: int, came: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    options = {"macs": 0.5, "steps": steps, "epochs": 3, "control": True}
    found = shrunk(came, tmp_path / "entry", events, **options).metrics
    shrank, control = read_models(tmp_path / "entry")
    model, spec = keras_file.read(tmp_path / "entry" / "control")
    before, same = keras_file.read(came)
    assert spec == same
    assert (shrank.variant, control.variant, control.channels) == ("", "control", [])
    assert shrank.macs is not None and control.macs == footprint.macs(before).total >= 2 * shrank.macs
    assert {len(values) for one in (shrank, control) for values in one.training.values()} == {3}
    assert found["control_val_accuracy"] == pytest.approx(control.training["val_accuracy"][-1])
    assert "now the same without removing channels, on the same budget, to compare" in notes(events)
    assert any(not np.array_equal(a, b) for a, b in zip(before.get_weights(), model.get_weights(), strict=True))
    if steps == 1:  # nothing is done to it but fit it: as train would, on the same data in the same order
        fitted = fine_tune.tune(
            job(tmp_path / "plain", []), before, data.load(DATA), shrink.Config.model_validate(BRIEF | options),
            data=DATA, seed=0, stage="shrink", work=tmp_path / "work", teaching=None,
        )  # fmt: skip
        assert {name: list(values) for name, values in fitted.history.epochs.items()} == control.training
        assert all(np.array_equal(a, b) for a, b in zip(before.get_weights(), model.get_weights(), strict=True))


def test_layers_that_are_left_out_stay_whole_with_the_reason(came: Path, tmp_path: Path) -> None:
    table = Sensitivity(
        stage="train", metric="accuracy", quality=0.9, samples=270,
        trials=[
            Trial(technique="shrink", amount=0.75, layers=[name], lost=Interval(value=lost, low=lost, high=lost))
            for name, lost in (("conv_1", 0.2), ("conv_2", 0.005))
        ],
    )  # fmt: skip
    measured = tmp_path / "sensitivity"
    measured.mkdir()
    sensitivity_table.write(table, measured)
    events: list[Event] = []
    config = shrink.Config.model_validate(BRIEF | {"macs": 0.6, "exclude": "auto", "exclude_budget": 0.01})
    todo = job(tmp_path / "entry", events, train=came, sensitivity=measured)
    shrink.run(todo, data=DATA, shrink=config, seed=0)
    first, second, _ = read_models(tmp_path / "entry")[0].channels
    assert (first.after, second.after < 32) == (16, True)
    assert first.reason == "by itself it loses 20.0 points at 75 % of its channels (exclude: auto)"
    assert f"all channels stay in conv_1, bn_1: {first.reason}" in notes(events)


def test_names_to_leave_out_are_checked_before_anything_is_trained(came: Path) -> None:
    model, _ = keras_file.read(came)
    with pytest.raises(InputError, match=r"shrink\.exclude names what is no layer of the model(.|\n)*found: conv_9"):
        shrink_bounds.check(model, shrink.Config.model_validate({"macs": 0.5, "exclude": ["conv_9"]}))
    with pytest.raises(InputError, match="shrink: all channels are to stay"):
        shrink_bounds.check(model, shrink.Config.model_validate({"macs": 0.5, "exclude": ["conv_*"]}))


def test_time_is_that_of_the_table_and_the_table_is_not_taken_for_the_model(came: Path, tmp_path: Path) -> None:
    first = Entry(operation="convolution", layers=["conv_1"], inputs=[1], outputs=[8, 16], ms=[[0.1, 0.2]])
    second = Entry(
        operation="convolution", layers=["conv_2"], inputs=[8, 16], outputs=[8, 32], ms=[[0.1, 0.3], [0.2, 0.6]]
    )
    table = LayerTimes(
        runtime="litert", precision="float32", threads=1, whole_ms=1.0, sum_ms=0.8, entries=[first, second]
    )
    (tmp_path / "profile").mkdir()
    layer_times.write(table, tmp_path / "profile")
    config = shrink.Config.model_validate(BRIEF | {"latency": {"share": 0.6}})
    events: list[Event] = []
    # the table comes last, as in a run
    todo = job(tmp_path / "entry", events, train=came, profile=tmp_path / "profile")
    found = shrink.run(todo, data=DATA, shrink=config, seed=0).metrics
    model, _ = keras_file.read(tmp_path / "entry")
    one, other = (model.get_layer(name).filters for name in ("conv_1", "conv_2"))
    assert (one, other) in {(8, 8), (8, 16), (8, 24), (8, 32), (16, 8)}
    left = 0.2 + first.at(1, one) + second.at(one, other)
    assert found["latency_ms"] == pytest.approx(left)
    assert found["latency_ms"] <= 0.6
    assert found["latency_ms_before"] == pytest.approx(1.0)
    assert f"1 to {left:,.6g} ms by the table of layer times ({left:.1%})" in notes(events)[-1]
    with pytest.raises(
        InputError, match=r"20% of the time by the table of layer times cannot be reached(.|\n)*at least 40 %"
    ):
        shrink.run(
            job(tmp_path / "other", [], train=came, profile=tmp_path / "profile"), data=DATA, seed=0,
            shrink=shrink.Config.model_validate(BRIEF | {"latency": {"share": 0.2}}),
        )  # fmt: skip


def test_rounds_take_the_same_share_each_and_share_the_epochs() -> None:
    config = shrink.Config(macs=0.125, steps=3, epochs=11)
    shares, epochs = zip(*config.rounds(), strict=True)
    assert shares == pytest.approx((0.5, 0.25, 0.125))
    assert shares[-1] == 0.125
    assert epochs == (3, 3, 5)
    assert shrink.Config(parameters=0.3, epochs=7).rounds() == [(0.3, 7)]


ROUNDS: dict[str, Any] = {
    "macs": 0.5, "steps": 2, "epochs": 4, "importance": "taylor", "teach": {}, "on_regression": "keep_best",
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(came: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "entry"
    shrunk(came, folder, **ROUNDS)
    return folder


def stopped(came: Path, entry: Path, after: int, **options: Any) -> None:
    """Run what ROUNDS asks for, or else `options`, until so many epochs are done."""
    seen = 0

    def stop(event: Event) -> None:
        nonlocal seen
        seen += isinstance(event, Progress) and event.unit == "epoch"
        if seen == after:
            raise KeyboardInterrupt

    todo = dataclasses.replace(job(entry, [], train=came), emit=stop)
    with pytest.raises(KeyboardInterrupt):
        shrink.run(todo, data=DATA, shrink=shrink.Config.model_validate(BRIEF | (options or ROUNDS)), seed=0)
    shutil.rmtree(entry)


@pytest.mark.parametrize("after", [2, 3])
def test_call_that_was_stopped_in_a_round_goes_on_there_and_ends_with_the_same_bytes(
    after: int, came: Path, whole: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    stopped(came, tmp_path / "entry", after)
    shrunk(came, tmp_path / "entry", events, **ROUNDS)
    told = [text for text in notes(events) if text.startswith("goes on")]
    assert told == [
        f"goes on after epoch {done} of 2, from its checkpoint" for done in (min(after, 2), after - 2) if done > 0
    ]
    trained = [event for event in events if isinstance(event, Progress) and event.unit == "epoch"]
    assert len(trained) == 4 - after
    assert hashes(tmp_path / "entry", tmp_path / "entry") == hashes(whole, whole)


def test_call_that_was_stopped_in_the_control_goes_on_there_and_ends_with_the_same_bytes(
    came: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"macs": 0.5, "epochs": 2, "control": True}
    events: list[Event] = []
    shrunk(came, tmp_path / "whole", **options)
    stopped(came, tmp_path / "entry", 3, **options)
    shrunk(came, tmp_path / "entry", events, **options)
    told = [text for text in notes(events) if text.startswith("goes on")]
    assert told == [f"goes on after epoch {done} of 2, from its checkpoint" for done in (2, 1)]
    assert hashes(tmp_path / "entry", tmp_path / "entry") == hashes(tmp_path / "whole", tmp_path / "whole")


def test_call_that_goes_on_keeps_the_channels_of_the_first_where_scores_would_not_repeat(
    came: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(came, tmp_path / "entry", 3)
    asked: list[str] = []
    monkeypatch.setattr(importance, "scores", lambda *_, **__: asked.append("scores"))
    shrunk(came, tmp_path / "entry", **ROUNDS)
    assert asked == []
    assert hashes(tmp_path / "entry", tmp_path / "entry") == hashes(whole, whole)


def test_damaged_choice_of_a_round_is_made_again_and_told(came: Path, whole: Path, tmp_path: Path) -> None:
    stopped(came, tmp_path / "entry", 1)
    chosen = tmp_path / "entry-work/round_1/kept.json"
    chosen.write_text(chosen.read_text(encoding="utf-8").replace("[", "[99, ", 1), encoding="utf-8")
    events: list[Event] = []
    shrunk(came, tmp_path / "entry", events, **ROUNDS)
    assert "which channels stay in round 1 is chosen again: kept.json was changed" in notes(events)
    assert hashes(tmp_path / "entry", tmp_path / "entry") == hashes(whole, whole)


def test_rounds_keep_the_groups_of_the_first_where_a_smaller_model_would_have_others(tmp_path: Path) -> None:
    keras = load_keras()
    layers = keras.layers
    spec = data.load(DATA).spec
    start = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(16, 3, name="first")(start)
    x = layers.Conv2D(16, 3, groups=8, name="grouped")(x)
    x = layers.Conv2D(32, 3, name="second")(x)
    x = layers.GroupNormalization(groups=8, name="norm")(x)
    ends = layers.Dense(10, name="logits")(layers.Flatten(name="flat")(x))
    stored(keras.Model(start, ends), spec, tmp_path / "train")
    options: dict[str, Any] = {"parameters": 0.3, "steps": 3, "epochs": 3, "multiple": 8, "min_share": 0.01}
    found = shrunk(tmp_path / "train", tmp_path / "entry", **options).metrics
    assert found["parameters"] <= 0.3 * found["parameters_before"]
    (described,) = read_models(tmp_path / "entry")
    model, _ = keras_file.read(tmp_path / "entry")
    assert model.count_params() == found["parameters"]
    # eight convolutions side by side lose a channel each at once, and so do eight that are normalized together
    before = {group.name: group.before for group in described.channels}
    after = {group.name: group.after for group in described.channels}
    assert before == {"first": 2, "grouped": 2, "second": 4, "logits": 10}
    wide = {group.name: group.widths[1] for group in described.channels}
    for name in ("first", "grouped", "second"):
        assert model.get_layer(name).filters == wide[name] == 8 * after[name]
    assert found["channels"] == sum(wide.values()) < found["channels_before"] == 16 + 16 + 32 + 10


def test_layers_whose_macs_nobody_counts_are_named_where_macs_are_the_target(tmp_path: Path) -> None:
    keras = load_keras()
    spec = data.load(DATA).spec
    start = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(16, 3, name="conv")(start)
    x = keras.layers.Conv2D(16, 3, name="next")(x)
    x = keras.layers.EinsumDense("abcd,de->abce", (4, 4, 8), name="einsum")(x)
    ends = keras.layers.Dense(10, name="logits")(keras.layers.Flatten(name="flat")(x))
    stored(keras.Model(start, ends), spec, tmp_path / "train")
    for options, told in (({"macs": 0.6}, True), ({"parameters": 0.8}, False)):
        events: list[Event] = []
        shrunk(tmp_path / "train", tmp_path / next(iter(options)), events, **options)
        text = "shrink.macs is a share of the MACs that are known: nobody counts those of einsum"
        assert (text in notes(events)) == told


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"macs": 0.5, "layers": {"conv1": None}},
         ["shrink.layers names layers that the model does not have", "found: conv1", "did you mean conv_1?"]),
        ({"macs": 0.5, "layers": {"conv_*": None}}, ["all channels are to stay", "conv_1 stays at 16"]),
        ({"macs": 0.001}, ["0.1% of the MACs cannot be reached", "expected: at least ", "every group as narrow"]),
        ({"parameters": 0.3, "min_share": 0.9, "multiple": None},
         ["30% of the parameters cannot be reached", "lower shrink.min_share"]),
        # the last target, not that of the first round, decides
        ({"macs": 0.001, "steps": 10, "epochs": 10}, ["0.1% of the MACs cannot be reached"]),
    ],
)  # fmt: skip
def test_mistake_is_one_message_before_anything_is_trained(
    options: dict[str, Any], words: list[str], came: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    with pytest.raises(InputError) as refused:
        shrunk(came, tmp_path / "entry", events, **options)
    for word in words:
        assert word in str(refused.value)
    assert refused.value.exit_code == 2
    assert not [event for event in events if isinstance(event, Progress)]


def test_model_whose_only_channels_are_its_answers_is_refused_with_the_reason(tmp_path: Path) -> None:
    keras = load_keras()
    spec = data.load(DATA).spec
    start = keras.Input((8, 8, 1), name="image")
    ends = keras.layers.Dense(10, name="logits")(keras.layers.Flatten()(start))
    stored(keras.Model(start, ends), spec, tmp_path / "train")
    with pytest.raises(InputError) as refused:
        shrunk(tmp_path / "train", tmp_path / "entry", macs=0.5)
    assert "there is nothing to remove in this model" in str(refused.value)
    assert "found: logits: they are what the model answers" in str(refused.value)
    assert "leave the section shrink out" in str(refused.value)


def test_promise_is_asserted_on_the_model_that_is_left(
    came: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "remove", lambda model, *_: model)
    with pytest.raises(PromiseError) as broken:
        shrunk(came, tmp_path / "entry", macs=0.5)
    assert str(broken.value).startswith("shrink: more is left of the MACs than may be\n  expected: at most ")


def test_layers_that_are_not_as_wide_as_was_chosen_break_the_promise(
    came: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = removal.remove

    def one_more(model: Any, graph: Any, kept: Any) -> Any:
        return remove(model, graph, {name: places[:-1] for name, places in kept.items()})

    monkeypatch.setattr(removal, "remove", one_more)
    with pytest.raises(PromiseError) as broken:
        shrunk(came, tmp_path / "entry", macs=0.6, layers={"conv_2": None})
    assert str(broken.value).startswith(
        "shrink: layers of the model have other channels than were chosen\n  expected: conv_1 8 ((3, 3, 1, 8),"
    )
    assert "found: conv_1 7 ((3, 3, 1, 7)," in str(broken.value)


def test_width_that_is_not_allowed_breaks_the_promise(
    came: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widths, "choose", lambda *_, **__: {"conv_1": np.arange(7)})
    with pytest.raises(PromiseError) as broken:
        shrunk(came, tmp_path / "entry", macs=0.7)
    assert "groups have widths that shrink.multiple, min_share and layers do not allow" in str(broken.value)
    assert "expected: conv_1 one of 8, 16\n  found: conv_1 7" in str(broken.value)


def test_answers_that_are_no_numbers_break_the_promise(came: Path) -> None:
    model, _ = keras_file.read(came)
    broken, _ = keras_file.read(came)
    layer = broken.get_layer("logits")
    layer.set_weights([np.full_like(one, np.nan) for one in layer.get_weights()])
    with pytest.raises(PromiseError, match="found: 640 of 640 are not"):
        removal_promise.require_numbers(broken, data.load(DATA))
    other = load_keras().Sequential([load_keras().Input((4,), name="columns"), load_keras().layers.Dense(10)])
    with pytest.raises(PromiseError, match=r"other inputs or outputs(.|\n)*found: columns \(None, 4\) float32"):
        removal_promise.require_ends(other, model)


def test_accuracy_is_held_to_the_bound() -> None:
    metrics = {"val_accuracy_before": 0.9, "val_accuracy": 0.8, "epoch": 3}
    with pytest.raises(PromiseError, match="shrink: more accuracy is lost than the recipe allows"):
        shrink.assess(metrics, lambda _: None, shrink=shrink.Config(macs=0.5))
    shrink.assess(metrics, lambda _: None, shrink=shrink.Config(macs=0.5, max_accuracy_loss=0.2))
