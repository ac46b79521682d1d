"""Patterns of zeros, by numpy and by TF-MOT's own check of n of m."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.compress import kernels, masks, pruning, support
from pipeline.compress.pattern_config import Block, NOfM, Structured, label, labelled
from pipeline.compress.pruning import Schedule
from pipeline.errors import InputError, PromiseError
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.compress import tiny

TWO_OF_FOUR = NOfM(zeros=2, of=4)


def _kernel(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _masked(values: np.ndarray, pattern: Structured, share: float) -> np.ndarray:
    load_keras()
    import tensorflow as tf

    found = masks.mask(tf.constant(values), pattern, tf.constant(share, tf.float32)).numpy()
    assert found.shape == values.shape
    assert found.dtype == values.dtype
    assert set(np.unique(found)) <= {0, 1}
    return values * np.asarray(found)


@pytest.mark.parametrize("shape", [(8, 3), (3, 3, 8, 5), (3, 4, 2), (1, 1, 16, 16)])
@pytest.mark.parametrize("pattern", [NOfM(zeros=2, of=4), NOfM(zeros=1, of=2), NOfM(zeros=3, of=4)])
def test_the_smallest_of_each_group_along_the_inputs_are_zero(shape: tuple[int, ...], pattern: NOfM) -> None:
    values = _kernel(*shape)
    found = _masked(values, pattern, pattern.share)
    for place in np.ndindex(*shape[:-2]):
        for output in range(shape[-1]):
            for start in range(0, shape[-2], pattern.of):
                group = values[(*place, slice(start, start + pattern.of), output)]
                kept = found[(*place, slice(start, start + pattern.of), output)]
                largest = np.sort(np.abs(group))[pattern.zeros :]
                assert np.array_equal(np.sort(np.abs(kept)), [0] * pattern.zeros + list(largest))
    assert masks.broken(found, pattern, pattern.share) == ""


@pytest.mark.parametrize("shape", [(8, 3), (3, 3, 8, 5), (1, 1, 16, 16)])
def test_tf_mots_own_check_finds_two_of_four(shape: tuple[int, ...]) -> None:
    load_keras()
    import tensorflow as tf
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_utils

    values = _kernel(*shape)
    assert not pruning_utils.is_pruned_m_by_n(tf.constant(values))
    assert pruning_utils.is_pruned_m_by_n(tf.constant(_masked(values, TWO_OF_FOUR, 0.5)))


@pytest.mark.parametrize(("share", "zeros"), [(0.0, 0), (0.25, 24), (0.4, 39), (0.5, 48), (0.9, 48)])
def test_n_of_m_is_reached_step_by_step_and_never_passed(share: float, zeros: int) -> None:
    values = _kernel(2, 8, 6)
    found = _masked(values, TWO_OF_FOUR, share)
    assert int((found == 0).sum()) == zeros
    assert not np.any((found != 0) & (_masked(values, TWO_OF_FOUR, 0.5) == 0)) or share < 0.5


@pytest.mark.parametrize("third", [NOfM(zeros=1, of=3), NOfM(zeros=2, of=3)])
def test_share_that_float32_rounds_is_reached_too(third: NOfM) -> None:
    found = _masked(_kernel(3 * 400, 50), third, third.share)
    assert int((found == 0).sum()) == 400 * 50 * third.zeros


@pytest.mark.parametrize(("pooling", "first"), [("average", 0), ("max", 1)])
def test_blocks_become_zero_by_the_magnitude_of_their_weights(pooling: Any, first: int) -> None:
    values = np.array([[2, 2, 3, -0.1]], np.float32)  # on average 2 and 1.55, at most 2 and 3
    found = _masked(values, Block(size=(1, 2), pooling=pooling), 0.5)
    expected = [[2, 2, 0, 0]] if first == 0 else [[0, 0, 3, np.float32(-0.1)]]
    assert np.array_equal(found, np.array(expected, np.float32))


@pytest.mark.parametrize("size", [(1, 4), (4, 1), (2, 2)])
@pytest.mark.parametrize("shape", [(8, 12), (3, 3, 8, 12)])
def test_zeros_come_in_whole_blocks_and_as_many_as_asked(size: tuple[int, int], shape: tuple[int, ...]) -> None:
    values = _kernel(*shape)
    found = _masked(values, Block(size=size), 0.7)
    high, wide = size
    cut = found.reshape(*shape[:-2], shape[-2] // high, high, shape[-1] // wide, wide) == 0
    whole = cut.all(axis=(-3, -1))
    assert np.array_equal(whole, cut.any(axis=(-3, -1)))
    assert whole.sum() == np.ceil(0.7 * whole.size)
    assert masks.broken(found, Block(size=size), 0.7) == ""


def test_what_a_kernel_lacks_is_counted() -> None:
    values = np.ones((8, 2), np.float32)
    values[:2, 0] = values[4:7, 1] = 0
    assert masks.broken(values, TWO_OF_FOUR, 0.5) == "2 of 4 groups of 4 have fewer than 2 zeros"
    # zeros that fill no block do not count
    assert masks.broken(values, Block(size=(4, 1)), 0.5) == "0 of 4 blocks of 4 x 1 are zero and 50% were to be"
    assert masks.broken(values, Block(size=(2, 1)), 0.25) == ""


def test_kernel_is_found_in_a_file_whatever_its_layout_is() -> None:
    kernel = _masked(_kernel(3, 3, 8, 4), TWO_OF_FOUR, 0.5)
    point, dense = _masked(_kernel(1, 1, 8, 4), TWO_OF_FOUR, 0.5), _masked(_kernel(8, 4), TWO_OF_FOUR, 0.5)
    assert masks.among({"OHWI": kernel.transpose(3, 0, 1, 2)}, kernel)
    assert masks.among({"OIHW": kernel.transpose(3, 2, 0, 1)}, kernel)
    assert masks.among({"OI": point[0, 0].T}, point)
    assert masks.among({"other": kernel, "OI": dense.T}, dense)
    assert masks.among({"rounded": np.trunc(kernel * 2)}, kernel)  # more zeros
    assert not masks.among({"dense": np.ones((4, 8))}, dense)
    moved = dense.copy()
    moved[dense == 0] = 1e-9
    assert not masks.among({"x": moved}, dense)
    assert not masks.among({}, dense)


@pytest.mark.parametrize("pattern", [TWO_OF_FOUR, NOfM(zeros=1, of=8), Block(size=(1, 4)), Block(size=(16, 2))])
def test_labels_are_read_again(pattern: Structured) -> None:
    assert labelled(label(pattern)) == pattern


def test_layers_that_a_pattern_does_not_fit_say_why() -> None:
    layers = load_keras().layers
    model = tiny.sequential(
        layers.Conv2D(6, 3, name="conv"), layers.Conv2D(8, 1, name="point"), layers.Reshape((16, 8)),
        layers.LSTM(4, name="lstm"), layers.Dense(3, name="logits"),
    )  # fmt: skip
    assert pruning.left(model, None) == {}
    neither = "patterns of zeros are made in the kernels of convolutions and dense layers, and it is neither"
    assert pruning.left(model, TWO_OF_FOUR) == {
        "conv": "its 1 inputs are no multiple of 4, of which 2 are to be zero",
        "point": "its 6 inputs are no multiple of 4, of which 2 are to be zero",
        "lstm": neither,
    }
    assert pruning.left(model, Block(size=(2, 4))) == {
        "conv": "its 1 inputs x 6 outputs are no multiple of blocks of 2 x 4",
        "lstm": neither,
        "logits": "its 4 inputs x 3 outputs are no multiple of blocks of 2 x 4",
    }
    assert pruning.targets(model, 0.5, {}, pruning.left(model, TWO_OF_FOUR)) == {"logits": 0.5}
    with pytest.raises(InputError, match="asks for zeros in layers that cannot be pruned") as refused:
        pruning.targets(model, 0.5, {"conv": 0.5}, pruning.left(model, TWO_OF_FOUR))
    assert refused.value.found == "conv: its 1 inputs are no multiple of 4, of which 2 are to be zero"
    with pytest.raises(InputError, match="there is nothing to prune in the model") as refused:
        pruning.targets(model, 0.5, {}, pruning.left(model, NOfM(zeros=1, of=64)))
    assert "logits (its 4 inputs are no multiple of 64, of which 1 are to be zero)" in refused.value.found
    assert refused.value.todo == "leave the section prune out, or its pattern: prune.pattern={name: unstructured}"


@pytest.mark.parametrize(
    ("pattern", "target", "when"),
    [
        (TWO_OF_FOUR, 0.5, Schedule(0.0, 1, 5, 3.0, 1)),
        (Block(size=(4, 1)), 0.7, Schedule(None, 1, 5, 1.0, 2)),
    ],
    ids=["2:4 by a ramp", "4x1 at once"],
)
def test_fine_tuning_ends_in_the_pattern(tmp_path: Path, pattern: Structured, target: float, when: Schedule) -> None:
    aims = {"conv": target, "hidden": target}
    model = tiny.sequential(
        *(load_keras().layers.Conv2D(4, 3, name=name) for name in ("first", "conv")),
        load_keras().layers.Flatten(),
        *(load_keras().layers.Dense(units, name=name) for units, name in ((8, "hidden"), (3, "logits"))),
    )
    wrapped = pruning.wrap(model, aims, when, pattern)
    tiny.tune(wrapped, tmp_path, callbacks=[pruning.callback()])
    pruned = pruning.strip(wrapped)
    labels = dict.fromkeys(aims, label(pattern))
    pruning.require(pruned, aims, stage="prune", patterns=labels)
    for layer, name, values in kernels.named(pruned):
        if layer.name in aims:
            assert name in support.prunable(layer)
            assert masks.broken(values, pattern, target) == ""
            assert kernels.sparsity([values]) == pytest.approx(target, abs=0.08)
    kernel, bias = pruned.get_layer("hidden").get_weights()
    rolled = np.roll(kernel, 1, axis=0)  # as many zeros, in other places
    rolled[0] = np.where(rolled[0] == 0, rolled[0], 1)
    pruned.get_layer("hidden").set_weights([rolled, bias])
    with pytest.raises(PromiseError, match="zeros do not stand in the pattern that was promised") as broken:
        pruning.require(pruned, aims, stage="quantize", patterns=labels)
    assert broken.value.found.startswith("hidden/kernel: ")


def test_promise_is_broken_when_a_file_has_the_zeros_elsewhere() -> None:
    model = tiny.cnn()
    kernel, bias = model.get_layer("hidden").get_weights()
    kernel = _masked(kernel, TWO_OF_FOUR, 0.5)
    model.get_layer("hidden").set_weights([kernel, bias])
    pruning.require_patterns_in_file({"a": kernel.T}, model, {"hidden": "2:4"}, name="prune.tflite")
    with pytest.raises(PromiseError, match=r"prune\.tflite: no kernel of the file has its zeros") as broken:
        pruning.require_patterns_in_file({"a": np.roll(kernel.T, 1)}, model, {"hidden": "2:4"}, name="prune.tflite")
    assert broken.value.found == "hidden/kernel"
