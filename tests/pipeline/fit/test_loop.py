from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from pipeline.compute.config import Compute
from pipeline.data import DataConfig, Split, Splits
from pipeline.errors import DivergedError
from pipeline.events import Event, Note, Progress
from pipeline.fit import loop as fitting
from pipeline.fit import optimizer
from pipeline.fit.config import FitConfig
from pipeline.fit.loop import History, fit
from pipeline.fit.losses import cross_entropy
from pipeline.fit.random import controlled
from pipeline.legacy_keras import load as load_keras
from pipeline.predictor import classifier

SPEC = classifier("image", (4, 4, 1), (0, 1), ("a", "b", "c"))
DATA = DataConfig.model_validate({"augment": {"shift_pixels": 1, "rotate_degrees": 20}})
EVERYTHING = {
    "epochs": 5,
    "batch_size": 16,
    "optimizer": {"name": "adam", "learning_rate": 0.02},
    "schedule": {"name": "plateau", "patience": 1, "warmup_epochs": 1},
    "early_stopping": {"patience": 3},
}


def _splits(seed: int = 0) -> Splits:
    random = np.random.default_rng(seed)

    def part(count: int) -> Split:
        y = random.integers(0, 3, count)
        x = random.random((count, 4, 4, 1)) * 0.6 + np.eye(4)[y][:, :, None, None] * 0.4
        return Split(x.astype(np.float32), y)

    return Splits(SPEC, train=part(40), validation=part(20), calibration=part(6), test=part(6))


SPLITS = _splits()


def _model(dropout: float = 0.0) -> Any:
    return models.build(models.mlp.Config(dense=(8,), dropout=dropout, batch_norm=False), SPEC, 0)


def _cnn(dropout: float = 0.0) -> Any:
    return models.build(models.cnn.Config(filters=(4,), dropout=dropout), SPEC, 0)


def _fit(model: Any, work: Path, *, splits: Splits = SPLITS, emit: Any = None, **options: Any) -> History:
    config = FitConfig.model_validate({"tensorboard": False, **EVERYTHING, **options.pop("config", {})})
    events: Callable[[Event], None] = emit or (lambda _: None)
    return fit(model, splits, config, data=DATA, seed=0, stage="train", work=work, emit=events, **options)


def _killed_after(epoch: int) -> Callable[[Event], None]:
    def emit(event: Event) -> None:
        if isinstance(event, Progress) and event.unit == "epoch" and event.done == epoch:
            raise KeyboardInterrupt

    return emit


def _same(one: Any, two: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), two.get_weights(), strict=True))


def _noisy() -> Any:
    """A model with a layer whose chance Keras does not know about."""
    keras = load_keras()
    import tensorflow as tf

    class Noise(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any, training: Any = None) -> Any:
            return inputs + 0.1 * tf.random.normal(tf.shape(inputs)) if training else inputs

    base = _model()
    return keras.Model(base.input, base.layers[-1](Noise()(base.layers[-2].output)))


@pytest.mark.parametrize(
    ("make", "epochs", "kills"),
    [(_cnn, 5, (1, 3)), (lambda: _cnn(dropout=0.5), 4, (2,)), (_noisy, 3, (1,))],
    ids=["plain", "dropout", "own-noise"],
)
def test_weights_are_bit_equal_when_killed_and_called_again(
    tmp_path: Path, make: Callable[[], Any], epochs: int, kills: tuple[int, ...]
) -> None:
    whole, resumed = make(), make()
    history = _fit(whole, tmp_path / "whole", config={"epochs": epochs})
    for epoch in kills:
        with pytest.raises(KeyboardInterrupt):
            _fit(make(), tmp_path / "killed", emit=_killed_after(epoch), config={"epochs": epochs})
    told: list[Event] = []
    assert _fit(resumed, tmp_path / "killed", emit=told.append, config={"epochs": epochs}) == history
    assert _same(whole, resumed)
    assert told[0] == Note("train", f"goes on after epoch {kills[-1]} of {epochs}, from its checkpoint")


