from __future__ import annotations

import numpy as np
import pytest

from pipeline.data import DataConfig
from pipeline.data.divide import divide
from pipeline.data.sources.source import Source, Target
from pipeline.errors import InputError

CHANCE = np.random.default_rng(0)
CLASSES = Target(np.arange(200) % 2, ("ham", "spam"))
VALUES = Target(CHANCE.normal(size=(200, 2)), None)


def judged(metric: str | None, **targets: Target) -> list[str]:
    source = Source({"x": CHANCE.random((200, 3)).astype(np.float32)}, targets)
    config = DataConfig(metric=metric)
    return [head.metric for head in divide(source, config).spec.heads]


def test_heads_are_judged_by_the_metric_of_the_recipe_where_it_fits_them() -> None:
    assert judged(None, digit=CLASSES, size=VALUES) == ["digit_accuracy", "size_r2"]
    assert judged("f1.spam", digit=CLASSES, size=VALUES) == ["digit_f1.spam", "size_r2"]
    assert judged("mae.1", digit=CLASSES, size=VALUES) == ["digit_accuracy", "size_mae.1"]


def test_metric_that_fits_no_head_is_refused_with_what_there_is() -> None:
    with pytest.raises(InputError) as refused:
        judged("f1.eggs", digit=CLASSES, size=VALUES)
    assert str(refused.value).splitlines()[2] == (
        "  found: 'f1.eggs' is of the class eggs, and there are ham, spam; "
        "'f1.eggs' is no metric of a regression; there are r2, mse, mae, r2.VALUE, mse.VALUE, mae.VALUE"
    )
