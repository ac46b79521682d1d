from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from pipeline import recipe
from pipeline.errors import InputError
from pipeline.events import Event, Note, Progress
from pipeline.formats import keras_file
from pipeline.legacy_keras import load as load_keras
from pipeline.measuring import layer_times
from pipeline.measuring.layer_times_config import LatencyTarget
from pipeline.predictor import classifier
from pipeline.stage import sections
from pipeline.stages import MODELS, profile
from pipeline.stages.shrink import Config
from tests.pipeline.stages.small import job

LATENCY = {"share": 0.5, "runtime": "litert"}


def section(**options: Any) -> Config:
    return Config.model_validate({"latency": LATENCY} | options)


def decisive(shrink: Config) -> dict[str, Any]:
    return dict(profile.surroundings(lambda _: None, shrink=shrink).decisive)


def of_recipe(*assignments: str) -> recipe.Recipe:
    return recipe.load("digits", ["shrink=null", "prune=null", "judge=null", *assignments])


def test_profile_is_a_stage_of_the_recipe_when_shrink_has_a_latency() -> None:
    assert "profile" in of_recipe("shrink.latency={share: 0.5}").stages()
    assert "profile" not in of_recipe("shrink.macs=0.5").stages()
    assert "profile" not in of_recipe().stages()
    assert "profile" not in MODELS  # it makes no Keras model


@pytest.mark.parametrize(
    "other",
    [
        section(importance="l1"),
        section(selection="uniform", epochs=7),
        section(latency=LATENCY | {"share": 0.9}),
        section(layers={"first": None}),
    ],
    ids=["importance", "selection and epochs", "share", "layers"],
)
def test_nothing_is_measured_again_when_what_changed_does_not_decide_the_times(other: Config) -> None:
    assert sections(profile.run) == ()  # no section enters the fingerprint as a whole
    assert decisive(other) == decisive(section())


@pytest.mark.parametrize(
    ("other", "key"),
    [
        (section(latency=LATENCY | {"runtime": "onnxruntime"}), "runtime"),
        (section(latency=LATENCY | {"precision": "int8"}), "precision"),
        (section(latency=LATENCY | {"threads": 2}), "threads"),
        (section(multiple=4), "multiple"),
        (section(min_share=0.5), "min_share"),
    ],
    ids=["runtime", "precision", "threads", "multiple", "min_share"],
)
def test_layers_are_measured_again_when_what_decides_their_times_changes(other: Config, key: str) -> None:
    before, after = decisive(section()), decisive(other)
    assert {name for name in before if before[name] != after[name]} == {key}
    assert {"cpu", "cores"} <= set(before)  # and on another machine


def test_profile_stores_the_table_and_says_what_is_not_in_it(tmp_path: Path) -> None:
    keras = load_keras()
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="first")(image)
    x = layers.Conv2DTranspose(16, 2, name="up")(x)
    x = layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D()(x))
    trained = tmp_path / "train"
    trained.mkdir()
    keras_file.write(keras.Model(image, x), classifier("image", (8, 8, 3), (0.0, 1.0), ("a", "b", "c")), trained)
    events: list[Event] = []
    found = profile.surroundings(events.append, shrink=section()).found
    result = profile.run(dataclasses.replace(job(tmp_path / "entry", events, train=trained), found=found))
    table = layer_times.read(tmp_path / "entry")
    assert table is not None
    assert {name for entry in table.entries for name in entry.layers} == {"first", "logits"}
    assert [entry.outputs for entry in table.entries if entry.layers == ["first"]] == [[8, 16]]
    assert result.metrics["operations"] == 2
    assert result.metrics["whole_ms"] == table.whole_ms
    (note,) = [event.text for event in events if isinstance(event, Note)]
    assert note == (
        "up is not timed, and counts as a constant: Conv2DTranspose is not among the kinds that are timed alone"
    )
    steps = [event for event in events if isinstance(event, Progress)]
    assert (steps[0].done, steps[0].total, steps[0].unit) == (0, 2, "operation")
    assert steps[0].item == "the whole model"


@pytest.mark.parametrize(("name", "words"), [("frist", "found: frist"), ("*", "shrink: all channels are to stay")])
def test_layers_that_shrink_would_refuse_are_told_before_anything_is_measured(
    name: str, words: str, tmp_path: Path
) -> None:
    keras = load_keras()
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(16, 3, name="first")(image)
    x = keras.layers.Dense(3, name="logits")(keras.layers.GlobalAveragePooling2D()(x))
    trained = tmp_path / "train"
    trained.mkdir()
    keras_file.write(keras.Model(image, x), classifier("image", (8, 8, 3), (0.0, 1.0), ("a", "b", "c")), trained)
    events: list[Event] = []
    found = profile.surroundings(events.append, shrink=section(layers={name: None})).found
    with pytest.raises(InputError) as refused:
        profile.run(dataclasses.replace(job(tmp_path / "entry", events, train=trained), found=found))
    assert words in str(refused.value)
    assert events == []


def test_target_of_time_has_a_share_besides_where_it_is_measured() -> None:
    assert LatencyTarget.model_validate(LATENCY).decisive() == {
        "runtime": "litert", "precision": "float32", "threads": 1, "share": 0.5
    }  # fmt: skip
