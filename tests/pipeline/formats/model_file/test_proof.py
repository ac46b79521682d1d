"""An imported model is compared with its file; a difference is found wherever it is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.compress import flattening
from pipeline.errors import InputError, RunError
from pipeline.formats import keras_file
from pipeline.formats.model_file import importing, load, proof, scan
from pipeline.isolate import Child
from pipeline.legacy_keras import load as load_keras
from pipeline.predictor import classifier
from tests.pipeline import isolated
from tests.pipeline.compress import tiny
from tests.pipeline.compress.zoo import unlike_at_first
from tests.pipeline.formats.model_file.conftest import SUFFIXES, saved

SPEC = classifier("x", (6, 8), (0.0, 1.0), ("a", "b", "c"))


def _wide(softmax: bool) -> Any:
    """Return a model with layers in layers, several of one class, a frozen one and states that are not trained."""
    keras = load_keras()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    block = keras.Sequential(
        [
            keras.Input((6, 4)),
            layers.Dense(4, name="a"),
            layers.BatchNormalization(name="b"),
            layers.Dense(4, name="c"),
        ],
        name="block",
    )
    frozen = layers.Dense(4, name="z_frozen", trainable=False)
    x = inputs = keras.Input((6, 8))
    left = layers.Dense(4, name="right")(x)
    right = frozen(layers.Dense(4, name="left")(x))
    x = layers.Add()([block(left), right])
    x = layers.TimeDistributed(layers.Dense(4), name="each")(x)
    x = layers.MultiHeadAttention(2, 2, name="attention")(x, x)
    x = layers.Bidirectional(layers.SimpleRNN(3, unroll=True), name="both")(x)
    x = layers.Dropout(0.5)(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax" if softmax else None, name="ends")(x))
    unlike_at_first(model)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)  # the file has its weights too
    return model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[bool, str], Path]:
    folder = tmp_path_factory.mktemp("proof")
    return {
        (softmax, suffix): saved(_wide(softmax), folder / f"{softmax}{suffix}")
        for softmax in (False, True)
        for suffix in SUFFIXES
    }


def _imported(path: Path, folder: Path) -> tuple[scan.Scanned, Path, Any]:
    (folder / "copy").mkdir()
    scanned = scan.scan(path, folder / "copy")
    model, _ = load.logits(scanned, SPEC)
    keras_file.write(model, SPEC, folder / "entry")
    return scanned, folder / "entry", model


SAMPLES = np.random.default_rng(1).random((16, 6, 8), dtype=np.float32)


@pytest.mark.parametrize(("softmax", "suffix"), [(False, ".keras"), (True, ".h5"), (True, ".keras")])
def test_every_weight_and_answer_is_compared(
    softmax: bool, suffix: str, models: dict[tuple[bool, str], Path], tmp_path: Path
) -> None:
    scanned, entry, model = _imported(models[softmax, suffix], tmp_path)
    found = proof.prove(scanned, entry, SAMPLES, changed=softmax)
    assert found.weights == len(model.weights) == 32
    assert (found.samples, found.function) == (16, "softmax" if softmax else "")
    assert found.difference <= (proof.TOLERANCE if softmax else 0)
    assert str(found).startswith("32 of 32 weights equal the file's, read by h5py; answers to 16 validation samples")
    assert ("the softmax of the logits is off by" in str(found)) == softmax
    assert ("all equal" in str(found)) != softmax


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_bit_of_any_weight_is_found(suffix: str, models: dict[tuple[bool, str], Path], tmp_path: Path) -> None:
    scanned, _, model = _imported(models[False, suffix], tmp_path)
    assert proof.require_equal_weights(scanned, model) == 32
    for weight in model.weights:
        before = weight.numpy()
        changed = before.copy()
        changed.flat[-1] = np.nextafter(changed.flat[-1], np.float32(2))
        weight.assign(changed)
        with pytest.raises(RunError, match="does not have the file's weights") as refused:
            proof.require_equal_weights(scanned, model)
        assert "differs" in refused.value.found
        weight.assign(before)
    assert proof.require_equal_weights(scanned, model) == 32


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_layers_of_the_same_shape_that_were_swapped_are_found(
    suffix: str, models: dict[tuple[bool, str], Path], tmp_path: Path
) -> None:
    scanned, _, model = _imported(models[False, suffix], tmp_path)
    one, two = model.get_layer("left"), model.get_layer("right")
    first, second = one.get_weights(), two.get_weights()
    one.set_weights(second)
    two.set_weights(first)
    with pytest.raises(RunError, match="does not have the file's weights"):
        proof.require_equal_weights(scanned, model)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_weight_that_the_file_does_not_have_is_found(
    suffix: str, models: dict[tuple[bool, str], Path], tmp_path: Path
) -> None:
    scanned, _, model = _imported(models[False, suffix], tmp_path)
    keras = load_keras()
    more = keras.Model(model.inputs, keras.layers.Dense(3, name="more")(model.output))
    with pytest.raises(RunError) as refused:
        proof.require_equal_weights(scanned, more)
    assert "more/kernel:0 is not in the file" in refused.value.found


def test_model_that_answers_otherwise_with_the_same_weights_is_found(
    models: dict[tuple[bool, str], Path], tmp_path: Path
) -> None:
    scanned, entry, model = _imported(models[False, ".h5"], tmp_path)
    keras = load_keras()
    shutil.rmtree(entry)
    keras_file.write(keras.Model(model.inputs, keras.layers.Rescaling(1.001)(model.output)), SPEC, entry)
    with pytest.raises(RunError, match="does not answer as the file does") as refused:
        proof.prove(scanned, entry, SAMPLES, changed=False)
    assert refused.value.expected == "the same answers"


def test_file_is_brought_in_by_children_alone(models: dict[tuple[bool, str], Path], tmp_path: Path) -> None:
    path = models[True, ".h5"]
    found = importing.bring_in(path, SPEC, SAMPLES, tmp_path / "entry", "import")
    cut, proven, written = found.notes
    assert cut == "the softmax inside ends is taken off: its inputs are the logits"
    assert proven.startswith("32 of 32 weights equal the file's, read by h5py; answers to 16 validation samples")
    assert written == (
        "models inside the model are written out layer by layer, with the same weights and answers: block (3 layers)"
    )
    assert found.answers[""].shape == (16, 3)
    assert found.model.stage == "import"
    assert found.custom == ()
    model, spec = keras_file.read(tmp_path / "entry")
    assert spec == SPEC
    assert [layer.name for layer in model.layers if layer.name.startswith("block")] == ["block_a", "block_b", "block_c"]
    assert np.abs(model(SAMPLES, training=False).numpy() - found.answers[""]).max() < proof.TOLERANCE
    assert len(model.weights) == 32


_FLATTEN = flattening.flatten


def _swapped(model: Any) -> tuple[Any, dict[str, tuple[str, ...]]]:
    flat, names = _FLATTEN(model)
    one, two = flat.get_layer("block_a"), flat.get_layer("block_c")
    first, second = one.get_weights(), two.get_weights()
    one.set_weights(second)
    two.set_weights(first)
    return flat, names


def _scaled(model: Any) -> tuple[Any, dict[str, tuple[str, ...]]]:
    flat, names = _FLATTEN(model)
    layer = flat.get_layer("ends")
    layer.set_weights([weight * np.float32(1.001) for weight in layer.get_weights()])
    return flat, names


@pytest.mark.parametrize("wrong", [_swapped, _scaled])
def test_model_inside_that_was_written_out_wrongly_is_found(
    wrong: Any, models: dict[tuple[bool, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, entry, _ = _imported(models[False, ".h5"], tmp_path)
    monkeypatch.setattr(flattening, "flatten", wrong)
    with pytest.raises(RunError, match="could not be written out layer by layer") as refused:
        importing._write_out(Path("x.h5"), entry, SAMPLES, "import")
    assert refused.value.expected == "the same weights and answers"
    off = float(refused.value.found.removeprefix("32 weights for 32, answers off by "))
    assert off > 0


def test_native_crash_on_a_file_is_the_users_error_and_not_the_runs_death() -> None:
    with Child(deadline_s=60, memory_mb=None) as child, pytest.raises(InputError) as refused:
        importing._asked(child, Path("x.h5"), isolated.segfault)
    assert refused.value.what == "the model file x.h5 cannot be read"
    assert "the process that read it " in refused.value.found
    assert "built to do harm" in refused.value.todo


def test_process_that_is_ended_from_outside_says_nothing_of_the_file() -> None:
    with Child(deadline_s=1.5, memory_mb=None) as child, pytest.raises(RunError) as refused:
        importing._asked(child, Path("x.h5"), isolated.sleep, 60)
    assert refused.value.what == "the model file x.h5 could not be imported"


def test_artifact_with_code_says_so_and_is_read_again(tmp_path: Path) -> None:
    layers = load_keras().layers
    model = tiny.sequential(layers.Lambda(lambda x: x / 2), layers.Flatten(), layers.Dense(3))
    keras_file.write(model, tiny.SPEC, tmp_path)
    assert "a Lambda (layer lambda" in (tmp_path / "spec.json").read_text("utf-8")
    with Child(deadline_s=60, memory_mb=None) as child:  # it allows code for the whole process
        assert np.array_equal(child.call(_read_and_answer, tmp_path), tiny.answers(model))


def _read_and_answer(folder: Path) -> np.ndarray:
    model, spec = keras_file.read(folder)
    assert spec == tiny.SPEC
    return tiny.answers(model)
