from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest

from pipeline.legacy_keras import load as load_keras
from pipeline.measuring.anatomy import BINS, describe, histogram
from tests.pipeline.compress import tiny


def test_histogram_counts_every_value_and_zeros_apart() -> None:
    random = np.random.default_rng(0)
    arrays = [random.normal(size=(10, 20)), random.normal(size=(7, 3))]
    arrays[0].ravel()[:30] = 0
    arrays[1][0, 0] = -0.0
    found = histogram(arrays)
    values = np.concatenate([array.ravel() for array in arrays])
    assert found.zeros == 31
    assert len(found.counts) == BINS
    assert sum(found.counts) == values.size - 31
    assert (found.low, found.high) == (values.min(), values.max())
    counts, _ = np.histogram(values[values != 0], BINS)
    assert found.counts == counts.tolist()


def test_histogram_of_zeros_alone_has_no_counts() -> None:
    found = histogram([np.zeros((3, 4))])
    assert (found.zeros, sum(found.counts), len(found.counts)) == (12, 0, BINS)
    assert found.low < found.high


def test_layers_are_described_with_their_weights_macs_and_zeros() -> None:
    model = tiny.cnn()
    kernel, bias = model.get_layer("hidden").get_weights()
    kernel.ravel()[:128] = 0
    model.get_layer("hidden").set_weights([kernel, 0 * bias])
    found = describe(
        model, "prune", targets={"hidden": 0.25}, reasons={"conv": "the recipe"}, training={"loss": [2, 1]}
    )
    layers = {layer.name: layer for layer in found.layers}
    assert list(layers) == ["conv", "norm", "relu", "flat", "hidden", "logits"]
    hidden = layers["hidden"]
    assert (hidden.kind, hidden.parameters, hidden.macs) == ("Dense", 64 * 8 + 8, 64 * 8)
    # zeros of a bias are none of a kernel's
    assert (hidden.sparsity, hidden.target) == (0.25, 0.25)
    assert hidden.histogram is not None
    assert hidden.histogram.zeros == 128
    assert (layers["conv"].reason, layers["conv"].target, layers["conv"].macs) == ("the recipe", None, 16 * 9 * 4)
    assert (layers["norm"].sparsity, layers["norm"].histogram) == (None, None)
    assert {layer.precision for layer in found.layers} == {"float32"}
    assert (found.stage, found.variant, found.training) == ("prune", "", {"loss": [2.0, 1.0]})
    assert found.parameters == model.count_params()
    assert found.macs == sum(layer.macs or 0 for layer in found.layers)
    assert found.sparsity == pytest.approx(128 / (36 + 512 + 24))
    assert found.unknown_macs == []


def test_size_is_that_of_the_weights_as_a_file_holds_them() -> None:
    model = tiny.cnn()
    found = describe(model, "train")
    assert found.bytes == 4 * model.count_params()
    packed = zlib.compress(b"".join(array.tobytes() for array in model.get_weights()), 9)
    assert found.gzip_bytes == pytest.approx(len(packed), abs=20)


def test_kernels_of_int8_layers_weigh_a_quarter() -> None:
    model = tiny.cnn()
    found = describe(model, "quantize", precisions={"conv": "int8 per-channel", "norm": "int8", "hidden": "int8"})
    assert found.bytes == 4 * model.count_params() - 3 * (36 + 512)
    assert {layer.name: layer.precision for layer in found.layers} == {
        "conv": "int8 per-channel", "norm": "int8", "relu": "float32", "flat": "float32", "hidden": "int8",
        "logits": "float32",
    }  # fmt: skip


@pytest.mark.parametrize("precision", ["int8", "int8 per-channel"])
def test_kernels_of_int8_layers_are_packed_as_integers_of_their_range(precision: str) -> None:
    layers = load_keras().layers
    model = tiny.sequential(layers.Flatten(), layers.Dense(3, use_bias=False, name="logits"))
    # two values in each column, of another size in each: two integers where each column has its own range
    values = np.where(np.random.default_rng(0).random((36, 3)) < 0.5, 1, -1) * np.float32([1, 0.01, 0])
    model.get_layer("logits").set_weights([values])
    scale = np.float32([1, 0.01, 1]) if precision == "int8 per-channel" else np.float32(1)
    stored = np.rint(values / scale * 127).astype(np.int8).tobytes()
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    expected = len(packer.compress(stored) + packer.flush())
    found = describe(model, "quantize", precisions={"logits": precision})
    assert (found.bytes, found.gzip_bytes) == (36 * 3, expected)


def test_layers_whose_macs_nobody_can_tell_are_listed() -> None:
    keras = load_keras()

    class Odd(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight("kernel", (shape[-1], shape[-1]))

        def call(self, inputs: Any) -> Any:
            return inputs @ self.kernel

    model = tiny.sequential(keras.layers.Flatten(), Odd(name="odd"), keras.layers.Dense(3, name="logits"))
    found = describe(model, "import")
    assert any("odd" in line for line in found.unknown_macs)
    assert [layer.macs for layer in found.layers if layer.name in ("odd", "logits")] == [None, 36 * 3]
    assert found.macs == 36 * 3


def test_every_kernel_of_a_layer_counts_when_several_have_one_name() -> None:
    layers = load_keras().layers
    model = tiny.sequential(
        layers.Reshape((6, 6)), layers.Bidirectional(layers.LSTM(3), name="both"), layers.Dense(3, name="logits")
    )
    both = model.get_layer("both")
    # the forward kernels are zero, the backward ones are not
    both.set_weights([array * (place >= 3) for place, array in enumerate(both.get_weights())])
    found = {layer.name: layer for layer in describe(model, "train").layers}["both"]
    assert found.sparsity == 0.5
    assert found.histogram is not None
    assert sum(found.histogram.counts) + found.histogram.zeros == 2 * (6 * 12 + 3 * 12)
