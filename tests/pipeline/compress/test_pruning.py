from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.compress import kernels, pruning
from pipeline.compress.pruning import Schedule, schedule, targets
from pipeline.errors import InputError, PromiseError
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.compress import tiny

RAMP = Schedule(0.0, 1, 5, 3.0, 1)
CONSTANT = Schedule(None, 1, 5, 1.0, 2)


def _renewals(when: Schedule, steps: int, target: float = 0.8) -> dict[int, float]:
    """Return step -> sparsity wherever TF-MOT itself would renew masks."""
    load_keras()
    import tensorflow_model_optimization as tfmot

    plan = (
        tfmot.sparsity.keras.ConstantSparsity(target, when.begin_step, when.end_step, when.frequency)
        if when.initial_sparsity is None
        else tfmot.sparsity.keras.PolynomialDecay(
            when.initial_sparsity, target, when.begin_step, when.end_step, when.power, when.frequency
        )
    )
    asked = {step: plan(step) for step in range(1, steps + 1)}
    return {step: float(sparsity) for step, (renews, sparsity) in asked.items() if bool(renews)}


@pytest.mark.parametrize("begin", [0, 0.5, 1, 2.7])
@pytest.mark.parametrize("end", [2.8, 3, 4])
@pytest.mark.parametrize("frequency", [None, 1, 3, 7, 1000])
@pytest.mark.parametrize("steps", [1, 2, 7, 40])
def test_schedule_ends_at_the_target_inside_the_training_by_tf_mots_own_rule(
    begin: float, end: float, frequency: int | None, steps: int
) -> None:
    when = schedule(
        initial_sparsity=0.1, begin_epoch=begin, end_epoch=end, power=3, frequency=frequency, steps=steps, epochs=4
    )
    assert 1 <= when.begin_step <= when.end_step <= steps * 4
    assert (when.end_step - when.begin_step) % when.frequency == 0
    if steps >= 7:
        renewals = _renewals(when, steps * 4)
        assert min(renewals) == when.begin_step
        assert max(renewals) == when.end_step
        assert renewals[when.end_step] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        # ten renewals an epoch, from the first step on
        ({"begin_epoch": 0, "end_epoch": 2, "frequency": None, "steps": 50}, Schedule(0.0, 1, 96, 3.0, 5)),
        ({"begin_epoch": 1, "end_epoch": 2, "frequency": None, "steps": 50}, Schedule(0.0, 50, 100, 3.0, 5)),
        # an end that lies between two renewals moves back to the one before
        ({"begin_epoch": 0, "end_epoch": 1, "frequency": 4, "steps": 10}, Schedule(0.0, 1, 9, 3.0, 4)),
        # a frequency longer than the whole way: at both ends
        ({"begin_epoch": 0, "end_epoch": 1, "frequency": 500, "steps": 10}, Schedule(0.0, 1, 10, 3.0, 9)),
        # an end after the training is its last step
        ({"begin_epoch": 3, "end_epoch": 9, "frequency": 1, "steps": 10}, Schedule(0.0, 30, 40, 3.0, 1)),
        # no way at all between the two: at once, to the target
        ({"begin_epoch": 0, "end_epoch": 1, "frequency": None, "steps": 1}, Schedule(None, 1, 1, 3.0, 1)),
        ({"begin_epoch": 3.9, "end_epoch": 4, "frequency": None, "steps": 1}, Schedule(None, 4, 4, 3.0, 1)),
    ],
)  # fmt: skip
def test_schedule_turns_epochs_into_steps(asked: dict[str, Any], expected: Schedule) -> None:
    assert schedule(initial_sparsity=0.0, power=3.0, epochs=4, **asked) == expected


def test_schedule_is_constant_when_it_has_no_initial_sparsity() -> None:
    when = schedule(initial_sparsity=None, begin_epoch=1, end_epoch=2, power=1, frequency=2, steps=4, epochs=2)
    assert when == Schedule(None, 4, 8, 1, 2)
    assert _renewals(when, 8) == pytest.approx({4: 0.8, 6: 0.8, 8: 0.8})


def test_targets_are_the_final_sparsity_in_every_layer_with_a_kernel() -> None:
    assert targets(tiny.cnn(), 0.8, {}) == {"conv": 0.8, "hidden": 0.8, "logits": 0.8}


