from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.fit.config import FitConfig
from pipeline.fit.schedule import Watch, rates


def _config(**sections: Any) -> FitConfig:
    return FitConfig.model_validate({"epochs": 10, "optimizer": {"name": "sgd", "learning_rate": 1.0}, **sections})


def _rates(**schedule: Any) -> np.ndarray:
    return rates(_config(schedule=schedule), steps_per_epoch=4)


@pytest.mark.parametrize("name", ["constant", "plateau"])
def test_rate_stays_at_its_peak(name: str) -> None:
    assert np.array_equal(_rates(name=name), np.ones(40, np.float32))


def test_rate_falls_by_the_factor_every_so_many_epochs() -> None:
    found = _rates(name="step", every_epochs=4, factor=0.5)
    assert np.array_equal(found, np.repeat(np.float32([1, 0.5, 0.25]), [16, 16, 8]))


def test_rate_falls_along_a_cosine_to_the_final_factor() -> None:
    found = _rates(name="cosine", final_factor=0.1)
    assert (found[0], found[-1]) == (1.0, np.float32(0.1))
    assert found[[19, 20]].mean() == pytest.approx(0.55)
    assert np.all(np.diff(found) < 0)


def test_rate_falls_by_the_factor_an_epoch_when_exponential() -> None:
    found = _rates(name="exponential", factor=0.5)
    assert np.allclose(found[[0, 4, 8]], [1, 0.5, 0.25])
    assert found[2] == pytest.approx(0.5**0.5)


@pytest.mark.parametrize("name", ["constant", "step", "cosine", "plateau"])
def test_rate_rises_linearly_to_its_peak_in_the_warmup(name: str) -> None:
    found = _rates(name=name, warmup_epochs=2)
    assert np.allclose(found[:8], np.arange(1, 9) / 8)
    assert found[8] == 1


def _follow(config: FitConfig, losses: list[float]) -> list[Watch]:
    watch, seen = Watch(), []
    for epoch, loss in enumerate(losses, start=1):
        watch = watch.after(epoch, {"val_loss": loss, "val_accuracy": 1 - loss}, config)
        seen.append(watch)
    return seen


def test_best_epoch_is_the_first_of_equals() -> None:
    assert [watch.best_epoch for watch in _follow(_config(), [3, 2, 2, 4, 1])] == [1, 2, 2, 2, 5]


def test_training_never_stops_early_without_early_stopping() -> None:
    assert not any(watch.stop for watch in _follow(_config(), [1] + [2] * 9))


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_training_stops_when_patience_runs_out(monitor: str) -> None:
    config = _config(early_stopping={"patience": 2, "monitor": monitor})
    assert [watch.stop for watch in _follow(config, [0.5, 0.4, 0.41, 0.42])] == [False, False, False, True]


def test_small_gains_do_not_count_when_min_delta_is_set() -> None:
    config = _config(early_stopping={"patience": 2, "min_delta": 0.1})
    assert _follow(config, [0.5, 0.45, 0.41])[-1] == Watch(best_epoch=1, best=0.5, stop=True)


def test_early_epochs_do_not_count_when_from_epoch_is_later() -> None:
    config = _config(early_stopping={"patience": 1, "from_epoch": 3})
    seen = _follow(config, [0.1, 0.2, 0.5, 0.4, 0.6])
    assert [watch.best_epoch for watch in seen] == [0, 0, 3, 4, 4]
    assert [watch.stop for watch in seen] == [False, False, False, False, True]


def test_plateau_lowers_the_rate_after_each_patience_down_to_its_floor() -> None:
    config = _config(schedule={"name": "plateau", "patience": 2, "factor": 0.5, "min_factor": 0.3})
    factors = [watch.lr_factor for watch in _follow(config, [0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6])]
    assert factors == [1, 1, 0.5, 0.5, 0.3, 0.3, 0.3]


def test_plateau_starts_to_wait_anew_after_an_improvement() -> None:
    config = _config(schedule={"name": "plateau", "patience": 2})
    assert [watch.wait for watch in _follow(config, [0.5, 0.6, 0.4, 0.5])] == [0, 1, 0, 1]