def test_weights_are_bit_equal_when_killed_after_the_last_epoch(tmp_path: Path) -> None:
    whole, resumed = _model(), _model()
    history = _fit(whole, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        _fit(_model(), tmp_path / "killed", emit=_killed_after(len(history.epochs["loss"])))
    assert _fit(resumed, tmp_path / "killed") == history
    assert _same(whole, resumed)


def test_dropout_draws_anew_each_epoch() -> None:
    model = _model(dropout=0.5)
    model.compile()
    seen = []
    with controlled(model) as chance:
        for epoch in (0, 1, 0):
            chance.begin_epoch(0, epoch)
            first, second = (model(SPLITS.train.x, training=True).numpy() for _ in range(2))
            assert not np.array_equal(first, second)
            seen.append(first)
    assert not np.array_equal(seen[0], seen[1])
    assert np.array_equal(seen[0], seen[2])


def test_layers_are_as_they_were_after_a_fit_with_dropout(tmp_path: Path) -> None:
    model = _model(dropout=0.5)
    before = model.get_config()
    _fit(model, tmp_path, config={"epochs": 1, "early_stopping": None, "schedule": {"name": "constant"}})
    assert model.get_config() == before
    assert len(model.weights) == len(_model(dropout=0.5).weights)


SCRIPT = """
import hashlib, sys
from pathlib import Path
from tests.pipeline.fit.test_loop import _cnn, _fit
model = _cnn(dropout=0.3)
_fit(model, Path(sys.argv[1]))
print(hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest())
"""


def test_weights_are_byte_equal_in_two_fresh_processes(tmp_path: Path) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path / name)], stdout=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    first, second = (process.communicate()[0].strip() for process in running)
    assert len(first) == 64
    assert first == second


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"])
def test_every_optimizer_learns(tmp_path: Path, name: str) -> None:
    config = {"optimizer": {"name": name}, "schedule": {"name": "constant"}, "epochs": 15, "early_stopping": None}
    losses = _fit(_model(), tmp_path, config=config).epochs["loss"]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_adamw_decays_kernels_but_neither_biases_nor_batch_norm(tmp_path: Path) -> None:
    plain, decayed = _cnn(), _cnn()
    for model, name in ((plain, "adam"), (decayed, "adamw")):
        optimizer = {"name": name, "learning_rate": 1e-6} | ({"weight_decay": 1e4} if name == "adamw" else {})
        _fit(model, tmp_path / name, config={"optimizer": optimizer, "epochs": 2, "early_stopping": None})
    ratio = {w.name: float(np.linalg.norm(w) / np.linalg.norm(v)) for w, v in zip(
        decayed.trainable_weights, plain.trainable_weights, strict=True)}  # fmt: skip
    assert ratio["conv_1/kernel:0"] < 0.97
    assert ratio["logits/kernel:0"] < 0.97
    assert ratio["bn_1/gamma:0"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("by", "limit"), [("global_norm", "global_clipnorm"), ("norm", "clipnorm"), ("value", "clipvalue")]
)
def test_clipping_keeps_steps_small(by: str, limit: str) -> None:
    made = optimizer.make(FitConfig.model_validate({"clip": {"by": by, "limit": 0.5}}))
    assert getattr(made, limit) == 0.5


def test_learning_rate_follows_its_schedule_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def watch(event: Event) -> None:
        if isinstance(event, Progress) and event.unit == "step":
            seen.append(float(model.optimizer.learning_rate))

    monkeypatch.setattr(fitting, "STEP_PROGRESS_S", 0.0)
    model = _model()
    config = FitConfig.model_validate(
        {**EVERYTHING, "epochs": 2, "schedule": {"name": "cosine", "warmup_epochs": 1}, "early_stopping": None}
    )
    one_step = Compute.model_validate({"performance": {"steps_per_execution": 1}})
    history = _fit(model, tmp_path, config=config.model_dump(), emit=watch, compute=one_step)
    assert seen == pytest.approx(list(fitting.rates(config, 3)))
    assert history.epochs["learning_rate"] == pytest.approx([seen[2], seen[5]])


