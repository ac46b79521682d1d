"""A SavedModel folder becomes an artifact's model, or is refused before anything of it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import data, legacy_keras
from pipeline.errors import InputError, RunError
from pipeline.formats import keras_file, saved_model, tflite
from pipeline.formats.model_file.proof import TOLERANCE
from pipeline.formats.plain import importing
from pipeline.formats.plain.model import PlainModel
from pipeline.formats.tflite import columns_ahead
from pipeline.predictor import Head, Input, Spec
from tests.end_to_end import model_files
from tests.pipeline.formats.plain.graphs import graph

SPLITS = data.load(data.DataConfig())
SPEC, SAMPLES = SPLITS.spec, SPLITS.validation.x


def stored(path: Path, folder: Path, spec: Spec = SPEC) -> tuple[Any, tuple[str, ...]]:
    folder.mkdir()
    notes, logits, model = importing._store(path, path, spec, SAMPLES, folder, "import")
    proof = importing._prove(folder, path, SAMPLES[:8], logits)
    assert (proof.samples, model.parameters) == (8, 650)
    assert model.macs is None
    return keras_file.read(folder)[0], notes


def test_graph_answers_as_it_did_and_is_exported_with_its_weights(tmp_path: Path) -> None:
    graph(tmp_path / "given", lambda logits: logits)
    model, notes = stored(tmp_path / "given", tmp_path / "artifact")
    assert notes == ()
    kernel, bias = (weight.numpy() for weight in model.variables)
    wanted = SAMPLES.reshape(-1, 64) @ kernel + bias
    np.testing.assert_allclose(model(SAMPLES).numpy(), wanted, atol=1e-4)
    saved_model.write(model, tmp_path / "exported", SPEC)
    assert {array.shape for array in saved_model.kernels(tmp_path / "exported").values()} == {(64, 10)}


def test_graph_on_rows_of_numbers_becomes_an_int8_tflite(tmp_path: Path) -> None:
    """It has no layers, of which the first could be the scaling of columns."""
    rows = SAMPLES.reshape(-1, 64)
    spec = Spec((Input("features", (64,), SPEC.input.value_range),), SPEC.heads)
    graph(tmp_path / "given", lambda logits: logits, shape=(None, 64))
    model = PlainModel(tmp_path / "given", probabilities=False, head=spec.head)
    assert not columns_ahead.scales(model, spec)
    tflite.write(model, tmp_path / "int8.tflite", spec, "int8", rows[:50])
    answered = tflite.load(tmp_path / "int8.tflite", spec, 1).predict(rows)["logits"]
    wanted = model(rows).numpy()
    assert np.mean(answered.argmax(axis=1) == wanted.argmax(axis=1)) > 0.95


def test_probabilities_become_logits_by_their_logarithm_and_that_is_said(tmp_path: Path) -> None:
    legacy_keras.load()
    import tensorflow as tf

    graph(tmp_path / "given", tf.nn.softmax)
    model, notes = stored(tmp_path / "given", tmp_path / "artifact")
    assert "their logarithm serves as logits" in notes[0]
    probabilities = model.raw(tf.constant(SAMPLES)).numpy()
    np.testing.assert_allclose(tf.nn.softmax(model(SAMPLES)).numpy(), probabilities, atol=1e-5)


def test_graph_that_writes_files_is_refused_and_writes_none(tmp_path: Path) -> None:
    legacy_keras.load()
    import tensorflow as tf

    def evil(logits: Any) -> Any:
        tf.io.write_file(str(tmp_path / "ran"), "x")
        return logits

    graph(tmp_path / "given", evil)
    with pytest.raises(InputError, match=r"not known to be harmless(.|\n)*found: WriteFile"):
        stored(tmp_path / "given", tmp_path / "artifact")
    graph(
        tmp_path / "python",
        lambda logits: tf.ensure_shape(tf.py_function(lambda x: x, [logits], tf.float32), (None, 10)),
    )
    with pytest.raises(InputError, match=r"found: EagerPyFunc"):
        stored(tmp_path / "python", tmp_path / "artifact2")
    graph(tmp_path / "reads", lambda logits: logits + tf.strings.to_number(tf.io.read_file("/etc/hostname")))
    with pytest.raises(InputError, match=r"found: ReadFile, StringToNumber"):
        stored(tmp_path / "reads", tmp_path / "artifact3")
    assert not (tmp_path / "ran").exists()


def test_graph_for_other_data_or_of_other_bytes_is_refused(tmp_path: Path) -> None:
    graph(tmp_path / "given", lambda logits: logits, shape=(1, 8, 8, 1))
    with pytest.raises(
        InputError, match=r"for this data(.|\n)*found: inputs float32 \[1, 8, 8, 1\]; outputs float32 \["
    ):
        stored(tmp_path / "given", tmp_path / "artifact")
    graph(tmp_path / "sigmoid", lambda logits: 1 / (1 + 2.718**-logits))
    with pytest.raises(InputError, match=r"answers in \[0, 1\], but no probabilities"):
        stored(tmp_path / "sigmoid", tmp_path / "artifact2")
    (tmp_path / "given/saved_model.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(InputError, match="is not a SavedModel"):
        stored(tmp_path / "given", tmp_path / "artifact3")


@pytest.fixture(scope="module")
def keras_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of Keras with a softmax, saved as a folder."""
    path = tmp_path_factory.mktemp("keras") / "given"
    model_files.tiny(softmax=True).save(path, save_format="tf")
    return path


