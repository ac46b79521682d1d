"""A program: fits on one device and on two logical ones of a CPU, and prints both as a line of JSON for each case.

In a process of its own: TensorFlow's devices cannot be changed once it has computed something.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import models
from pipeline.compress import (
    channel_graph,
    fake_quant,
    importance,
    keeping,
    promises,
    pruning,
    removal,
    taylor,
)
from pipeline.compress.distillation import Teaching
from pipeline.compute import precision
from pipeline.compute.config import Compute
from pipeline.compute.scope import Scope
from pipeline.data import DataConfig, Split, Splits, batches
from pipeline.data.batches import predict
from pipeline.fit import losses
from pipeline.fit.config import FitConfig
from pipeline.fit.loop import fit
from pipeline.fit.teach import Fitnet, Relations
from pipeline.predictor import classifier

SPEC = classifier("image", (4, 4, 1), (0, 1), ("a", "b", "c"))
# the last batch of an epoch has one sample: one replica gets none
CONFIG = {"epochs": 2, "batch_size": 13, "optimizer": {"name": "sgd", "learning_rate": 0.05}, "tensorboard": False}


def _splits() -> Splits:
    random = np.random.default_rng(0)

    def part(count: int) -> Split:
        y = random.integers(0, 3, count)
        x = random.random((count, 4, 4, 1)) * 0.6 + np.eye(4)[y][:, :, None, None] * 0.4
        return Split(x.astype(np.float32), y)

    return Splits(SPEC, train=part(40), validation=part(21), calibration=part(6), test=part(6))


SPLITS = _splits()


def _mlp(dropout: float = 0.0) -> Any:
    return models.build(models.mlp.Config(dense=(8,), dropout=dropout, batch_norm=False), SPEC, 0)


def _cnn(batch_norm: bool = False) -> Any:
    return models.build(models.cnn.Config(filters=(4,), batch_norm=batch_norm), SPEC, 0)


def _fit(model: Any, work: Path | None = None, callbacks: Any = (), teaching: Any = None, **changes: Any) -> Any:
    config = FitConfig.model_validate({**CONFIG, **changes})
    return fit(
        model, SPLITS, config, data=DataConfig(), seed=0, stage="train", emit=lambda _: None,
        work=work or Path(tempfile.mkdtemp()), callbacks=callbacks, teaching=teaching,
    )  # fmt: skip


def _said(model: Any, history: Any, **more: Any) -> dict[str, Any]:
    weights = np.concatenate([weight.numpy().ravel() for weight in model.weights]).tolist()
    return {
        "loss": history.epochs["loss"], "val_loss": history.epochs["val_loss"],
        "val_accuracy": history.epochs["val_accuracy"], "weights": weights, **more,
    }  # fmt: skip


def _replicas_differ(variables: Any) -> float:
    """Return the largest difference between the replicas of some variables."""
    pairs = [[one.numpy() for one in getattr(variable, "values", (variable,))] for variable in variables]
    return float(max(np.max(np.abs(values[0] - values[-1]), initial=0) for values in pairs))


def train(**changes: Any) -> dict[str, Any]:
    model = _mlp()
    history = _fit(model, **changes)
    answers = predict(model, SPLITS.validation.x, batch_size=8)
    return _said(model, history, answers=np.ravel(answers).tolist(), differ=_replicas_differ(model.weights))


def batch_norm() -> dict[str, Any]:
    model = _cnn(batch_norm=True)
    history = _fit(model)
    return _said(model, history, differ=_replicas_differ(model.weights))


def distill(**inside: Any) -> dict[str, Any]:
    teacher, model = _cnn(), _cnn()
    teacher.set_weights([weight * 2 for weight in teacher.get_weights()])
    return _said(model, _fit(model, teaching=Teaching((teacher,), 4.0, 0.5, **inside)))


def shrink() -> dict[str, Any]:
    model = _cnn()
    graph = channel_graph.follow(model)
    given = batches.evaluation(SPLITS.calibration, SPEC, DataConfig(), batch_size=3)
    gradients = taylor.gradients(model, given, losses.cross_entropy(0.0))
    scores = importance.scores(graph, model, "taylor", seed=0, gradients=gradients)
    group = next(one for one in graph.groups if "conv_1" in one.layers)
    kept = {group.name: np.sort(np.argsort(scores[group.name])[-2:])}
    smaller = removal.remove(model, graph, kept)
    promised = promises.Promises()
    zeros = promises.keep(smaller, promised)
    history = _fit(smaller)
    promises.require(smaller, promised, zeros, stage="shrink")
    return _said(smaller, history, differ=_replicas_differ(smaller.weights), kept=kept[group.name].tolist())


def prune() -> dict[str, Any]:
    model = _cnn()
    aims = {layer.name: 0.5 for layer in model.layers if layer.name in ("conv_1", "dense_1")}
    wrapped = pruning.wrap(model, aims, pruning.Schedule(0.1, 1, 7, 3.0, 2))
    history = _fit(wrapped, callbacks=[pruning.callback()])
    masks = [mask for layer in wrapped.layers if hasattr(layer, "pruning_vars") for _, mask, _ in layer.pruning_vars]
    pruned = pruning.strip(wrapped)
    pruning.require(pruned, aims, stage="prune")
    return _said(
        pruned, history, differ=_replicas_differ(masks), zeros=[float(1 - mask.numpy().mean()) for mask in masks]
    )


def cluster() -> dict[str, Any]:
    model = _cnn()
    kernel = next(layer for layer in model.layers if layer.name == "conv_1").kernel
    kernel.assign(np.round(kernel.numpy() * 4) / 4)
    keeping.keep(kernel, keeping.TENSOR)
    before = keeping.assignments(kernel.numpy(), keeping.TENSOR)
    history = _fit(model)
    same = bool(np.array_equal(before, keeping.assignments(kernel.numpy(), keeping.TENSOR)))
    return _said(model, history, differ=_replicas_differ([kernel]), kept=same)


def quantize() -> dict[str, Any]:
    model = _cnn()
    built = fake_quant.build(model)
    fake_quant.calibrate(built, model, SPLITS.calibration.x)
    history = _fit(built, callbacks=[fake_quant.freezing(2)])
    ranges = [one for one in built.weights if "min" in one.name or "max" in one.name]
    return _said(
        built, history, differ=_replicas_differ(ranges), ranges=[np.ravel(one.numpy()).tolist() for one in ranges]
    )


def resumed() -> dict[str, Any]:
    """Return whether a fit that is stopped after an epoch and goes on becomes what one becomes that is not stopped."""
    options = {"epochs": 3, "optimizer": {"name": "adam", "learning_rate": 0.02}}
    whole = _mlp(dropout=0.3)
    history = _fit(whole, **options)

    class StopError(Exception):
        pass

    from pipeline.legacy_keras import load

    def stop(epoch: int, _logs: Any) -> None:
        if epoch == 1:
            raise StopError

    work, part = Path(tempfile.mkdtemp()), _mlp(dropout=0.3)
    with suppress(StopError):
        _fit(part, work, callbacks=[load().callbacks.LambdaCallback(on_epoch_begin=stop)], **options)
    again = _mlp(dropout=0.3)
    went_on = _fit(again, work, **options)
    equal = all(np.array_equal(a, b) for a, b in zip(whole.get_weights(), again.get_weights(), strict=True))
    return _said(again, went_on, equal=equal and history.epochs == went_on.epochs)


def half(policy: Any) -> dict[str, Any]:
    with precision.asked(policy):
        return train(optimizer={"name": "adam", "learning_rate": 0.02})


CASES: Mapping[str, Callable[[], dict[str, Any]]] = {
    "train": lambda: train(optimizer={"name": "adam", "learning_rate": 0.02}),
    "clipped": lambda: train(clip={"by": "global_norm", "limit": 0.1}, schedule={"name": "cosine"}),
    "weighted": lambda: train(class_weights="balanced", label_smoothing=0.1),
    "batch_norm": batch_norm,
    "distill": distill,
    "features": lambda: distill(features=Fitnet()),
    "relations": lambda: distill(relations=Relations()),
    "shrink": shrink,
    "prune": prune,
    "cluster": cluster,
    "quantize": quantize,
    "resumed": resumed,
    "float16": lambda: half("mixed_float16"),
    "bfloat16": lambda: half("mixed_bfloat16"),
}


def main() -> None:
    scope = Scope(Compute(accelerator="cpu", strategy="mirrored", devices=2))
    scope.start()
    for name in sys.argv[1:] or CASES:
        alone = CASES[name]()
        with scope.entered():
            together = CASES[name]()
        print(json.dumps({name: (alone, together)}), flush=True)


if __name__ == "__main__":
    main()