@pytest.mark.parametrize(
    ("by_layer", "expected"),
    [
        ({"logits": None}, {"conv": 0.8, "hidden": 0.8}),
        ({"conv": 0.5}, {"conv": 0.5, "hidden": 0.8, "logits": 0.8}),
        ({"*": None, "hidden": 0.9}, {"hidden": 0.9}),
        ({"hidden": 0.9, "*": 0.3}, {"conv": 0.3, "hidden": 0.3, "logits": 0.3}),
        ({"[ch]*": 0.4, "conv": None}, {"hidden": 0.4, "logits": 0.8}),
    ],
)
def test_targets_follow_the_last_pattern_that_fits(by_layer: dict[str, Any], expected: dict[str, float]) -> None:
    assert targets(tiny.cnn(), 0.8, by_layer) == expected


def test_targets_are_refused_when_a_pattern_fits_no_layer() -> None:
    with pytest.raises(InputError, match=r"prune\.layers names what is no layer of the model") as refused:
        targets(tiny.cnn(), 0.8, {"conv": 0.5, "dense_*": 0.5, "Logits": None})
    assert refused.value.found == "dense_*, Logits"
    assert refused.value.expected.startswith("names or patterns of samples, conv, norm, relu,")


def test_targets_are_refused_for_layers_that_cannot_be_pruned() -> None:
    layers = load_keras().layers
    model = tiny.sequential(
        layers.DepthwiseConv2D(3, name="depth"), layers.ReLU(name="relu"), layers.Flatten(), layers.Dense(3)
    )
    with pytest.raises(InputError, match="asks for zeros in layers that cannot be pruned") as refused:
        targets(model, 0.8, {"depth": 0.5, "relu": 0.5})
    assert "depth: TF-MOT does not prune depthwise kernels" in refused.value.found
    assert "relu: it has no kernel" in refused.value.found
    # a pattern may pass over such layers, and they may be named as dense
    assert list(targets(model, 0.8, {"*": 0.5, "depth": None}).values()) == [0.5]


def test_targets_are_refused_when_nothing_is_left() -> None:
    with pytest.raises(InputError, match="there is nothing to prune in the model") as refused:
        targets(tiny.cnn(), 0.8, {"*": None})
    assert refused.value.found == "7 layers, each dense: samples, conv, norm, relu, flat, hidden, logits"
    assert refused.value.todo == "leave the section prune out"


@pytest.mark.parametrize("when", [RAMP, CONSTANT, Schedule(0.3, 2, 6, 1.0, 2)], ids=["ramp", "constant", "late"])
def test_fine_tuning_reaches_each_layers_target(tmp_path: Path, when: Schedule) -> None:
    aims = {"conv": 0.5, "hidden": 0.9}
    model = tiny.cnn()
    wrapped = pruning.wrap(model, aims, when)
    tiny.tune(wrapped, tmp_path, callbacks=[pruning.callback()])
    pruned = pruning.strip(wrapped)
    found = {layer.name: kernels.sparsity([values]) for layer, _, values in kernels.named(pruned)}
    assert found == pytest.approx({"conv": 0.5, "hidden": 0.9, "logits": 0.0}, abs=0.02)
    pruning.require(pruned, aims, stage="prune")


def test_masks_hold_after_the_last_renewal(tmp_path: Path) -> None:
    wrapped = pruning.wrap(tiny.cnn(), {"hidden": 0.8}, Schedule(None, 1, 1, 1.0, 1))
    tiny.tune(wrapped, tmp_path, epochs=3, optimizer="adamw", callbacks=[pruning.callback()])
    kernel = pruning.strip(wrapped).get_layer("hidden").kernel.numpy()
    assert kernels.sparsity([kernel]) == pytest.approx(0.8, abs=0.01)


def test_model_that_came_in_is_left_alone_when_its_wrapped_copy_is_fine_tuned(tmp_path: Path) -> None:
    model = tiny.cnn()
    weights, answers = model.get_weights(), tiny.answers(model)
    wrapped = pruning.wrap(model, {"conv": 0.5, "hidden": 0.9}, RAMP)
    assert np.array_equal(tiny.answers(wrapped), answers)
    tiny.tune(wrapped, tmp_path, callbacks=[pruning.callback()])
    assert not np.array_equal(tiny.answers(wrapped), answers)
    assert all(np.array_equal(one, two) for one, two in zip(model.get_weights(), weights, strict=True))
    assert np.array_equal(tiny.answers(model), answers)


def test_stripped_model_answers_as_the_wrapped_one_and_has_layers_of_its_own(tmp_path: Path) -> None:
    wrapped = pruning.wrap(tiny.cnn(), {"conv": 0.5, "hidden": 0.9}, RAMP)
    tiny.tune(wrapped, tmp_path, callbacks=[pruning.callback()])
    pruned = pruning.strip(wrapped)
    assert [layer.name for layer in pruned.layers] == ["samples", "conv", "norm", "relu", "flat", "hidden", "logits"]
    assert np.allclose(tiny.answers(pruned), tiny.answers(wrapped), atol=1e-6)
    assert all(len(layer._inbound_nodes) == 1 for layer in pruned.layers)
    before = tiny.answers(wrapped)
    pruned.set_weights([0 * array for array in pruned.get_weights()])
    assert np.array_equal(tiny.answers(wrapped), before)


