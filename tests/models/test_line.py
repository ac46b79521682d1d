"""Every architecture learns, is pruned and quantized, and answers in every runtime as Keras does.

Another architecture is one line in CASES; one that takes long, or another way to configure one, in LONG.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models import (
    MODELS,
    READING,
    autoencoder,
    cnn,
    ds_cnn,
    efficientnet,
    mlp,
    mobilenet,
    resnet,
    rnn,
    text_rnn,
    text_transformer,
)  # fmt: skip
from models.several import Ensemble
from pipeline.data import DataConfig
from pipeline.isolate import Child
from pipeline.predictor import LOGITS
from tests import texts
from tests.models import line
from tests.models.line import Case

CASES = {
    "resnet-8": Case(resnet.Config(depth=8, width_multiplier=0.5)),
    "efficientnet-short": Case(efficientnet.Config(width_multiplier=0.1, blocks=3)),
    "ds_cnn": Case(ds_cnn.Config(filters=16, blocks=2)),
    "rnn-gru": Case(rnn.Config(cell="gru", units=(8,)), quantize=False),
    "autoencoder": Case(autoencoder.Config(dense=(32,), code=8), DataConfig(task="reconstruction"), epochs=8),
    "text_transformer": Case(text_transformer.Config(embedding=16, feed_forward=32), epochs=10),
}
LONG = {
    "cnn": Case(cnn.Config(filters=(8, 8))),
    "cnn-plain": Case(cnn.Config(filters=(8,), convolutions=2, batch_norm=False, dropout=0.1)),
    "mlp": Case(mlp.Config(dense=(16,))),
    "mlp-regression": Case(mlp.Config(dense=(16,)), DataConfig(task="regression"), epochs=8),
    "cnn-regression": Case(cnn.Config(filters=(8,)), DataConfig(task="regression"), epochs=8),
    "mlp-plain": Case(mlp.Config(dense=(16,), batch_norm=False, dropout=0.1)),
    "resnet-plain": Case(resnet.Config(depth=8, width_multiplier=0.5, batch_norm=False, dropout=0.1)),
    "resnet-20": Case(resnet.Config(depth=20, width_multiplier=0.5), epochs=6),
    "resnet-18": Case(resnet.Config(depth=18, width_multiplier=0.125, stem="small"), epochs=6),
    "mobilenet-v1": Case(mobilenet.Config(version=1, width_multiplier=0.25), epochs=12),
    "mobilenet-v1-plain": Case(mobilenet.Config(version=1, width_multiplier=0.25, blocks=3, batch_norm=False)),
    "mobilenet-v2-short": Case(mobilenet.Config(version=2, width_multiplier=0.1, blocks=3)),
    "mobilenet-v2": Case(mobilenet.Config(version=2, width_multiplier=0.25), epochs=12),
    "mobilenet-v2-reduction-1": Case(mobilenet.Config(version=2, width_multiplier=0.25, blocks=3, reduction=1)),
    "efficientnet": Case(efficientnet.Config(width_multiplier=0.25, blocks=6), epochs=8),
    "efficientnet-lite": Case(
        efficientnet.Config(width_multiplier=0.25, blocks=8, activation="relu6", squeeze_excite=False), epochs=8
    ),
    "efficientnet-plain": Case(efficientnet.Config(width_multiplier=0.25, blocks=3, batch_norm=False, dropout=0.1)),
    "ds_cnn-m": Case(ds_cnn.Config(filters=24, strides=(2, 1), block_stride=2, dropout=0.1)),
    "rnn-lstm": Case(rnn.Config(cell="lstm", units=(8, 8), bidirectional=True), quantize=False),
    "rnn-simple": Case(rnn.Config(cell="simple", units=(16,), batch_norm=False), quantize=False),
    "text_rnn-both": Case(text_rnn.Config(embedding=16, units=(8,), bidirectional=True, dense=(8,)), epochs=10),
    "text_transformer-average": Case(
        text_transformer.Config(embedding=16, feed_forward=32, blocks=2, pooling="average", dropout=0.1), epochs=10
    ),
    "ds_cnn-plain": Case(ds_cnn.Config(filters=16, blocks=1, batch_norm=False)),
    "ensemble": Case(Ensemble(ensemble=(cnn.Config(filters=(8,)), mlp.Config(dense=(16,))), copies=2)),
    "ensemble-regression": Case(
        Ensemble(ensemble=(mlp.Config(dense=(16,)),), copies=3), DataConfig(task="regression"), epochs=8
    ),
}


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """A process with TensorFlow on one thread, for all architectures."""
    log = tmp_path_factory.mktemp("log") / "log.txt"
    with Child(deadline_s=500, memory_mb=None, threads=1, log=log) as started:
        yield started


@pytest.mark.parametrize(
    "case",
    [
        *(pytest.param(case, id=name) for name, case in CASES.items()),
        *(pytest.param(case, id=name, marks=pytest.mark.long) for name, case in LONG.items()),
    ],
)
def test_architecture_learns_and_answers_in_every_runtime_as_keras_does(
    case: Case, child: Child, tmp_path: Path
) -> None:
    if case.config.architecture in READING:
        case = dataclasses.replace(case, data=texts.write(tmp_path / "texts.npz"))
    made = child.call(line.go, case, tmp_path)
    trained = made.models["train"].several
    for one in trained.fitted if trained else [made.models["train"]]:
        assert one.training["loss"][-1] < one.training["loss"][0]
    assert made.models["train"].macs > 0
    assert made.models["train"].unknown_macs == []
    assert {name.split(".", 1)[1] for name in made.answers} == {
        "saved_model.float32", "tflite.float32", "tflite.int8", "onnx.float32", "onnx.int8"
    }  # fmt: skip
    for name, answers in made.answers.items():
        ((end, found),) = answers.items()
        expected = made.expected[name.split(".")[0]][end]
        error = np.abs(found - expected).max() / np.abs(expected).max()
        # of values, nothing is the highest
        agree = (found.argmax(axis=1) == expected.argmax(axis=1)).mean() if end == LOGITS else 1.0
        print(f"{name}: largest error {error:.1e} of the largest answer, {agree:.1%} agree")
        if name.endswith("float32"):
            assert error < 1e-4, name
            assert agree == 1, name
        else:
            assert error < 0.1, name
            assert agree >= 0.95, name
    if case.quantize and case.config.architecture not in READING:
        lite = made.artifacts["quantize.tflite.int8"].operators
        # what is added behind a reconstruction, its raw values and its score, is no part of the model
        added = {"MUL": 3, "SUB": 1, "MEAN": 1} if case.data.task == "reconstruction" else {}
        assert (lite.floating_names, lite.first_integer) == (added, True)


def test_every_architecture_goes_the_line() -> None:
    gone = {case.config.architecture for case in (*CASES.values(), *LONG.values())}
    assert gone - {"averaged"} == set(MODELS)
