"""A loss and metrics of the user's own train a model, and go on with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import data
from pipeline.errors import InputError
from pipeline.events import Event, Progress
from pipeline.fit.config import FitConfig
from pipeline.fit.loop import fit
from pipeline.own_code import objective
from pipeline.own_code.build import build
from pipeline.own_code.source import look
from tests.pipeline.own_code.files import net, scaled

SPLITS = data.load(data.DataConfig())


def test_own_loss_is_trained_with_and_own_metrics_are_in_the_history(tmp_path: Path) -> None:
    config = scaled(tmp_path / "own").model_copy(update={"loss": "focal", "metrics": ("top_2",)})
    model = build(config, SPLITS, 0, expected=look(config).package, stage="train", emit=[].append)
    objective.write(objective.of(config), tmp_path / "artifact")
    own = objective.read(tmp_path / "artifact")
    assert own is not None
    events: list[Event] = []
    history = fit(
        model, SPLITS, FitConfig(epochs=2, batch_size=64, tensorboard=False), data=data.DataConfig(), seed=0,
        stage="train", work=tmp_path / "work", emit=events.append, objective=own,
    )  # fmt: skip
    logits = model.predict(SPLITS.validation.x, verbose=0)
    right = np.take_along_axis(logits, SPLITS.validation.y[:, None], axis=1)
    assert history.epochs["val_top_2"][-1] == pytest.approx(float(((logits > right).sum(axis=1) < 2).mean()), abs=1e-3)
    likely = np.exp(logits - logits.max(axis=1, keepdims=True))
    chosen = np.take_along_axis(likely / likely.sum(axis=1, keepdims=True), SPLITS.validation.y[:, None], axis=1)
    focal = float(np.mean((1 - chosen) ** 2 * -np.log(chosen)))
    assert history.epochs["val_loss"][-1] == pytest.approx(focal, rel=1e-3)
    told = [event.metrics for event in events if isinstance(event, Progress) and event.unit == "epoch"]
    assert all({"top_2", "val_top_2"} <= set(metrics) for metrics in told)


def test_metric_with_the_name_of_another_is_refused(tmp_path: Path) -> None:
    config = scaled(tmp_path)
    config.path.write_text(config.path.read_text("utf-8") + "\n\naccuracy = top_2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"model\.metrics has names that are taken(.|\n)*found: accuracy"):
        build(
            config.model_copy(update={"metrics": ("accuracy",)}), SPLITS, 0,
            expected=look(config).package, stage="train", emit=[].append,
        )  # fmt: skip


AUTOENCODER = """
    import tensorflow as tf
    import tf_keras as keras


    def build(input_shape, classes):
        raw = keras.Input(input_shape)
        x = keras.layers.Dense(4)(keras.layers.Flatten()(keras.layers.Rescaling(1 / 16)(raw)))
        return keras.Model(raw, keras.layers.Reshape(classes)(keras.layers.Dense(64)(x)))


    def absolute(wanted, answered):
        tf.debugging.assert_equal(tf.shape(wanted), tf.shape(answered))
        tf.debugging.assert_less_equal(wanted, 1.0)
        return tf.reduce_mean(tf.abs(wanted - answered), axis=[1, 2, 3])


    def roc_auc(wanted, answered):
        return absolute(wanted, answered)
"""


def test_own_loss_of_an_autoencoder_gets_the_scaled_samples_and_not_what_is_judged(tmp_path: Path) -> None:
    splits = data.load(data.DataConfig(task="anomaly", anomaly=("9",)))
    config = net(tmp_path, AUTOENCODER).model_copy(update={"loss": "absolute"})
    build(config, splits, 0, expected=look(config).package, stage="train", emit=[].append)
    clash = config.model_copy(update={"metrics": ("roc_auc",)})
    with pytest.raises(InputError, match=r"model\.metrics has names that are taken(.|\n)*found: roc_auc"):
        build(clash, splits, 0, expected=look(clash).package, stage="train", emit=[].append)
