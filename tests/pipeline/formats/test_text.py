"""Texts: strings into a SavedModel, token ids into all else, with what makes them beside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.formats import onnx, tflite, vocabulary_file
from pipeline.isolate import Child
from pipeline.predictor import FormatError
from pipeline.vectorizer import Rules, learned
from tests import texts
from tests.pipeline.formats import text, tiny
from tests.pipeline.formats.conftest import Exported


@pytest.fixture(scope="module")
def written(converter: Child, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("text")
    return Exported(folder, converter.call(text.write_all, folder))


def test_saved_model_takes_strings_and_answers_as_keras_does_of_their_ids(converter: Child, written: Exported) -> None:
    found = converter.call(text.predict_saved_model, written.folder / "saved_model", text.SAMPLES)
    assert np.abs(found["logits"] - written.logits).max() < 1e-5


def test_saved_model_makes_words_of_strings_by_the_rules_of_the_data(converter: Child, tmp_path: Path) -> None:
    rules = Rules("lower", "punctuation", "shape")
    spec = text.spec_of(learned(texts.pieces()[0], texts.VOCABULARY, texts.WORDS, rules))
    converter.call(text.write_saved_model, tmp_path / "ruled", spec)
    found = converter.call(text.predict_saved_model, tmp_path / "ruled", text.SAMPLES)["logits"]
    assert np.abs(found - converter.call(text.logits_of_ids, spec)).max() < 1e-5
    assert np.abs(found - converter.call(text.logits_of_ids, text.SPEC)).max() > 1e-2


@pytest.mark.parametrize("name", ["float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx"])
def test_files_take_ids_at_any_batch_size(written: Exported, name: str) -> None:
    form = tflite if name.endswith("tflite") else onnx
    predictor = form.load(written.folder / name, text.SPEC, 1)
    ids = text.SPEC.tokens(text.SAMPLES)
    whole = predictor.predict(ids)["logits"]
    size = np.abs(written.logits).max()
    assert np.abs(whole - written.logits).max() < size * (0.1 if "int8" in name else 1e-5)
    assert np.abs(predictor.predict(ids[:1])["logits"] - whole[:1]).max() < 1e-5
    predictor.close()


def test_saved_models_bytes_are_equal_when_a_fresh_process_with_another_past_writes_again(
    written: Exported, tmp_path: Path
) -> None:
    with Child(deadline_s=120, memory_mb=None, log=tmp_path / "log.txt") as child:
        child.call(text.write_saved_models, [tmp_path / "first", tmp_path / "again"])
    assert tiny.digests(tmp_path / "again") == tiny.digests(written.folder / "saved_model")


def test_saved_models_with_other_words_live_in_one_process(converter: Child, tmp_path: Path) -> None:
    """Their tables do not share a name."""
    converter.call(text.write_saved_model, tmp_path / "one", text.SPEC)
    converter.call(text.write_saved_model, tmp_path / "two", text.OTHER)
    first, second = converter.call(text.called_in_turns, tmp_path / "one", tmp_path / "two")
    for found in (first, second):
        assert np.array_equal(found[0], found[1])
    assert not np.array_equal(first[0], second[0])


@pytest.mark.parametrize("shape", [(), (2, 1), (1, 2), (2, 1, 1)])
def test_server_refuses_texts_of_a_wrong_rank(converter: Child, written: Exported, shape: tuple[int, ...]) -> None:
    answer = converter.call(text.serve_unchecked, written.folder / "saved_model", shape)
    assert answer == "InvalidArgumentError"


def test_file_of_numbers_is_refused_where_ids_go_in(written: Exported) -> None:
    columns = text.numbers(text.SPEC)
    with pytest.raises(FormatError, match="has ends of another type") as caught:
        tflite.load(written.folder / "float32.tflite", columns, 1)
    assert caught.value.expected == "float32, or int8 and uint8 with a scale"
    assert caught.value.found == "text int32"


def test_vocabulary_has_the_id_of_a_word_as_its_line_and_json_says_the_rest(tmp_path: Path) -> None:
    assert vocabulary_file.write(text.SPEC, tmp_path) == ["text.tokens.json", "text.vocabulary.txt"]
    lines = (tmp_path / "text.vocabulary.txt").read_bytes().decode().split("\n")
    vectorizer = text.SPEC.input.vectorizer
    assert vectorizer is not None
    assert tuple(lines[:-1]) == vectorizer.vocabulary
    described = json.loads((tmp_path / "text.tokens.json").read_text())
    assert (described["shape"], described["dtype"]) == (["batch", texts.WORDS], "int32")
    # as somebody does it who has nothing but the two files
    ids = {word: place for place, word in enumerate(lines[:-1])}
    sample = str(text.SAMPLES[3])
    removed = described["steps"][1].partition(": ")[2]
    plain = "".join(char for char in sample if char not in removed)
    known = [ids.get(word, described["unknown_id"]) for word in plain.lower().split()][: described["length"]]
    known += [described["padding_id"]] * (described["length"] - len(known))
    assert known == vectorizer.ids([sample])[0].tolist()


def test_json_beside_the_vocabulary_tells_rules_that_keras_has_no_option_for(tmp_path: Path) -> None:
    vectorizer = learned(texts.pieces()[0], 50, 6, Rules("lower", "punctuation", "shape"))
    vocabulary_file.write(text.spec_of(vectorizer), tmp_path)
    described = json.loads((tmp_path / "text.tokens.json").read_text())
    assert (described["standardize"], described["split"], described["digits"]) == ("lower", "punctuation", "shape")
    assert "keras" not in described
    lower, digits, marks = described["steps"][:3]
    assert "lower case" in lower
    assert digits == "each digit 0 to 9 becomes a 0"
    assert marks.startswith("each of these characters gets a space before and behind it: !")
    assert not any("removed" in step for step in described["steps"])
    vocabulary_file.write(text.spec_of(learned(texts.pieces()[0], 50, 6, Rules("none"))), tmp_path)
    assert json.loads((tmp_path / "text.tokens.json").read_text())["keras"]["standardize"] is None


def test_nothing_lies_beside_files_of_numbers(tmp_path: Path) -> None:
    assert vocabulary_file.write(tiny.SPEC, tmp_path) == []
    assert list(tmp_path.iterdir()) == []
