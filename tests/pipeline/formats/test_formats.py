"""What all formats promise together: parity, names, equal bytes, no debris, clear refusals."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pipeline.errors import RunError
from pipeline.formats import ConversionError, converting, meaningful_line, onnx, tflite
from pipeline.isolate import Child
from pipeline.predictor import FormatError, classifier, require_ends
from tests.pipeline.formats import tiny
from tests.pipeline.formats.conftest import Exported


def module_of(name: str) -> ModuleType:
    return tflite if name.endswith(".tflite") else onnx


def predict(exported: Exported, name: str, batch: np.ndarray) -> dict[str, np.ndarray]:
    predictor = module_of(name).load(exported.folder / name, tiny.SPEC, 1)
    answer: dict[str, np.ndarray] = predictor.predict(batch)
    predictor.close()
    return answer


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return result


@pytest.mark.parametrize("name", ["float32.tflite", "float32.onnx"])
def test_a_float_file_answers_as_keras_does(exported: Exported, name: str) -> None:
    answer = predict(exported, name, tiny.samples(32, seed=1))
    assert np.abs(answer["logits"] - exported.logits).max() < 1e-4
    assert np.array_equal(answer["logits"].argmax(1), exported.logits.argmax(1))
    assert np.abs(answer["probabilities"] - softmax(exported.logits)).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "bound"),
    [("float16.tflite", 0.01), ("dynamic-int8.tflite", 0.1), ("float16.onnx", 0.01), ("int8.ort.onnx", 0.1)],
)
def test_a_file_with_smaller_weights_answers_nearly_as_keras_does(exported: Exported, name: str, bound: float) -> None:
    answer = predict(exported, name, tiny.samples(32, seed=1))
    assert np.abs(answer["logits"] - exported.logits).max() < bound * np.abs(exported.logits).max()


def test_the_int8_files_answer_nearly_as_keras_does_and_agree_with_each_other(exported: Exported) -> None:
    batch = tiny.samples(32, seed=1)
    lite, qdq = (predict(exported, name, batch) for name in ("int8.tflite", "int8.onnx"))
    assert np.abs(lite["logits"] - exported.logits).max() < 0.15 * np.abs(exported.logits).max()
    assert np.array_equal(lite["logits"].argmax(1), qdq["logits"].argmax(1))
    # They compute with the same integers and may round one step differently.
    step = np.diff(np.unique(lite["logits"])).min()
    assert np.abs(lite["logits"] - qdq["logits"]).max() < 2.5 * step


@pytest.mark.parametrize("name", tiny.FILES)
def test_answers_do_not_depend_on_the_batch_size(exported: Exported, name: str) -> None:
    batch = tiny.samples(32, seed=1)
    predictor = module_of(name).load(exported.folder / name, tiny.SPEC, 1)
    whole = predictor.predict(batch)
    for size in (1, 5, 1):
        part = predictor.predict(batch[:size])
        for key in ("logits", "probabilities"):
            assert part[key].shape == (size, 4)
            assert part[key].dtype == np.float32
            assert np.abs(part[key] - whole[key][:size]).max() < 1e-5


@pytest.mark.parametrize("name", tiny.FILES)
def test_a_file_is_refused_when_it_is_not_for_this_data(exported: Exported, name: str) -> None:
    other = classifier("features", (64,), (0.0, 1.0), ("a", "b"))
    with pytest.raises(FormatError) as caught:
        module_of(name).load(exported.folder / name, other, 1)
    assert caught.value.what == f"{name} is not a model for this data"
    assert caught.value.expected == "input features [64] per sample, outputs logits and probabilities"
    assert caught.value.found == "input image [8, 8, 1] per sample, outputs logits and probabilities"


def test_a_file_is_refused_when_an_output_is_missing() -> None:
    with pytest.raises(FormatError, match=r"found: input image \[8, 8, 1\] per sample, outputs logits\n") as caught:
        require_ends("x.onnx", tiny.SPEC, inputs={"image": (None, 8, 8, 1)}, outputs=["logits"])
    assert caught.value.exit_code == 4


def test_all_bytes_are_equal_when_a_fresh_process_with_another_past_writes_again(
    exported: Exported, tmp_path: Path
) -> None:
    with Child(deadline_s=120, memory_mb=None, log=tmp_path / "log.txt") as child:
        child.call(tiny.write_all_with_a_past, tmp_path / "again")
    first = tiny.digests(exported.folder)
    again = {name: digest for name, digest in tiny.digests(tmp_path / "again").items() if not name.startswith("first/")}
    assert again == first


def test_writing_leaves_nothing_but_its_targets(exported: Exported, converter: Child) -> None:
    assert set(tiny.digests(exported.folder)) == {
        *tiny.FILES,
        "saved_model/1/saved_model.pb",
        "saved_model/1/variables/variables.data-00000-of-00001",
        "saved_model/1/variables/variables.index",
    }
    own = Path(converter.call(tempfile.gettempdir))  # no other process writes there
    # What is left is TensorFlow's generated code for other tests' Lambda layers, and what ONNX Runtime writes as it is
    # imported; it goes with the child.
    left = [path.name for path in own.iterdir() if not path.name.startswith("__autograph_generated_file")]
    assert set(left) <= {".ses"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "refused.tflite",
            "the model cannot be converted to tflite float32: TFLite has no operator Betainc",
        ),
        (
            "refused.onnx",
            "the model cannot be converted to onnx float32: ONNX has no operator for TensorFlow's Betainc, or tf2onnx "
            "does not know it (first at refused/beta/Betainc)",
        ),
    ],
)
def test_a_conversion_is_refused_with_the_operators_name_when_the_format_lacks_it(
    converter: Child, tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(ConversionError) as caught:
        converter.call(tiny.write_unconvertible, tmp_path, name)
    assert caught.value.what == message
    assert caught.value.todo.startswith(f"remove {name.split('.')[1]} float32 from the recipe's export section")
    assert list(tmp_path.iterdir()) == []


def test_errors_of_ours_and_of_the_system_pass_through_a_conversion() -> None:
    for error in (RunError("stopped"), OSError(28, "No space left on device"), MemoryError()):
        with pytest.raises(type(error)), converting("tflite int8"):
            raise error


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "ValueError"),
        ("\n  plain  \nmore", "plain"),
        ("Some notes\n/a/b.py:12:3: error: 'tf.X' op is bad\n<unknown>:0: note: called from", "'tf.X' op is bad"),
        ('<unknown>:0: error: loc(callsite(fused["X:", "a@f(b)"])): \'tf.X\' op is bad', "'tf.X' op is bad"),
    ],
)
def test_the_meaningful_line_has_no_source_positions(text: str, line: str) -> None:
    assert meaningful_line(ValueError(text)) == line


def test_litert_and_onnx_runtime_load_run_and_read_kernels_without_tensorflow(exported: Exported) -> None:
    code = f"""
import sys
import tempfile
from pathlib import Path
from pipeline.formats import onnx, tflite
from tests.pipeline.formats import tiny
for name in tiny.FILES:
    module = tflite if name.endswith(".tflite") else onnx
    path = Path({str(exported.folder)!r}) / name
    module.load(path, tiny.SPEC, 1).predict(tiny.samples(2, seed=1))
    module.kernels(path)
print([name for name in ("tensorflow", "keras", "tf_keras", "tf2onnx") if name in sys.modules])
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip().endswith("[]")
