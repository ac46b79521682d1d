from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.fit.config import FitConfig

OPTIMIZERS = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")
SCHEDULES = ("constant", "step", "cosine", "exponential", "plateau")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_config_survives_a_round_trip(optimizer: str, schedule: str) -> None:
    config = FitConfig.model_validate(
        {
            "optimizer": {"name": optimizer},
            "schedule": {"name": schedule, "warmup_epochs": 2},
            "early_stopping": {},
            "clip": {"by": "value"},
        }
    )
    assert FitConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"optimizer": {"name": "sgd", "beta_1": 0.9}}, r"optimizer\.sgd\.beta_1\n.*not permitted"),
        (
            {"optimizer": {"name": "lion"}},
            r"'lion' found using 'name' .* expected tags: 'sgd', 'momentum'",
        ),
        ({"optimizer": {"name": "adam", "learning_rate": 0}}, r"greater than 0"),
        ({"schedule": {"name": "cosine", "patience": 3}}, r"schedule\.cosine\.patience\n.*not permitted"),
        (
            {"epochs": 5, "schedule": {"name": "step", "warmup_epochs": 5}},
            r"warmup_epochs must be less than epochs \(5\)",
        ),
        ({"epochs": 5, "early_stopping": {"from_epoch": 6}}, r"from_epoch must be at most epochs \(5\), but is 6"),
        ({"early_stopping": {"monitor": "loss"}}, r"'val_loss' or 'val_accuracy'"),
    ],
)
def test_config_is_refused_with_the_reason(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FitConfig.model_validate(section)
