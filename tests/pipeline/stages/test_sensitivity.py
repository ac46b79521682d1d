from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from pipeline import recipe
from pipeline.compress import sensitivity as arithmetic
from pipeline.compress import sensitivity_table
from pipeline.errors import InputError
from pipeline.events import Event, Progress
from pipeline.stage import sections
from pipeline.stages import MODELS, sensitivity
from tests.pipeline.stages.small import DATA, job

AUTO = "prune.exclude=auto"


def of_recipe(*assignments: str) -> recipe.Recipe:
    return recipe.load("digits", ["shrink=null", "judge=null", *assignments])


def surroundings(**given: Any) -> Any:
    nothing = dict.fromkeys(("sensitivity", "shrink", "prune", "cluster", "quantize"))
    return sensitivity.surroundings(lambda _: None, **(nothing | given))


def test_sensitivity_is_a_stage_of_the_recipe_with_its_section_or_an_exclude_that_is_auto() -> None:
    assert "sensitivity" not in of_recipe().stages()
    assert "sensitivity" in of_recipe("sensitivity={}").stages()
    assert "sensitivity" not in of_recipe("prune.exclude=[conv_1]").stages()
    found = of_recipe(AUTO)
    assert found.excluding() == ("prune",)
    before = found.stages()[: found.stages().index("sensitivity")]
    assert before[-1] == "distill" and "prune" not in before
    assert "sensitivity" not in MODELS  # it makes no Keras model


def test_recipe_is_refused_when_auto_asks_for_what_is_not_tried() -> None:
    with pytest.raises(InputError) as refused:
        of_recipe(AUTO, "sensitivity={techniques: [quantize]}")
    assert "prune.exclude is auto, but sensitivity.techniques leaves prune out: add it" in str(refused.value)


def test_amounts_are_refused_out_of_their_range_or_twice() -> None:
    with pytest.raises(InputError) as refused:
        of_recipe("sensitivity={prune: [0.5, 1.0], cluster: [4, 4]}")
    assert "sensitivity.prune" in str(refused.value)
    with pytest.raises(InputError) as refused:
        of_recipe("sensitivity={cluster: [4, 4]}")
    assert "cluster names something twice: 4, 4" in str(refused.value)


def test_techniques_are_those_of_the_recipe_or_all() -> None:
    found = of_recipe(AUTO, "cluster={per_channel: true}")
    some = surroundings(prune=found.prune, cluster=found.cluster)
    assert some.found.techniques == ("prune", "cluster") and some.found.per_channel
    assert surroundings().found.techniques == ("shrink", "prune", "cluster", "quantize")
    asked = sensitivity.Config(techniques=("quantize", "shrink"))
    assert surroundings(sensitivity=asked, prune=found.prune).found.techniques == ("shrink", "quantize")


def test_nothing_is_measured_again_when_a_section_changes_that_does_not_decide_it() -> None:
    other = of_recipe(AUTO, "prune.final_sparsity=0.6", "prune.exclude_budget=0.5")
    assert surroundings(prune=of_recipe(AUTO).prune).decisive == surroundings(prune=other.prune).decisive
    assert set(sections(sensitivity.run)) == {"data", "seed"}


def _run(folder: Path, events: list[Event], trained: Path) -> dict[str, float]:
    config = sensitivity.Config(prune=(0.9,), cluster=(4,), shrink=(0.5,), samples=60)
    todo = dataclasses.replace(
        job(folder, events, train=trained), found=surroundings(sensitivity=config).found
    )  # fmt: skip
    return dict(sensitivity.run(todo, data=DATA, seed=0).metrics)


def test_table_has_each_layer_and_an_interrupted_call_goes_on_to_the_same_bytes(
    tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []
    metrics = _run(tmp_path / "whole", events, trained)
    table = sensitivity_table.read(tmp_path / "whole")
    assert table.stage == "train" and table.metric == "accuracy" and table.samples == 60
    tried = {(one.technique, *one.layers) for one in table.trials}
    kernels = {(how, name) for how in ("prune", "cluster", "quantize") for name in ("dense_1", "logits")}
    assert tried == kernels | {("shrink", "dense_1")}
    assert table.untouched == {"shrink": {"logits": "they are what the model answers"}}
    assert metrics["trials"] == len(table.trials) == 7
    assert metrics["worst_loss"] == max(one.lost.value for one in table.trials)
    assert all(one.lost.low <= one.lost.value <= one.lost.high for one in table.trials)
    assert [event.done for event in events if isinstance(event, Progress)] == list(range(7))

    changed, calls = arithmetic.Probe.changed, []

    def counted(self: Any, change: Any) -> Any:
        calls.append(change)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return changed(self, change)

    monkeypatch.setattr(arithmetic.Probe, "changed", counted)
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "again", [], trained)
    (tmp_path / "again").rmdir()
    _run(tmp_path / "again", [], trained)
    assert len(calls) == 4 + 4  # three of seven were kept
    whole, again = (tmp_path / name / sensitivity_table.FILE for name in ("whole", "again"))
    assert whole.read_bytes() == again.read_bytes()
