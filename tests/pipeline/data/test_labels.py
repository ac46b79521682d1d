from __future__ import annotations

import numpy as np
import pytest

from pipeline.data import DataConfig
from pipeline.data.divide import divide
from pipeline.data.sources.source import Source, Target
from pipeline.data.split import SplitConfig
from pipeline.errors import InputError

RANDOM = DataConfig(split=SplitConfig(by="random"))


def _source(y: np.ndarray, **more: object) -> Source:
    x = np.random.default_rng(0).random((len(y), 3), np.float32)
    return Source({"features": x}, {"": Target(y, ("a", "b", "c"))}, **more)  # type: ignore[arg-type]


def test_labels_that_are_no_class_are_counted() -> None:
    y = np.arange(100) % 3
    y[:5], y[5] = 7, -1
    with pytest.raises(InputError, match="6 labels are none of the 3 classes") as refused:
        divide(_source(y), RANDOM)
    assert (refused.value.expected, refused.value.found) == ("0 to 2", "-1 (1 times), 7 (5 times)")


def test_training_samples_of_one_class_are_refused() -> None:
    y = np.ones(100, np.int64)
    y[:10] = 2
    with pytest.raises(InputError, match="the training split has one class only") as refused:
        divide(_source(y, given={"test": np.arange(10)}), RANDOM)
    assert refused.value.found.endswith(" samples of b")


def test_a_class_without_training_samples_is_told_with_counts() -> None:
    y = np.arange(100) % 2
    y[:10] = 2
    notes = divide(_source(y, given={"test": np.arange(10)}), RANDOM).notes
    assert "class c has no training sample, and 10 in the test split: it cannot be learned" in notes
