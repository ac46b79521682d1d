"""The SavedModel that TF Serving gets: guarded, lean, and quick in process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import RunError
from pipeline.isolate import Child, CrashError
from pipeline.predictor import FormatError
from tests.pipeline.formats import tiny
from tests.pipeline.formats.conftest import Exported

# Wrong in rank, in one size, in the number of channels; the last has the right number of values.
MALFORMED = [
    (),
    (64,),
    (8, 8, 1),
    (2, 8, 8),
    (1, 2, 8, 8, 1),
    (2, 7, 8, 1),
    (2, 16, 16, 1),
    (2, 8, 8, 2),
    (2, 8, 8, 3),
    (1, 8, 8, 0),
    (2, 64),
]


@pytest.mark.parametrize("shape", MALFORMED)
def test_the_server_answers_invalid_argument_when_a_request_has_a_wrong_shape(
    converter: Child, exported: Exported, shape: tuple[int, ...]
) -> None:
    assert converter.call(tiny.serve_unchecked, exported.folder / "saved_model", shape) == "InvalidArgumentError"


@pytest.mark.parametrize("count", [1, 7])
def test_the_server_answers_when_a_request_has_the_right_shape(
    converter: Child, exported: Exported, count: int
) -> None:
    answer = converter.call(tiny.serve_unchecked, exported.folder / "saved_model", (count, 8, 8, 1))
    assert answer == f"answered [{count}, 4]"


def test_an_unguarded_function_dies_or_answers_when_a_request_has_a_wrong_shape(tmp_path: Path) -> None:
    with Child(deadline_s=120, memory_mb=None, log=tmp_path / "log.txt") as child:
        child.call(tiny.write_unguarded, tmp_path / "unguarded")
        assert child.call(tiny.serve_unchecked, tmp_path / "unguarded", (2, 8, 8, 2)) == "answered [2, 4]"
        # How a kernel takes a wrong rank depends on the processor: this one's answer, error or abort.
        try:
            outcome = child.call(tiny.serve_unchecked, tmp_path / "unguarded", (8, 8, 1))
        except CrashError as crash:
            outcome = crash.reason
    assert outcome in ("killed by SIGABRT (aborted), a crash in native code", "InvalidArgumentError", "answered [8, 4]")


def test_a_loaded_saved_model_answers_as_keras_does_at_every_batch_size(converter: Child, exported: Exported) -> None:
    batch = tiny.samples(32, seed=1)
    parts = [batch, batch[:1], batch[:5]]
    answers = converter.call(tiny.predict_saved_model, exported.folder / "saved_model", parts)
    for part, answer in zip(parts, answers, strict=True):
        assert np.abs(answer["logits"] - exported.logits[: len(part)]).max() < 1e-4
        assert np.array_equal(answer["logits"].argmax(1), exported.logits[: len(part)].argmax(1))
        assert np.abs(answer["probabilities"].sum(axis=1) - 1).max() < 1e-5
        assert answer["probabilities"].dtype == np.float32


def test_a_saved_model_without_a_fingerprint_loads_in_tensorflow_2_too(converter: Child, exported: Exported) -> None:
    logits = converter.call(tiny.function_of_tensorflow_2, exported.folder / "saved_model", tiny.samples(32, seed=1))
    assert np.abs(logits - exported.logits).max() < 1e-4


def test_loading_is_refused_when_tensorflow_runs_with_other_threads(converter: Child, exported: Exported) -> None:
    with pytest.raises(RunError) as caught:
        converter.call(tiny.predict_with_other_threads, exported.folder / "saved_model")
    assert caught.value.what == "TensorFlow's threads cannot be changed once it runs"
    assert (caught.value.expected, caught.value.found) == ("3 in this process", "1")


def test_loading_is_refused_when_the_signature_is_for_other_data(converter: Child, exported: Exported) -> None:
    with pytest.raises(FormatError, match="saved_model is not a model for this data"):
        converter.call(tiny.load_saved_model_for_other_data, exported.folder / "saved_model")


def test_the_signature_has_the_names_and_a_dynamic_batch(converter: Child, exported: Exported) -> None:
    ends = converter.call(tiny.saved_model_ends, exported.folder / "saved_model")
    assert ends == {
        "serving_default": {"image": [-1, 8, 8, 1], "logits": [-1, 4], "probabilities": [-1, 4]},
        "__saved_model_init_op": {"__saved_model_init_op": None},
    }


def test_the_file_holds_no_keras_metadata(exported: Exported) -> None:
    content = (exported.folder / "saved_model" / "1" / "saved_model.pb").read_bytes()
    assert b"_tf_keras" not in content
    assert b"keras_api" not in content


def test_kernels_are_the_models_own_weights_of_rank_two_and_more(converter: Child, exported: Exported) -> None:
    found = converter.call(tiny.saved_model_kernels, exported.folder / "saved_model")
    expected = converter.call(tiny.keras_kernels)
    assert set(found) == set(expected) == {"conv/kernel", "conv2/kernel", "logits/kernel"}
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
