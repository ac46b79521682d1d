"""The recurrent architecture: its layers, what it takes, how it starts, and what its parts cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

import models
from models import ModelConfig, rnn
from pipeline.compress import fake_quant, pruning, support
from pipeline.errors import InputError
from pipeline.measuring.macs import macs
from pipeline.predictor import classifier

IMAGE = classifier("image", (8, 6, 2), (0, 16), tuple("0123456789"))
SEQUENCE = classifier("sequence", (5, 3), (-1, 1), ("up", "down"))


def names(model: Any) -> list[str]:
    return [layer.name for layer in model.layers]


@pytest.mark.parametrize(("cell", "kind"), [("simple", "SimpleRNN"), ("lstm", "LSTM"), ("gru", "GRU")])
def test_all_recurrent_layers_but_the_last_hand_on_every_step(cell: Any, kind: str) -> None:
    model = models.build(rnn.Config(cell=cell, units=(4, 3), dense=(6,), dropout=0.1), SEQUENCE, 0)
    assert names(model) == [
        "sequence", "rescaling", f"{cell}_1", f"{cell}_dropout_1", f"{cell}_2", f"{cell}_dropout_2",
        "dense_1", "dense_bn_1", "dense_relu_1", "dropout_1", "logits",
    ]  # fmt: skip
    first, second = model.get_layer(f"{cell}_1"), model.get_layer(f"{cell}_2")
    assert {type(first).__name__, type(second).__name__} == {kind}
    assert (first.output_shape, second.output_shape) == ((None, 5, 4), (None, 3))
    assert model.output_shape == (None, 2)


def test_image_is_read_row_by_row_inside_the_model() -> None:
    model = models.build(rnn.Config(units=(4,)), IMAGE, 0)
    assert model.input_shape == (None, 8, 6, 2)
    assert names(model)[1:4] == ["rescaling", "rows", "lstm_1"]
    picture = np.arange(96.0).reshape(1, 8, 6, 2)
    assert np.array_equal(model.get_layer("rows")(picture), picture.reshape(1, 8, 12))


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4, 5), (0, 3)])
def test_inputs_that_are_no_sequences_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="'rnn' takes sequences, or images row by row") as refused:
        models.check(rnn.Config(), shape)
    assert refused.value.expected == "inputs of shape (time, features) or (height, width, channels)"
    assert refused.value.found == f"inputs of shape {shape}"


def test_both_directions_start_with_weights_of_their_own_that_depend_on_the_seed_alone() -> None:
    config = rnn.Config(cell="gru", units=(4,), bidirectional=True)
    once, again, other = (models.build(config, SEQUENCE, seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    forward, backward = once[0], once[3]
    assert forward.shape == backward.shape == (3, 12)
    assert not np.array_equal(forward, backward)
    assert not np.array_equal(forward, other[0])


def test_second_direction_reads_from_the_end() -> None:
    model = models.build(rnn.Config(cell="simple", units=(4,), bidirectional=True), SEQUENCE, 0)
    both = model.get_layer("both_simple_1")
    assert both.output_shape == (None, 8)
    weights = both.get_weights()
    both.set_weights(weights[:3] * 2)  # the same in both directions
    samples = np.random.default_rng(0).normal(size=(1, 5, 3)).astype(np.float32)
    there, back = both(samples).numpy(), both(samples[:, ::-1]).numpy()
    assert np.allclose(there[:, :4], back[:, 4:], atol=1e-6)


def test_penalties_hold_for_both_kernels_and_recurrent_ones_start_orthogonal() -> None:
    layer = models.build(rnn.Config(cell="simple", units=(4,), l2=0.5), SEQUENCE, 0).get_layer("simple_1")
    recurrent = layer.cell.recurrent_kernel.numpy()
    assert np.allclose(recurrent @ recurrent.T, np.eye(4), atol=1e-5)
    assert float(layer.kernel_regularizer.l2) == float(layer.recurrent_regularizer.l2) == 0.5


def test_config_survives_a_round_trip() -> None:
    adapter: TypeAdapter[ModelConfig] = TypeAdapter(ModelConfig)
    config = rnn.Config(cell="gru", units=(3, 2), bidirectional=True, dense=(4,))
    assert adapter.validate_python(adapter.dump_python(config, mode="json")) == config


@pytest.mark.parametrize(("cell", "gates"), [("simple", 1), ("lstm", 4), ("gru", 3)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_macs_are_those_of_both_kernels_in_every_step(cell: Any, gates: int, bidirectional: bool) -> None:
    model = models.build(rnn.Config(cell=cell, units=(4, 6), bidirectional=bidirectional), SEQUENCE, 0)
    directions = 2 if bidirectional else 1
    first = directions * 5 * gates * (3 * 4 + 4 * 4)
    second = directions * 5 * gates * (directions * 4 * 6 + 6 * 6)
    found = macs(model)
    assert (found.total, found.unknown) == (first + second + directions * 6 * 2, ())


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_one_direction_is_pruned_and_two_are_left_dense_and_float_with_a_reason(cell: Any) -> None:
    one = models.build(rnn.Config(cell=cell, units=(4,)), SEQUENCE, 0)
    both = models.build(rnn.Config(cell=cell, units=(4,), bidirectional=True), SEQUENCE, 0)
    assert support.prunable(one.get_layer(f"{cell}_1")) == ("kernel", "recurrent_kernel")
    assert set(pruning.targets(one, 0.5, {})) == {f"{cell}_1", "logits"}
    assert set(pruning.targets(both, 0.5, {})) == {"logits"}
    assert "TF-MOT cannot wrap" in support.dense(both.get_layer(f"both_{cell}_1"))
    for model, name in ((one, f"{cell}_1"), (both, f"both_{cell}_1")):
        assert fake_quant.floating(model) == {name: "TF-MOT has no fake quantization for this kind of layer"}