def test_folder_of_keras_is_translated_with_its_weights(keras_folder: Path, tmp_path: Path) -> None:
    keras = legacy_keras.load()
    target = tmp_path / "given.keras"
    assert importing._translate(keras_folder, keras_folder, target, allow_custom_code=False) == ""
    translated = keras.models.load_model(target, compile=False)
    for one, other in zip(translated.get_weights(), model_files.tiny(softmax=True).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    keras_file.write(translated, SPEC, tmp_path / "artifact")
    said = importing._compare(keras_folder, keras_folder, tmp_path / "artifact", SAMPLES[:8])
    assert "gives the same 8 answers" in said
    translated.set_weights([weight + 0.01 for weight in translated.get_weights()])
    keras_file.write(translated, SPEC, tmp_path / "other")
    with pytest.raises(RunError, match="does not answer as its graph does"):
        importing._compare(keras_folder, keras_folder, tmp_path / "other", SAMPLES[:8])


@pytest.mark.parametrize(
    ("dtype", "answer", "said"),
    [
        ("int32", lambda model, x: model(x), "gives the same 8 answers"),
        ("bool", lambda model, x: model(x), "not compared: its signature takes bool, which the samples are not"),
        ("string", lambda model, x: model(x), "was not run, and its answers are not compared: "),
        ("float32", lambda model, x: model(x)[:, 0], "not compared: its signature answers float32 [8], its layers [8,"),
    ],
)  # fmt: skip
def test_signature_that_takes_or_answers_something_else_is_cast_to_or_not_compared(
    dtype: str, answer: Any, said: str, tmp_path: Path
) -> None:
    legacy_keras.load()
    import tensorflow as tf

    model = model_files.tiny(softmax=False)
    keras_file.write(model, SPEC, tmp_path / "artifact")
    holder = tf.Module()
    holder.model = model

    def serve(x: Any) -> Any:
        numbers = tf.strings.length(x) if dtype == "string" else x
        return answer(model, tf.cast(numbers, tf.float32))

    signature = [tf.TensorSpec((None, 8, 8, 1), dtype)]
    function = tf.function(serve, autograph=False, input_signature=signature)
    tf.saved_model.save(holder, str(tmp_path / "given"), signatures=function)
    assert said in importing._compare(tmp_path / "given", tmp_path / "given", tmp_path / "artifact", SAMPLES[:8])


def test_stored_graph_may_answer_off_by_what_float32_is_at_the_answers_size(tmp_path: Path) -> None:
    graph(tmp_path / "given", lambda logits: logits * 1e4)
    folder = tmp_path / "artifact"
    folder.mkdir()
    _, logits, _ = importing._store(tmp_path / "given", tmp_path / "given", SPEC, SAMPLES, folder, "import")
    off = TOLERANCE * float(np.abs(logits).max())
    importing._prove(folder, tmp_path / "given", SAMPLES[:8], logits + np.float32(off / 4))
    with pytest.raises(RunError, match="was not imported as it is"):
        importing._prove(folder, tmp_path / "given", SAMPLES[:8], logits + np.float32(off * 4))


def test_code_in_a_folder_of_keras_is_refused_and_a_model_without_a_configuration_is_a_graph(tmp_path: Path) -> None:
    keras = legacy_keras.load()
    layers = [keras.Input((8, 8, 1)), keras.layers.Lambda(lambda x: x / 16), keras.layers.Flatten()]
    keras.Sequential([*layers, keras.layers.Dense(10)]).save(tmp_path / "code", save_format="tf")
    with pytest.raises(InputError, match=r"holds code of its author's(.|\n)*a Lambda \(layer lambda"):
        importing._translate(tmp_path / "code", tmp_path / "code", tmp_path / "x.keras", allow_custom_code=False)

    class Own(keras.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.flat, self.ends = keras.layers.Flatten(), keras.layers.Dense(10)

        def call(self, x: Any) -> Any:
            return self.ends(self.flat(x))

    own = Own()
    own(SAMPLES[:1])
    own.save(tmp_path / "own", save_format="tf")
    why = importing._translate(tmp_path / "own", tmp_path / "own", tmp_path / "x.keras", allow_custom_code=False)
    assert why == "the model is a Own, whose layers are known to its own code alone"
    folder = tmp_path / "artifact"
    folder.mkdir()
    _, logits, described = importing._store(tmp_path / "own", tmp_path / "own", SPEC, SAMPLES, folder, "import")
    np.testing.assert_allclose(logits, own(SAMPLES).numpy(), atol=1e-4)
    assert described.parameters == 650
    assert json.loads((folder / "spec.json").read_text("utf-8"))["inputs"][0]["shape"] == [8, 8, 1]


def test_graph_of_a_recurrent_network_is_not_taken_for_harm(tmp_path: Path) -> None:
    keras = legacy_keras.load()
    layers = [keras.Input((8, 4)), keras.layers.LSTM(4), keras.layers.Dropout(0.5), keras.layers.Dense(10)]
    keras.Sequential(layers).export(tmp_path / "given")
    graph = importing._function(tmp_path / "given", tmp_path / "given")
    assert len(graph.variables) == 5


def test_probability_of_the_second_of_two_classes_becomes_their_log_odds(tmp_path: Path) -> None:
    legacy_keras.load()
    import tensorflow as tf

    graph(tmp_path / "given", lambda logits: tf.sigmoid(logits[:, :1]))
    binary = Spec(SPEC.inputs, (Head("classification", (2,), ("ham", "spam")),))
    model, notes = stored(tmp_path / "given", tmp_path / "artifact", binary)
    assert "their log-odds serve as logits" in notes[0]
    probabilities = model.raw(tf.constant(SAMPLES)).numpy()
    found = tf.nn.softmax(model(SAMPLES)).numpy()
    np.testing.assert_allclose(found, np.concatenate([1 - probabilities, probabilities], axis=1), atol=1e-5)


def test_probabilities_of_labels_become_their_log_odds(tmp_path: Path) -> None:
    legacy_keras.load()
    import tensorflow as tf

    graph(tmp_path / "given", tf.sigmoid)
    labels = Spec(SPEC.inputs, (Head("multilabel", (10,), SPEC.head.classes),))
    model, notes = stored(tmp_path / "given", tmp_path / "artifact", labels)
    assert "their log-odds serve as logits" in notes[0]
    np.testing.assert_allclose(tf.sigmoid(model(SAMPLES)).numpy(), model.raw(tf.constant(SAMPLES)).numpy(), atol=1e-5)