def test_early_stopping_restores_the_best_weights(tmp_path: Path) -> None:
    model = _model()
    config = {"epochs": 30, "early_stopping": {"patience": 1}, "schedule": {"name": "constant"}}
    history = _fit(model, tmp_path, config={**config, "optimizer": {"name": "adam", "learning_rate": 0.3}})
    assert len(history.epochs["loss"]) == history.best_epoch + 1
    logits = model.predict(SPLITS.validation.x, verbose=0)
    loss = float(cross_entropy(0.0)(SPLITS.validation.y, logits))
    assert loss == pytest.approx(history.at(history.best_epoch)["val_loss"], rel=1e-5)
    assert history.at(history.best_epoch)["val_loss"] == min(history.epochs["val_loss"])


def test_last_weights_are_kept_without_early_stopping(tmp_path: Path) -> None:
    model = _model()
    config = {"early_stopping": None, "optimizer": {"name": "adam", "learning_rate": 0.3}}
    history = _fit(model, tmp_path, config=config)
    loss = float(cross_entropy(0.0)(SPLITS.validation.y, model.predict(SPLITS.validation.x, verbose=0)))
    assert loss == pytest.approx(history.epochs["val_loss"][-1], rel=1e-5)


def test_training_stops_at_the_step_when_a_loss_is_not_finite(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _fit(_cnn(), tmp_path, emit=_killed_after(1))
    poisoned = replace(SPLITS, train=Split(SPLITS.train.x * np.float32(np.nan), SPLITS.train.y))
    with pytest.raises(DivergedError, match=r"train: the loss is not finite in epoch 2, step 1 of 3") as diverged:
        _fit(_cnn(), tmp_path, splits=poisoned)
    assert diverged.value.exit_code == 4
    assert diverged.value.found.startswith("nan; the epoch before it ended with ")
    assert "lower train.optimizer.learning_rate (now 0.02)" in diverged.value.todo
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "epoch-000001.json",
        "epoch-000001.npz",
    ]


def test_training_stops_when_the_learning_rate_is_absurd(tmp_path: Path) -> None:
    config = {"optimizer": {"name": "sgd", "learning_rate": 1e38}, "schedule": {"name": "constant"}}
    with pytest.raises(DivergedError, match=r"not finite in epoch 1, step [23] of 3"):
        _fit(_model(), tmp_path, config=config)
    assert not (tmp_path / "checkpoints").exists()


def test_training_stops_when_the_validation_loss_is_not_finite(tmp_path: Path) -> None:
    poisoned = replace(SPLITS, validation=Split(SPLITS.validation.x * np.float32(3e38), SPLITS.validation.y))
    with pytest.raises(DivergedError, match="not finite on the validation split after epoch 1"):
        _fit(_model(), tmp_path, splits=poisoned)
    assert not (tmp_path / "checkpoints").exists()


def test_checkpoint_of_another_model_is_not_used_and_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _fit(_cnn(), tmp_path, emit=_killed_after(1))
    events: list[Event] = []
    fresh, clean = _model(), _model()
    _fit(fresh, tmp_path, emit=events.append)
    text = "the checkpoint after epoch 1 cannot be used (it is of another model): training starts anew"
    assert events[0] == Note("train", text, level="warning")
    _fit(clean, tmp_path / "clean")
    assert _same(fresh, clean)


@pytest.mark.parametrize(("damaged", "goes_on"), [((3,), 2), ((3, 2), None)], ids=["the newest", "both"])
def test_weights_are_bit_equal_when_a_checkpoint_was_damaged_and_that_is_said(
    tmp_path: Path, damaged: tuple[int, ...], goes_on: int | None
) -> None:
    whole, resumed = _cnn(), _cnn()
    history = _fit(whole, tmp_path / "whole", config={"epochs": 4})
    with pytest.raises(KeyboardInterrupt):
        _fit(_cnn(), tmp_path, emit=_killed_after(3), config={"epochs": 4})
    for epoch in damaged:
        with (tmp_path / f"checkpoints/epoch-{epoch:06d}.npz").open("r+b") as file:
            file.seek(200)
            file.write(b"damage")
    told: list[Event] = []
    assert _fit(resumed, tmp_path, emit=told.append, config={"epochs": 4}) == history
    assert _same(whole, resumed)
    notes = [(event.level, event.text) for event in told if isinstance(event, Note)]
    reasons = [f"epoch {epoch} cannot be used (epoch-{epoch:06d}.npz was changed or cut off): " for epoch in damaged]
    assert [(level, reason in text) for (level, text), reason in zip(notes, reasons, strict=False)] == [
        ("warning", True)
    ] * len(damaged)
    last = f"goes on after epoch {goes_on} of 4, from its checkpoint" if goes_on else "training starts anew"
    assert notes[-1][1].endswith(last)
    assert notes[0][1].endswith("falling back to the one after epoch 2")