def _with_zeros(zeros: dict[str, int]) -> Any:
    model = tiny.cnn()
    for name, count in zeros.items():
        kernel, *rest = model.get_layer(name).get_weights()
        kernel.ravel()[:] = 1
        kernel.ravel()[:count] = 0
        model.get_layer(name).set_weights([kernel, *rest])
    return model


def test_promise_of_zeros_tolerates_one_weight() -> None:
    # 36 and 512 weights: half and nine tenths are 18 and 460.8
    pruning.require(_with_zeros({"conv": 17, "hidden": 460}), {"conv": 0.5, "hidden": 0.9}, stage="prune")


def test_promise_of_zeros_is_broken_when_kernels_have_fewer() -> None:
    with pytest.raises(PromiseError, match="quantize: kernels have fewer zeros than were promised") as broken:
        pruning.require(_with_zeros({"conv": 16, "hidden": 459}), {"conv": 0.5, "hidden": 0.9}, stage="quantize")
    assert broken.value.found == (
        "conv/kernel has 16 of 36 and was to have 50%; hidden/kernel has 459 of 512 and was to have 90%"
    )
    assert "train longer after the last pruning step" in broken.value.todo


def test_pruned_kernels_are_those_of_the_layers_with_a_target() -> None:
    found = pruning.pruned_kernels(tiny.cnn(), {"conv": 0.5, "logits": 0.25})
    assert {name: (values.shape, target) for name, (values, target) in found.items()} == {
        "conv/kernel": ((3, 3, 1, 4), 0.5),
        "logits/kernel": ((8, 3), 0.25),
    }


def _array(zeros: int, size: int = 10) -> np.ndarray:
    return np.array([0] * zeros + [3] * (size - zeros), np.int8).reshape(2, -1)


def test_zeros_in_a_file_are_found_in_kernels_that_are_named_and_turned_otherwise() -> None:
    promised = {"a/kernel": (_array(5), 0.5), "b/kernel": (_array(16, 20), 0.8)}
    found = {"x": _array(16, 20).reshape(4, 5).T, "y;z": _array(5).astype(np.float16), "bias": np.ones((1, 7))}
    pruning.require_in_file(found, promised, name="int8.tflite")


def test_kernels_of_equal_size_are_matched_the_sparsest_first() -> None:
    promised = {"some": (_array(5), 0.5), "most": (_array(8), 0.8), "few": (_array(2), 0.2)}
    pruning.require_in_file({"u": _array(2), "v": _array(8), "w": _array(5)}, promised, name="int8.tflite")
    with pytest.raises(PromiseError) as broken:
        pruning.require_in_file({"u": _array(2), "v": _array(6), "w": _array(6)}, promised, name="int8.tflite")
    assert broken.value.found == "most has 6 of 8 zeros"


def test_kernel_that_a_format_cuts_up_keeps_its_zeros_in_the_sum() -> None:
    promised = {"gates": (_array(16, 20), 0.8)}
    pruning.require_in_file({"input gate": _array(9), "forget gate": _array(7)}, promised, name="float32.tflite")


def test_zeros_that_came_in_are_to_stay_where_they_are() -> None:
    before, after = _with_zeros({"conv": 10}), _with_zeros({"conv": 8})
    assert pruning.found_zeros(before) == {"conv": 10 / 36}
    pruning.require_kept(pruning.zeros(after), before, stage="quantize")
    with pytest.raises(PromiseError, match="weights that were zero are not any more") as broken:
        pruning.require_kept(pruning.zeros(before), after, stage="quantize")
    assert broken.value.found == "conv/kernel lost 2 zeros"


def test_promise_is_broken_when_a_file_lacks_zeros_or_a_kernel() -> None:
    promised = {"a/kernel": (_array(5), 0.5), "b/kernel": (_array(16, 20), 0.8)}
    with pytest.raises(PromiseError, match=r"int8\.tflite: the file lacks zeros that the model has") as broken:
        pruning.require_in_file({"x": _array(3)}, promised, name="int8.tflite")
    assert broken.value.found == (
        "a/kernel has 3 of 5 zeros; kernels that are not there as a whole have fewer than their 16 zeros"
    )
    assert broken.value.todo == "leave that precision out of the recipe's export section"
