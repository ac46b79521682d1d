from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipeline.errors import InputError
from pipeline.events import Event, Note
from pipeline.stages import train


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"val_accuracy": 0.9, "val_accuracy_before": 0.95}, 1),
        ({"val_accuracy": 0.95, "val_accuracy_before": 0.95}, 0),
        ({"val_accuracy": 0.1}, 0),  # trained from scratch
    ],
)
def test_fine_tuning_that_makes_it_worse_is_said(metrics: dict[str, float], said: int) -> None:
    notes: list[Event] = []
    train.assess(metrics, notes.append)
    assert len(notes) == said
    for note in notes:
        assert isinstance(note, Note)
        assert note.level == "warning"
        assert "90.00% on the validation split, the file's had 95.00%" in note.text


def test_model_whose_layers_are_all_frozen_cannot_be_fine_tuned() -> None:
    with pytest.raises(InputError, match="has nothing to train") as refused:
        train._require_trainable(SimpleNamespace(trainable_weights=[]))
    assert "leave out the section train" in refused.value.todo