def test_callbacks_change_weights_before_the_checkpoint_is_written(tmp_path: Path) -> None:
    def masking(model: Any) -> Any:
        def mask(_epoch: int, _logs: Any) -> None:
            kernel = model.get_layer("logits").kernel
            kernel.assign(kernel * np.float32([1, 0, 1]))

        return load_keras().callbacks.LambdaCallback(on_epoch_end=mask)

    whole, killed, resumed = _model(), _model(), _model()
    _fit(whole, tmp_path / "whole", callbacks=[masking(whole)])
    assert np.all(whole.get_layer("logits").kernel.numpy()[:, 1] == 0)
    with pytest.raises(KeyboardInterrupt):
        _fit(killed, tmp_path / "killed", emit=_killed_after(2), callbacks=[masking(killed)])
    _fit(resumed, tmp_path / "killed", callbacks=[masking(resumed)])
    assert _same(whole, resumed)


def test_progress_is_told_each_epoch_and_at_steps_of_long_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "STEP_PROGRESS_S", 0.0)
    told: list[Event] = []
    one_step = Compute.model_validate({"performance": {"steps_per_execution": 1}})
    config = {"epochs": 2, "early_stopping": None}
    history = _fit(_model(), tmp_path, emit=told.append, config=config, compute=one_step)
    progress = [event for event in told if isinstance(event, Progress)]
    steps = [("step", 1, 3), ("step", 2, 3), ("step", 3, 3)]
    assert [(event.unit, event.done, event.total) for event in progress] == [
        *steps,
        ("epoch", 1, 2),
        *steps,
        ("epoch", 2, 2),
    ]
    assert dict(progress[-1].metrics) == {name: values[-1] for name, values in history.epochs.items()}


def test_history_survives_json(tmp_path: Path) -> None:
    history = _fit(_model(), tmp_path, config={"epochs": 2, "early_stopping": None})
    document = json.loads(json.dumps(history.to_json()))
    assert set(document) == {*fitting.METRICS, "best_epoch"}
    assert document == history.epochs | {"best_epoch": history.best_epoch}


def test_curves_are_written_for_tensorboard(tmp_path: Path) -> None:
    _fit(_model(), tmp_path, config={"epochs": 2, "early_stopping": None, "tensorboard": True})
    import tensorflow as tf

    found: dict[str, dict[str, int]] = {"train": {}, "validation": {}}
    for part, tags in found.items():
        for path in (tmp_path / "tensorboard" / part).iterdir():
            for event in tf.compat.v1.train.summary_iterator(str(path)):
                for value in event.summary.value:
                    tags[value.tag] = tags.get(value.tag, 0) + 1
    assert found == {
        "train": {"epoch_loss": 2, "epoch_accuracy": 2, "epoch_learning_rate": 2},
        "validation": {"epoch_loss": 2, "epoch_accuracy": 2},
    }


def test_smoothed_cross_entropy_is_that_of_smoothed_labels() -> None:
    labels, logits = np.array([0, 2]), np.float32([[2, 0, 1], [0, 1, 0]])
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    wanted = 0.7 * np.eye(3)[labels] + 0.1
    assert float(cross_entropy(0.3)(labels, logits)) == pytest.approx(-(wanted * log_p).sum(axis=1).mean(), rel=1e-5)
    assert float(cross_entropy(0.0)(labels, logits)) == pytest.approx(-log_p[[0, 1], labels].mean(), rel=1e-5)
