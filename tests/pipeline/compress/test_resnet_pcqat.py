"""PCQAT on ResNet-20 (He et al., 2016): asked zeros and distinct weights are those of the int8 file's tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import models
from pipeline.compress import clustering, fake_quant, kernels, promises, pruning
from pipeline.compress.promises import Promises
from pipeline.formats import tflite
from tests.pipeline.compress import tiny

CLUSTERS, SPARSITY = 16, 0.5


@pytest.mark.long
def test_int8_file_of_resnet_20_has_the_zeros_and_distinct_weights_that_were_asked(tmp_path: Path) -> None:
    config = models.resnet.Config(architecture="resnet", depth=20)
    model = models.build(config, tiny.SPEC, seed=0)
    random = np.random.default_rng(0)
    for layer in model.layers:
        for weight in kernels.variables(layer).values():
            values = weight.numpy()
            weight.assign(np.where(np.abs(values) < np.quantile(np.abs(values), SPARSITY), 0, values))
        if type(layer).__name__ == "BatchNormalization":  # some negative, as none is at the start
            layer.gamma.assign(random.uniform(-0.5, 1.5, layer.gamma.shape))
    asked = clustering.targets(model, CLUSTERS, {}, per_channel=False)
    model, _ = clustering.prepared(model, asked)
    clustering.apply(model, asked, seed=0)
    promised = Promises(pruning.found_zeros(model), asked)
    built = fake_quant.build(model, {name: one.per for name, one in asked.items()})
    fake_quant.calibrate(built, model, tiny.SPLITS.calibration.x)
    zeros = pruning.zeros(model)
    tiny.tune(built, tmp_path / "work", epochs=1)
    fake_quant.settle(built)
    plain = fake_quant.plain(built, model)
    promises.require(plain, promised, zeros, stage="quantize")
    path = tmp_path / "int8.tflite"
    tflite.write(built, path, tiny.SPEC, "int8", fake_quant=True)
    found = tflite.kernels(path)
    # a kernel of the file for each of the model's
    assert sorted(values.size for values in found.values()) == sorted(
        values.size for _, _, values in kernels.named(plain)
    )  # fmt: skip
    assert len(found) >= 20
    for name, values in found.items():
        assert values.dtype == np.int8, name
        assert 2 <= np.unique(values).size <= CLUSTERS, name
        assert kernels.sparsity([values]) >= SPARSITY - 1 / values.size, name
    held = promises.require_in_file(
        found, plain, promised, axes=tflite.operators(path).channel_axes, folded=(), scaled=False, name=path.name
    )  # fmt: skip
    assert held is not None
    assert held.kernels == len(found)
