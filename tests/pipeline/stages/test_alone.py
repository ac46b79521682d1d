"""A stage that learns, and once more without a teacher or without removal: all start alike, on the same budget."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pipeline import data
from pipeline.events import Event, Note
from pipeline.formats import fake_quant_file
from pipeline.measuring.quality import Qualities
from pipeline.measuring.runs import with_quality
from pipeline.report.model import Model, read_models
from pipeline.stages import prune, quantize, shrink
from tests.pipeline.stages.small import DATA, job

BRIEF: dict[str, Any] = {"epochs": 2, "batch_size": 256, "alone": True}


@pytest.mark.parametrize(
    ("stage", "options"),
    [(prune, {"final_sparsity": 0.5}), (quantize, {}), (shrink, {"parameters": 0.7, "multiple": None})],
    ids=lambda value: value.NAME if isinstance(value, ModuleType) else "",
)
def test_teacher_without_weight_is_worth_nothing_bit_for_bit(
    stage: Any, options: dict[str, Any], trained: Path, tmp_path: Path
) -> None:
    folder, told = tmp_path / "entry", list[Event]()
    section = stage.Config.model_validate({**BRIEF, **options, "teach": {"soft_weight": 0}})
    sections = {stage.NAME: section}
    found = stage.run(job(folder, told, train=trained), data=DATA, seed=0, **sections).metrics
    taught, alone = read_models(folder)
    assert (taught.stage, taught.variant, alone.stage, alone.variant) == (stage.NAME, "", stage.NAME, "alone")
    assert taught.training == alone.training
    assert len(alone.training["val_accuracy"]) == 2
    assert found["alone_val_accuracy"] == found["val_accuracy"]
    assert Note(stage.NAME, "now the same without a teacher, on the same budget, to compare") in told
    # read as measure reads them, with what quantization-aware training adds
    one, other = (fake_quant_file.read(place)[0] for place in (folder, folder / "alone"))
    assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def measured(right: dict[str, int]) -> list[Model]:
    """Return what is measured of models, by how many of 40 samples they are right on."""
    wanted = np.arange(40) % 10
    answers = {}
    for name, count in right.items():
        logits = np.eye(10, dtype=np.float32)[np.where(np.arange(40) < count, wanted, (wanted + 1) % 10)]
        answers[f"{name}.keras"] = {"logits": logits}
    facts = {"parameters": 1, "macs": 1, "sparsity": 0, "bytes": 1, "gzip_bytes": 1}
    names = (name.partition(".") for name in right)
    models = [Model.model_validate({"stage": stage, "variant": variant, **facts}) for stage, _, variant in names]
    return with_quality(models, Qualities(data.load(DATA).spec, wanted, 100), answers)


def test_each_stages_gain_is_against_what_it_made_alone() -> None:
    found = measured({"train": 40, "distill": 36, "distill.alone": 30, "prune": 34, "prune.alone": 35})
    gains = {one.key: one.metrics.get("accuracy_gain_by_teaching") for one in found}
    assert {name: gain and round(gain.value, 6) for name, gain in gains.items()} == {
        "train.keras": None, "distill.keras": 0.15, "distill.alone.keras": None, "prune.keras": -0.025,
        "prune.alone.keras": None,
    }  # fmt: skip
    # what came before is the stage that went on, never what learned alone
    assert found[3].metrics["accuracy_drop_against_previous"].value == pytest.approx(0.05)


def test_loss_by_removal_is_against_what_kept_its_channels_and_gain_against_what_learned_alone() -> None:
    models = measured({"train": 40, "shrink": 32, "shrink.alone": 30, "shrink.control": 36})
    found = {one.key: one.metrics for one in models}
    shrunk = found["shrink.keras"]
    assert shrunk["accuracy_loss_by_removal"].value == pytest.approx(0.1)
    assert shrunk["accuracy_gain_by_teaching"].value == pytest.approx(0.05)
    assert [name for name in found if "accuracy_loss_by_removal" in found[name]] == ["shrink.keras"]
