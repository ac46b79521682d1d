"""TensorFlow Lite for Microcontrollers on this machine: answers, arena, refusals."""

from __future__ import annotations

import importlib.util
import operator
from pathlib import Path

import numpy as np
import pytest

from pipeline.edge import micro, parity
from pipeline.errors import MissingError
from pipeline.isolate import Child, CrashError
from tests.pipeline.edge import small
from tests.pipeline.formats import tiny


def test_file_answers_in_tflm_as_in_litert_when_it_is_int8(child: Child, files: Path, in_tflm: micro.Run) -> None:
    path, samples = files / small.INT8_ENDS, tiny.samples(32, seed=1)
    assert in_tflm.raw["logits"].dtype == np.int8
    assert in_tflm.raw["logits"].shape == (32, 4)
    reference = child.call(parity.in_litert, path, samples, "reference")
    (found,) = parity.compare(path, in_tflm.raw, reference)
    assert found.values == 128
    assert found.equal_share > 0.98  # the same kernels, but for a rounding
    assert found.max_steps is not None
    assert found.max_steps <= 1
    default = child.call(parity.in_litert, path, samples)
    (found,) = parity.compare(path, in_tflm.raw, default)
    assert found.same_decision_share == 1


def test_answers_are_what_the_integers_stand_for_and_one_model_has_one_answer_at_either_end(
    child: Child, files: Path, in_tflm: micro.Run
) -> None:
    # float ends and a dynamic batch: the integers inside are the same
    real = child.call(micro.run, files / small.INT8, tiny.samples(32, seed=1))
    assert real.raw["logits"].dtype == np.float32
    np.testing.assert_array_equal(real.answers["logits"], real.raw["logits"])
    assert in_tflm.answers["logits"].dtype == np.float32
    (found,) = parity.compare(files / small.INT8, real.raw, in_tflm.answers)
    assert found.max_steps is not None
    assert found.max_steps <= 1
    assert np.unique(in_tflm.raw["logits"]).size > 20


def test_arena_is_the_smallest_that_the_file_starts_in(child: Child, files: Path, in_tflm: micro.Run) -> None:
    arena = in_tflm.arena
    assert arena.size % 16 == 0
    assert arena.size >= arena.head + arena.tail
    assert arena.head >= 8 * 8 * 8  # the first convolution's output is alive as a whole
    path = files / small.INT8_ENDS
    assert child.call(micro.suffices, path, arena.size)
    try:
        assert not child.call(micro.suffices, path, arena.size - 16)
    except CrashError as crash:  # that is TFLM's other way to say so, and only its child dies
        assert not crash.transient


def test_search_for_the_smallest_arena_ends_when_more_memory_does_not_help(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(micro, "suffices", operator.is_)  # a function that a child finds, and that is false
    with pytest.raises(micro.MicroError, match="fails with zeros in every arena that was tried"):
        micro.run(files / small.INT8_ENDS, tiny.samples(1, seed=1))


def test_state_is_reset_between_samples_when_the_file_has_some(child: Child, tmp_path: Path) -> None:
    path = tmp_path / "stateful.tflite"
    small.write_stateful(path)
    samples = np.array([[1, 2], [10, 20], [1, 2]], np.float32)
    # half of the sample before would be in each answer
    assert child.call(micro.run, path, samples).raw["sum"].tolist() == [[3], [30], [3]]
    assert child.call(parity.in_litert, path, samples)["sum"].tolist() == [[3], [30], [3]]


def test_refusal_names_the_operator_when_tflm_has_no_kernel_for_its_types(child: Child, files: Path) -> None:
    with pytest.raises(micro.MicroError) as error:
        child.call(micro.run, files / small.FLOAT16, tiny.samples(1, seed=1))
    assert "TFLM refuses DEQUANTIZE, operator 0 of float16.tflite" in str(error.value)
    assert "kTfLiteInt8" in error.value.found
    assert "export the file as int8" in error.value.todo


def test_refusal_names_the_operator_when_tflm_does_not_have_it(child: Child, files: Path, tmp_path: Path) -> None:
    path = small.changed(files / small.INT8_ENDS, tmp_path / "other.tflite", small.another_operator)
    with pytest.raises(micro.MicroError, match=r"TFLM has no kernel for REDUCE_PROD \(1x\) in other\.tflite"):
        child.call(micro.run, path, tiny.samples(1, seed=1))


def test_file_is_refused_when_it_is_compiled_for_an_npu(files: Path, tmp_path: Path) -> None:
    path = small.changed(files / small.INT8_ENDS, tmp_path / "npu.tflite", small.for_an_npu)
    with pytest.raises(micro.MicroError, match=r"npu\.tflite is compiled for an Arm Ethos-U") as error:
        micro.run(path, tiny.samples(1, seed=1))
    assert "the file that Vela compiled it from" in error.value.todo


def test_file_is_refused_when_tflm_would_answer_wrongly_without_an_error(files: Path, tmp_path: Path) -> None:
    # TFLM multiplies all of a tensor by its first scale
    path = small.changed(files / small.INT8, tmp_path / "channels.tflite", small.scale_for_each_channel)
    with pytest.raises(micro.MicroError, match=r"TFLM would answer wrongly to channels\.tflite") as error:
        micro.run(path, tiny.samples(1, seed=1))
    assert "DEQUANTIZE of weights with a scale for each channel" in error.value.found


def test_file_is_refused_when_it_takes_another_batch_than_one(child: Child, files: Path, tmp_path: Path) -> None:
    path = small.changed(files / small.INT8_ENDS, tmp_path / "two.tflite", small.two_at_once)
    with pytest.raises(micro.MicroError, match=r"two\.tflite takes 2 samples at once") as error:
        child.call(micro.run, path, tiny.samples(2, seed=1))
    assert "int8.int8-ends.batch1" in error.value.todo


def test_message_says_what_to_install_when_the_runtime_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingError, match="tflite-micro, which is not installed") as error:
        micro.require()
    assert error.value.todo == "pip install 'modelmill[micro]'"
