"""What TF-MOT's own scheme for pruned and clustered models loses, that the promises catch it, and that ours keeps it.

`Default8BitClusterPreserveQuantizeScheme(True)` shares one quantizer among all layers of a kind. The first of them
without a zero switches the keeping of zeros off for all others, of which 1x1 convolutions lose every one. And ranges
per channel make more distinct integers of a kernel than it has weights. (Issue 979 of model-optimization tells of 1x1
convolutions that become zero, pull requests 720 and 721 of zeros that drift away.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.compress import cluster_promise, fake_quant, kernels, pruning
from pipeline.errors import PromiseError
from pipeline.formats import tflite
from pipeline.legacy_keras import load as load_keras
from pipeline.legacy_keras import load_tfmot
from tests.pipeline.compress import tiny
from tests.pipeline.compress.test_cluster_promise import ASKED, residual


def _model() -> Any:
    """Return the net with a first convolution that has no zeros."""
    model = residual()
    kernel = model.get_layer("stem").kernel
    values = kernel.numpy()
    kernel.assign(np.where(values == 0, values.max(), values))
    return model


def _theirs(model: Any) -> Any:
    """Return what comes of TF-MOT's scheme after a training, stripped of its clusters."""
    keras, tfmot = load_keras(), load_tfmot()
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    quantize = tfmot.quantization.keras
    scheme = tfmot.experimental.combine.Default8BitClusterPreserveQuantizeScheme(True)
    with quantize.quantize_scope():
        built = quantize.quantize_apply(quantize.quantize_annotate_model(copy), scheme)
    built.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    built.fit(tiny.SPLITS.train.x, tiny.SPLITS.train.y, epochs=2, verbose=0)
    return tfmot.experimental.combine.strip_clustering_cqat(built)


def _plain(model: Any, built: Any) -> Any:
    """Return the plain model with the kernels of a stripped one."""
    copy = load_keras().models.clone_model(model)
    copy.set_weights(model.get_weights())
    for name in ASKED:
        found = kernels.variables(built.get_layer(f"quant_{name}"))
        copy.get_layer(name).kernel.assign(found["kernel"])
    return copy


@pytest.mark.long
def test_tf_mots_scheme_loses_zeros_and_clusters_and_the_promises_catch_it(tmp_path: Path) -> None:
    model = _model()
    zeros = pruning.zeros(model)
    assert kernels.sparsity([model.get_layer("narrow").kernel.numpy()]) == 0.5
    theirs = _theirs(model)
    with pytest.raises(PromiseError, match="weights that were zero are not any more") as lost:
        pruning.require_kept(zeros, _plain(model, theirs), stage="quantize")
    assert lost.value.found == "narrow/kernel lost 16 zeros; wide/kernel lost 16 zeros"
    path = tmp_path / "int8.tflite"
    tflite.write(theirs, path, tiny.SPEC, "int8", fake_quant=True)
    with pytest.raises(PromiseError, match="more distinct weights in its kernels than the model") as spread:
        cluster_promise.require_in_file(
            tflite.kernels(path), model, ASKED, axes=tflite.operators(path).channel_axes, folded=(), scaled=False,
            name=path.name,
        )  # fmt: skip
    assert "stem/kernel has " in spread.value.found


@pytest.mark.long
def test_ours_keeps_them_in_the_same_model(tmp_path: Path) -> None:
    model = _model()
    zeros = pruning.zeros(model)
    built = fake_quant.build(model, dict.fromkeys(ASKED, "tensor"))
    fake_quant.calibrate(built, model, tiny.SPLITS.calibration.x)
    tiny.tune(built, tmp_path / "work", epochs=2)
    fake_quant.settle(built)
    plain = fake_quant.plain(built, model)
    pruning.require_kept(zeros, plain, stage="quantize")
    cluster_promise.require(plain, ASKED, stage="quantize")
    path = tmp_path / "int8.tflite"
    tflite.write(built, path, tiny.SPEC, "int8", fake_quant=True)
    found = tflite.kernels(path)
    cluster_promise.require_in_file(
        found, plain, ASKED, axes=tflite.operators(path).channel_axes, folded=(), scaled=False, name=path.name
    )  # fmt: skip
    sparse = {values.size: kernels.sparsity([values]) for values in found.values()}
    assert (sparse[32], sparse[24]) == (0.5, 0.5)
