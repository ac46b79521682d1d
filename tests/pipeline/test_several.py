"""Which candidate goes on and why, what an ensemble is worth, and that nothing is trained twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from models import mlp
from models.several import Ensemble, Selection
from pipeline import data, several
from pipeline.errors import DivergedError
from pipeline.events import Event, Note, Progress
from pipeline.fit.config import Adam, FitConfig, Sgd
from pipeline.formats import keras_file
from pipeline.report.model import Fitted, read_models
from pipeline.stage import Job
from pipeline.stages import train
from tests.pipeline.stages.small import DATA, job

FIT = FitConfig(epochs=3, batch_size=64, optimizer=Adam(learning_rate=0.01), tensorboard=False)
CRIPPLED, GOOD = mlp.Config(dense=(1,)), mlp.Config(dense=(16,))


def fitted(name: str, quality: float | None, parameters: int = 1, error: str = "") -> Fitted:
    return Fitted(name=name, model={}, seed=0, parameters=parameters, macs=1, quality=quality, error=error)


@pytest.mark.parametrize(
    ("entries", "best", "said"),
    [
        ([fitted("a", 0.5), fitted("b", 0.75)], 1,
         "b goes on: 75.00% on the validation split, the next best had 50.00%"),
        ([fitted("a", 0.75, 20), fitted("b", 0.75, 10), fitted("c", 0.5, 1)], 1,
         "b goes on: 75.00% on the validation split, as a, and it has fewer parameters"),
        ([fitted("a", 0.75, 10), fitted("b", 0.75, 10)], 0,
         "a goes on: 75.00% on the validation split, as b, and no other has fewer parameters"),
        ([fitted("a", None, error="diverged"), fitted("b", 0.1, 99)], 1,
         "b goes on: 10.00% on the validation split; no other could be used"),
        ([fitted("a", -0.5), fitted("b", -0.25)], 1, "b goes on: -25.00%"),
    ],
    ids=["better", "smaller", "first", "usable", "negative"],
)  # fmt: skip
def test_best_on_validation_is_chosen_then_the_smaller_then_the_first(
    entries: list[Fitted], best: int, said: str
) -> None:
    assert several.choose(entries, "accuracy") == best
    assert several.reason(entries, best, "accuracy").startswith(said)


def test_choice_among_none_that_can_be_used_is_refused_with_the_reason_of_each() -> None:
    with pytest.raises(DivergedError) as refused:
        several.choose([fitted("a", None, error="nan"), fitted("b", None, error="inf")], "accuracy")
    assert refused.value.found == "a: nan; b: inf"


@pytest.mark.parametrize(("reached", "word"), [(0.8, "better than"), (0.75, "as good as"), (0.7, "worse than")])
def test_ensemble_is_held_against_its_best_member(reached: float, word: str) -> None:
    said = several.worth([fitted("a", 0.5), fitted("b", 0.75)], 1, "accuracy", reached)
    assert said == (
        f"on the validation split the ensemble is {word} its best member: {reached:.2%}, member 2 (b) had 75.00%"
    )


def test_seeds_of_members_differ_and_the_first_is_the_runs_own() -> None:
    seeds = several.member_seeds(2**31 - 1, 50)
    assert seeds[0] == 2**31 - 1
    assert len(set(seeds)) == 50
    assert max(seeds) < 2**31
    assert several.member_seeds(2**31 - 1, 3) == seeds[:3]


def test_name_of_a_model_is_what_it_changes_of_the_defaults() -> None:
    assert several.in_short(mlp.Config()) == "mlp"
    assert several.in_short(mlp.Config(dense=(3, 4), dropout=0.5)) == "mlp, dropout: 0.5, dense: [3, 4]"


def go(folder: Path, model: Any, *, fit: FitConfig = FIT, events: list[Event] | None = None) -> Job:
    todo = job(folder, events if events is not None else [])
    train.run(todo, data=DATA, model=model, train=fit, seed=0)
    return todo


def weights(folder: Path) -> list[np.ndarray]:
    network, _ = keras_file.read(folder)
    found: list[np.ndarray] = network.get_weights()
    return found


@pytest.fixture(scope="module")
def selected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    events: list[Event] = []
    folder = tmp_path_factory.mktemp("selected") / "entry"
    go(folder, Selection(candidates=(CRIPPLED, GOOD)), events=events)
    return folder, events


def test_crippled_candidate_loses_and_the_better_goes_on_as_if_it_were_alone(
    selected: tuple[Path, list[Event]], tmp_path: Path
) -> None:
    folder, _ = selected
    (described,) = read_models(folder)
    found = described.several
    assert found is not None
    assert (found.role, found.best, found.metric) == ("candidate", 1, "accuracy")
    lost, won = found.fitted
    assert lost.quality is not None
    assert won.quality is not None
    assert lost.quality < won.quality == found.quality
    assert (won.name, won.model["dense"], won.seed, won.epoch) == ("mlp, dense: [16]", [16], 0, 3)
    assert (won.parameters, won.macs) == (described.parameters, described.macs)
    assert lost.parameters < won.parameters
    assert len(lost.training["val_accuracy"]) == len(won.training["val_accuracy"]) == 3
    assert described.training == won.training
    go(tmp_path / "alone", GOOD)
    assert all(np.array_equal(a, b) for a, b in zip(weights(folder), weights(tmp_path / "alone"), strict=True))


def test_progress_and_notes_say_which_candidate(selected: tuple[Path, list[Event]]) -> None:
    _, events = selected
    items = dict.fromkeys(event.item for event in events if isinstance(event, Progress))
    assert list(items) == ["candidate 1 of 2 (mlp, dense: [1])", "candidate 2 of 2 (mlp, dense: [16])"]
    notes = [event.text for event in events if isinstance(event, Note)]
    assert any(text.startswith("candidate 2 of 2 (mlp, dense: [16]): ") and "after epoch 3" in text for text in notes)
    assert notes[-1].startswith("mlp, dense: [16] goes on: ")


class Killed(BaseException):
    """Stands for a signal that ends the process."""


def test_call_after_one_that_was_killed_trains_no_finished_candidate_again(
    selected: tuple[Path, list[Event]], tmp_path: Path
) -> None:
    model, seen = Selection(candidates=(CRIPPLED, GOOD)), []

    def kill_in(item: str) -> Callable[[Event], None]:
        def emit(event: Event) -> None:
            if isinstance(event, Progress) and event.unit == "epoch":
                seen.append((event.item.split(" (")[0], event.done))
                if event.item.startswith(item) and event.done == 2:
                    raise Killed

        return emit

    first = dataclasses.replace(job(tmp_path / "first", []), emit=kill_in("candidate 2"))
    with pytest.raises(Killed):
        train.run(first, data=DATA, model=model, train=FIT, seed=0)
    assert seen == [("candidate 1 of 2", done) for done in (1, 2, 3)] + [("candidate 2 of 2", done) for done in (1, 2)]
    seen.clear()
    (tmp_path / "again").mkdir()
    train.run(
        dataclasses.replace(first, folder=tmp_path / "again", emit=kill_in("none")),
        data=DATA, model=model, train=FIT, seed=0,
    )  # fmt: skip
    assert seen == [("candidate 2 of 2", 3)]
    for name in ("model.keras", "models.json"):
        assert (tmp_path / "again" / name).read_bytes() == (selected[0] / name).read_bytes()


def test_candidate_that_diverges_is_out_and_a_member_that_does_ends_the_run(tmp_path: Path) -> None:
    wild = FIT.model_copy(update={"optimizer": Sgd(learning_rate=1e30), "epochs": 1})
    events: list[Event] = []
    bounded = mlp.Config(dense=(4,), batch_norm=False)
    with pytest.raises(DivergedError, match="none of the candidates learned anything") as refused:
        go(tmp_path / "none", Selection(candidates=(bounded, bounded)), fit=wild, events=events)
    assert "the loss is not finite" in refused.value.found
    assert [event.text for event in events if isinstance(event, Note) and "is out" in event.text]
    with pytest.raises(DivergedError, match="member 1 of 2"):
        go(tmp_path / "member", Ensemble(ensemble=(bounded,), copies=2), fit=wild)


def test_ensemble_is_trained_member_by_member_and_shown_beside_them(tmp_path: Path) -> None:
    fit = FIT.model_copy(update={"tensorboard": True})
    folder = go(tmp_path / "ensemble", Ensemble(ensemble=(mlp.Config(dense=(8,)),), copies=2), fit=fit).folder
    network, spec = keras_file.read(folder)
    (described,) = read_models(folder)
    found = described.several
    assert found is not None
    assert (found.role, [one.seed for one in found.fitted]) == ("member", several.member_seeds(0, 2))
    assert {one.parameters for one in found.fitted} == {described.parameters / 2}
    best = max(one.quality or 0 for one in found.fitted)
    assert found.fitted[found.best].quality == best
    splits = data.load(DATA)
    right = network.predict(splits.validation.x, verbose=0).argmax(axis=1) == splits.validation.y
    assert found.quality == pytest.approx(np.mean(right))
    assert spec == splits.spec
    assert {path.name for path in (folder / "tensorboard").iterdir()} == {"member-1", "member-2"}
    go(tmp_path / "alone", mlp.Config(dense=(8,)))
    member = models.build(mlp.Config(dense=(8,)), spec, 0)
    for layer in member.layers:
        if layer.weights:
            layer.set_weights(network.get_layer(f"m1_{layer.name}").get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(member.get_weights(), weights(tmp_path / "alone"), strict=True))


def test_candidate_with_the_smallest_error_goes_on() -> None:
    entries = [fitted("a", 3.0), fitted("b", 2.0), fitted("c", 2.5)]
    assert several.choose(entries, "mae") == 1
    assert several.reason(entries, 1, "mae") == (
        "b goes on: mean absolute error 2 on the validation split, the next best had mean absolute error 2.5"
    )
    assert "the ensemble is worse than its best member" in several.worth(entries, 1, "mae", 2.25)
