"""Recurrent layers of any model in every format: unrolled, or for one sample at a time, and never a dead converter."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.formats import UNROLLED_STEPS, ConversionError
from pipeline.isolate import Child
from tests.pipeline.formats import tiny_recurrent

KINDS = ("SimpleRNN", "LSTM", "GRU", "Bidirectional-SimpleRNN", "Bidirectional-LSTM", "Bidirectional-GRU")
OTHERS = ("LSTM-relu", "GRU-masked", "LSTM-masked", "nested")
STATIC = (*KINDS, "LSTM-relu", "nested")  # what can be int8 without training for it
# logits; int8 files round every step
LIMITS = {
    "float32": 1e-5, "float16": 2e-3, "dynamic-int8": 2e-2, "int8": 5e-2, "int16x8": 3e-2, "weight-int8": 2e-2,
    "weight-int4": 0.3, "dynamic-int4": 0.3,
}  # fmt: skip
TRAINED = 5e-2


def long_but(*default: str, kinds: tuple[str, ...] = (*KINDS, *OTHERS)) -> list[object]:
    return [kind if kind in default else pytest.param(kind, marks=pytest.mark.long) for kind in kinds]


@pytest.mark.parametrize("kind", long_but("GRU", "SimpleRNN", kinds=STATIC))
def test_int8_file_of_a_short_sequence_computes_in_integers_for_any_batch(
    converter: Child, tmp_path: Path, kind: str
) -> None:
    error, batch, floating = converter.call(
        tiny_recurrent.tflite_error, tmp_path, kind, "int8", unrolled_steps=UNROLLED_STEPS
    )
    assert error < LIMITS["int8"]
    assert batch is None
    assert not {"FULLY_CONNECTED", "WHILE", "TANH", "LOGISTIC"} & set(floating)


@pytest.mark.parametrize("kind", long_but(kinds=STATIC))
@pytest.mark.parametrize("precision", ["int16x8", "weight-int8", "weight-int4", "dynamic-int4"])
def test_unrolled_file_answers_as_keras_in_every_precision(
    converter: Child, tmp_path: Path, kind: str, precision: str
) -> None:
    error, batch, floating = converter.call(
        tiny_recurrent.tflite_error, tmp_path, kind, precision, unrolled_steps=UNROLLED_STEPS
    )
    assert error < LIMITS[precision]
    assert batch is None
    assert (floating == {}) == (precision == "int16x8")


@pytest.mark.parametrize(
    ("kind", "precision"),
    [
        ("GRU-masked", "weight-int4"),
        *(pytest.param(kind, "weight-int8", marks=pytest.mark.long) for kind in (*KINDS, *OTHERS)),
        *(pytest.param(kind, "dynamic-int4", marks=pytest.mark.long) for kind in (*KINDS, *OTHERS)),
    ],
)
def test_loop_with_integer_weights_answers_as_keras_masks_and_all(
    converter: Child, tmp_path: Path, kind: str, precision: str
) -> None:
    error, batch, _ = converter.call(tiny_recurrent.tflite_error, tmp_path, kind, precision, unrolled_steps=0)
    assert error < LIMITS[precision]
    assert batch == 1


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_int16_activations_of_a_long_loop_are_refused_before_they_kill_the_converter(
    converter: Child, tmp_path: Path, kind: str
) -> None:
    with pytest.raises(ConversionError, match="cannot quantize the loop over time of recurrent") as refused:
        converter.call(tiny_recurrent.tflite_error, tmp_path, kind, "int16x8", unrolled_steps=3)
    assert refused.value.todo == "set export.unrolled_steps to 4, or remove int16x8 from the recipe's export section"


@pytest.mark.parametrize("kind", long_but("GRU", kinds=STATIC))
def test_saved_model_and_onnx_answer_as_keras(converter: Child, tmp_path: Path, kind: str) -> None:
    errors = converter.call(tiny_recurrent.other_errors, tmp_path, kind)
    assert errors["saved_model"] < 1e-5
    assert errors["float32.onnx"] < 1e-5
    assert errors["int8.onnx"] < LIMITS["int8"]


@pytest.mark.long
@pytest.mark.parametrize("precision", ["float32", "float16", "dynamic-int8"])
@pytest.mark.parametrize("kind", (*KINDS, *OTHERS))
@pytest.mark.parametrize(("unrolled_steps", "only"), [(UNROLLED_STEPS, None), (0, 1)], ids=["unrolled", "single"])
def test_file_answers_as_keras_unrolled_and_as_a_loop(
    converter: Child, tmp_path: Path, kind: str, precision: str, unrolled_steps: int, only: int | None
) -> None:
    error, batch, floating = converter.call(
        tiny_recurrent.tflite_error, tmp_path, kind, precision, unrolled_steps=unrolled_steps
    )
    assert error < LIMITS[precision]
    assert batch == only
    assert not ({"WHILE", "UNIDIRECTIONAL_SEQUENCE_LSTM"} & set(floating) and only is None)


def test_long_lstm_is_one_operator_for_one_sample_at_a_time(converter: Child, tmp_path: Path) -> None:
    error, batch, floating = converter.call(tiny_recurrent.tflite_error, tmp_path, "LSTM", "float32", unrolled_steps=3)
    assert error < LIMITS["float32"]
    assert batch == 1
    assert floating["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 1


@pytest.mark.parametrize(("precision", "variant"), [("float32", "batch2"), ("int8", "int8-ends.batch2")])
def test_long_lstm_takes_the_batch_that_is_asked_for(
    converter: Child, tmp_path: Path, precision: str, variant: str
) -> None:
    error, batch, _ = converter.call(
        tiny_recurrent.tflite_error, tmp_path, "LSTM", precision, unrolled_steps=0, variant=variant
    )
    assert error < LIMITS[precision]
    assert batch == 2


@pytest.mark.parametrize("kind", ["LSTM", pytest.param("Bidirectional-LSTM", marks=pytest.mark.long)])
def test_long_lstm_is_int8_for_one_sample_at_a_time(converter: Child, tmp_path: Path, kind: str) -> None:
    error, batch, floating = converter.call(tiny_recurrent.tflite_error, tmp_path, kind, "int8", unrolled_steps=0)
    assert error < LIMITS["int8"]
    assert (batch, floating) == (1, {})


@pytest.mark.parametrize("kind", ["GRU", "SimpleRNN", "Bidirectional-GRU", "LSTM-relu", "nested"])
def test_int8_of_a_long_loop_is_refused_before_it_kills_the_converter(
    converter: Child, tmp_path: Path, kind: str
) -> None:
    converter.call(tiny_recurrent.steps_of, kind)  # so that there is a process that could die
    process = converter.pid
    with pytest.raises(ConversionError, match="converter cannot quantize the loop over time of") as refused:
        converter.call(tiny_recurrent.tflite_error, tmp_path, kind, "int8", unrolled_steps=3)
    total = 8 if kind.startswith("Bi") or kind == "nested" else 4
    assert refused.value.found == str(total)
    assert refused.value.todo.startswith(f"set export.unrolled_steps to {total}, or remove int8")
    assert converter.pid == process


def test_int8_of_a_masked_sequence_is_refused(converter: Child, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="recurrent leaves masked steps out, and that cannot be run in integers"):
        converter.call(tiny_recurrent.tflite_error, tmp_path, "GRU-masked", "int8", unrolled_steps=UNROLLED_STEPS)


def test_number_of_steps_that_the_model_does_not_fix_is_never_unrolled(converter: Child, tmp_path: Path) -> None:
    assert converter.call(tiny_recurrent.steps_of, "GRU", None) == [("recurrent", None, False)]
    error, batch, _ = converter.call(
        tiny_recurrent.tflite_error, tmp_path, "GRU", "float32", unrolled_steps=UNROLLED_STEPS, steps=None
    )
    assert (error < LIMITS["float32"], batch) == (True, 1)
    with pytest.raises(ConversionError, match="cannot quantize the loop") as refused:
        converter.call(tiny_recurrent.tflite_error, tmp_path, "GRU", "int8", unrolled_steps=99, steps=None)
    assert refused.value.found == "a number of steps that the model does not fix"
    assert "unrolled_steps" not in refused.value.todo


def test_loops_are_found_in_wrappers_and_in_models_within_the_model(converter: Child) -> None:
    assert converter.call(tiny_recurrent.steps_of, "Bidirectional-LSTM") == [("both", 4, True)] * 2
    assert [steps for _, steps, _ in converter.call(tiny_recurrent.steps_of, "nested")] == [4, 4]
    assert converter.call(tiny_recurrent.steps_of, "LSTM-relu") == [("recurrent", 4, False)]
    assert converter.call(tiny_recurrent.steps_of, "LSTM-masked") == [("recurrent", 4, False)]


@pytest.mark.parametrize("kind", long_but("SimpleRNN"))
@pytest.mark.parametrize(
    ("unrolled_steps", "only"), [(UNROLLED_STEPS, None), pytest.param(0, 1, marks=pytest.mark.long)]
)
def test_layers_around_a_float_loop_are_int8_after_quantization_aware_training(
    converter: Child, tmp_path: Path, kind: str, unrolled_steps: int, only: int | None
) -> None:
    error, batch, floating = converter.call(
        tiny_recurrent.tflite_error, tmp_path, kind, "int8", unrolled_steps=unrolled_steps, trained=True
    )
    assert error < TRAINED
    assert batch == only
    assert set(floating) & {"FULLY_CONNECTED", "TANH", "RELU"}  # the recurrent layer's own


def test_onnx_of_a_file_for_one_sample_at_a_time_is_refused(converter: Child, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"cannot be converted to onnx int8: int8\.tflite.* one sample at a time"):
        converter.call(tiny_recurrent.write_onnx_of_single, tmp_path)
