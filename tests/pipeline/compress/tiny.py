"""Three classes of small images that a tiny model can learn, and the fit of the pipeline on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data import DataConfig, Split, Splits
from pipeline.fit.config import FitConfig
from pipeline.fit.loop import History, fit
from pipeline.legacy_keras import load as load_keras
from pipeline.predictor import classifier
from tests.pipeline.compress.zoo import unlike_at_first

SPEC = classifier("samples", (6, 6, 1), (0.0, 1.0), ("a", "b", "c"))
DATA = DataConfig()
STEPS = 3


def splits() -> Splits:
    random = np.random.default_rng(0)

    def part(count: int) -> Split:
        y = random.integers(0, 3, count)
        x = random.random((count, 6, 6, 1)) * 0.6 + np.eye(6)[y][:, :, None, None] * 0.4
        return Split(x.astype(np.float32), y)

    return Splits(SPEC, train=part(16 * STEPS), validation=part(20), calibration=part(16), test=part(6))


SPLITS = splits()


def sequential(*layers: Any, shape: tuple[int, ...] = (6, 6, 1)) -> Any:
    """Return a functional model of layers in a row, with biases and statistics unlike those at first."""
    keras = load_keras()
    keras.utils.set_random_seed(4)
    values = inputs = keras.Input(shape, name="samples")
    for layer in layers:
        values = layer(values)
    model = keras.Model(inputs, values)
    unlike_at_first(model)
    return model


def cnn(**options: Any) -> Any:
    """Return conv, norm, relu, flat, hidden (relu inside), logits."""
    layers = load_keras().layers
    return sequential(
        layers.Conv2D(4, 3, name="conv", **options),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(name="relu"),
        layers.Flatten(name="flat"),
        layers.Dense(8, activation="relu", name="hidden", **options),
        layers.Dense(3, name="logits"),
    )


def tune(model: Any, work: Path, *, optimizer: str = "adam", **options: Any) -> History:
    """Fit a model for some epochs of STEPS steps."""
    config = FitConfig.model_validate(
        {
            "tensorboard": False, "epochs": options.pop("epochs", 2), "batch_size": 16,
            "optimizer": {"name": optimizer, "learning_rate": 0.02},
        }
    )  # fmt: skip
    emit = options.pop("emit", lambda _: None)
    return fit(model, SPLITS, config, data=DATA, seed=0, stage="prune", work=work, emit=emit, **options)


def answers(model: Any) -> np.ndarray:
    """Return the logits of the validation split."""
    logits: np.ndarray = model.predict(SPLITS.validation.x, verbose=0)
    return logits
