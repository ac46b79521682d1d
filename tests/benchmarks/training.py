"""How fast a fit is against Keras' own on arrays: `python -m tests.benchmarks.training [--pairs N] [--data mnist.npz]`.

The same model, weights, optimizer, batch size, epochs, training and validation split. One side is `model.fit(x, y)` of
Keras with nothing around it; the other is the fit of every stage, with all that it does: the order of samples by seed
and epoch, checkpoints on the disk, a look at every loss, its own history. They take turns, and who begins changes.

Two ratios, Keras' time over ours, so more than 1 is faster: of an epoch after the first, the median of a fit's (steps,
validation, checkpoint), and of the whole fit with tracing, compiling and a trial of settings if it makes one. Shown are
geometric means over the pairs with 95 % intervals (Student's t on logarithms). Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import models
from pipeline.compute.config import Compute
from pipeline.data import DataConfig, Split, Splits
from pipeline.events import Event, Progress, Trained
from pipeline.fit import optimizer
from pipeline.fit.config import FitConfig
from pipeline.fit.course import EVALUATION_BATCH
from pipeline.fit.loop import fit
from pipeline.fit.losses import cross_entropy
from pipeline.predictor import Spec, classifier
from pipeline.students_t import geometric_mean

CLASSES = tuple("0123456789")


@dataclass(frozen=True)
class Case:
    """A model and what it is trained on; `samples` of training, a fifth as many of validation."""

    model: models.ModelConfig
    shape: tuple[int, ...]
    samples: int
    batch_size: int
    epochs: int


CASES = {
    "mlp, 8x8": Case(models.mlp.Config(), (8, 8, 1), 1440, 32, 12),
    "mlp, 28x28": Case(models.mlp.Config(), (28, 28, 1), 12800, 128, 6),
    "cnn, 8x8": Case(models.cnn.Config(filters=(16, 32)), (8, 8, 1), 1440, 32, 8),
    "cnn, 28x28": Case(models.cnn.Config(filters=(16, 32)), (28, 28, 1), 2560, 128, 4),
    "resnet8, 8x8": Case(models.resnet.Config(depth=8), (8, 8, 1), 1440, 32, 4),
    "resnet8, 28x28": Case(models.resnet.Config(depth=8), (28, 28, 1), 1280, 128, 4),
    "lstm, 8x8": Case(models.rnn.Config(units=(32,)), (8, 8), 1440, 32, 6),
    "lstm, 28x28": Case(models.rnn.Config(units=(64,)), (28, 28), 2560, 128, 4),
}


@dataclass(frozen=True)
class Took:
    """Seconds of an epoch after the first, and of a whole fit."""

    epoch_s: float
    whole_s: float
    settings: str = ""


def splits(case: Case, data: Path | None) -> Splits:
    """Return noise of the case's shape, or what is in a file that Keras' mnist.npz is."""
    spec = classifier("sequence" if len(case.shape) == 2 else "image", case.shape, (0, 255), CLASSES)
    count = case.samples + case.samples // 5
    if data is not None and case.shape[:2] == (28, 28):
        with np.load(data) as stored:
            x, y = stored["x_train"][:count].astype(np.float32), stored["y_train"][:count].astype(np.int64)
    else:
        random = np.random.default_rng(0)
        x, y = random.random((count, *case.shape), np.float32) * 255, random.integers(0, len(CLASSES), count)
    x = x.reshape(len(x), *case.shape)
    train, other = Split(x[: case.samples], y[: case.samples]), Split(x[case.samples :], y[case.samples :])
    return Splits(spec, train=train, validation=other, calibration=other, test=other)


def _config(case: Case) -> FitConfig:
    chosen = {"epochs": case.epochs, "batch_size": case.batch_size, "tensorboard": False, "early_stopping": None}
    return FitConfig.model_validate(chosen)


def keras(case: Case, found: Splits) -> Took:
    """Fit with Keras alone."""
    from pipeline.legacy_keras import load

    config, model = _config(case), _model(case, found.spec)
    times: list[float] = []
    ended = load().callbacks.LambdaCallback(on_epoch_end=lambda *_: times.append(time.perf_counter()))
    started = time.perf_counter()
    model.compile(optimizer=optimizer.make(config), loss=cross_entropy(0.0), metrics=["accuracy"])
    model.fit(
        found.train.x, found.train.y, batch_size=case.batch_size, epochs=case.epochs, verbose=0, callbacks=[ended],
        validation_data=(found.validation.x, found.validation.y), validation_batch_size=EVALUATION_BATCH,
    )  # fmt: skip
    return _took(started, times)


def ours(case: Case, found: Splits, compute: Compute) -> Took:
    """Fit as every stage does."""
    model = _model(case, found.spec)
    times: list[float] = []
    settings: list[str] = []

    def emit(event: Event) -> None:
        if isinstance(event, Progress) and event.unit == "epoch":
            times.append(time.perf_counter())
        elif isinstance(event, Trained):
            settings.append(f"{event.speed['steps_per_execution']} steps{', XLA' * event.speed['xla']}")

    with tempfile.TemporaryDirectory() as work:
        started = time.perf_counter()
        fit(model, found, _config(case), data=DataConfig(), seed=0, stage="train", work=Path(work), emit=emit,
            compute=compute)  # fmt: skip
        return _took(started, times, settings[-1])


def _model(case: Case, spec: Spec) -> Any:
    return models.build(case.model, spec, 0)


def _took(started: float, times: list[float], settings: str = "") -> Took:
    between = [after - before for before, after in itertools.pairwise(times)]
    return Took(statistics.median(between), time.perf_counter() - started, settings)


def compare(name: str, data: Path | None, pairs: int, compute: Compute, say: Callable[[str], None]) -> dict[str, Any]:
    """Return what a case comes to."""
    case = CASES[name]
    found = splits(case, data)
    plain, fitted = [], []
    # one of each beforehand: the first call of a process pays for what the others find ready
    keras(case, found), ours(case, found, compute)
    for pair in range(pairs):
        for side in (0, 1) if pair % 2 else (1, 0):
            if side:
                fitted.append(ours(case, found, compute))
            else:
                plain.append(keras(case, found))
    row = {
        "case": name, "samples": case.samples, "batch_size": case.batch_size, "epochs": case.epochs, "pairs": pairs,
        "keras_examples_per_s": case.samples / statistics.median(one.epoch_s for one in plain),
        "examples_per_s": case.samples / statistics.median(one.epoch_s for one in fitted),
        "epoch_ratio": geometric_mean([a.epoch_s / b.epoch_s for a, b in zip(plain, fitted, strict=True)]),
        "whole_ratio": geometric_mean([a.whole_s / b.whole_s for a, b in zip(plain, fitted, strict=True)]),
        "settings": fitted[-1].settings,
    }  # fmt: skip
    epoch, whole = ("{:.2f} ({:.2f} to {:.2f})".format(*row[key]) for key in ("epoch_ratio", "whole_ratio"))
    say(
        f"| {name} | {case.samples} / {case.batch_size} / {case.epochs} | {row['keras_examples_per_s']:,.0f} | "
        f"{row['examples_per_s']:,.0f} | {epoch} | {whole} | {row['settings']} |"
    )
    return row


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--only", nargs="*", choices=[*CASES], default=[*CASES], help="some of the cases")
    parser.add_argument("--data", type=Path, help="mnist.npz, for the cases of 28x28; without: noise")
    parser.add_argument("--xla", choices=["auto", "on", "off"], default="auto")
    parser.add_argument("--budget-s", type=float, default=10.0, help="of trials; a fit ten times as long makes one")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    asked = parser.parse_args()
    compute = Compute.model_validate({"performance": {"xla": asked.xla, "budget_s": asked.budget_s}})
    print("| model | samples / batch / epochs | Keras, examples/s | modelmill | an epoch | the whole fit | settings |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    rows = [
        compare(name, asked.data, asked.pairs, compute, lambda line: print(line, flush=True)) for name in asked.only
    ]
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
