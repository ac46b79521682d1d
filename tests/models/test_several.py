from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from models import autoencoder, cnn, mlp
from models.several import Ensemble, Selection, problems, written_out


def test_members_are_the_copies_of_each_in_order() -> None:
    one, other = mlp.Config(dense=(3,)), cnn.Config(filters=(2,))
    assert Ensemble(ensemble=(one, other), copies=2).members == (one, one, other, other)


def test_ensemble_of_one_member_is_refused() -> None:
    with pytest.raises(ValidationError, match="two or more members: list them under ensemble, or raise copies"):
        Ensemble(ensemble=(mlp.Config(),))


@pytest.mark.parametrize(
    ("model", "architecture"),
    [
        ({"candidates": []}, "selection"),
        ({"ensemble": []}, "averaged"),
        ({"architecture": "cnn", "ensemble": []}, "cnn"),
    ],
)
def test_architecture_of_several_models_is_told_by_their_key(model: dict[str, Any], architecture: str) -> None:
    found = written_out({"name": "x", "model": model})
    assert found["model"] == {"architecture": architecture} | model
    assert found["name"] == "x"


def test_every_impossible_candidate_is_named_with_its_place() -> None:
    model = Selection(candidates=(cnn.Config(), mlp.Config(), autoencoder.Config()))
    assert list(problems(Selection(candidates=(mlp.Config(), mlp.Config())), (30,), None)) == []
    first, last = problems(model, (30,), None)
    assert first.startswith("model.candidates[0]: model.candidates[0].architecture 'cnn' takes images")
    assert "set model.candidates[0].architecture to mlp" in first
    assert last.startswith("model.candidates[2]: model.candidates[2].architecture 'autoencoder' is not for this task")


def test_impossible_member_is_named_with_its_place() -> None:
    (said,) = problems(Ensemble(ensemble=(mlp.Config(), cnn.Config(filters=(2,) * 9))), (8, 8, 1), None)
    assert said.startswith("model.ensemble[1]: model.ensemble[1].filters has too many blocks")
