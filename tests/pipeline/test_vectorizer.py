from __future__ import annotations

import json
import string

import numpy as np
import pytest

from pipeline.formats.text_graph import TextGraph
from pipeline.legacy_keras import load as load_keras
from pipeline.predictor import Head, Input, Spec
from pipeline.vectorizer import Digits, Rules, Split, Standardize, Vectorizer, learned
from tests import texts

ODD = [
    "", " ", "\t\n\x0b\x0c\r ", "Hello, WORLD!", "hello\tworld\nhello", "don't e-mail me: a.b@c.de", string.punctuation,
    "Ünïcödé ÄPFEL straße İstanbul ΣΑΣ", "a\u00a0b \u2028 c\u3000d\x85e\x1cf", "日本語 テキスト",
    "🙂 emoji🙂", "e\u0301 é",
    "[UNK] unk", "nul\x00 inside", "x" * 100_000, "many words " * 5_000, " lead and trail ", "\ufeffbom",
]  # fmt: skip


RULES = [
    Rules(), Rules("lower"), Rules("strip_punctuation"), Rules("none"), Rules("lower", "punctuation"),
    Rules("none", "punctuation", "shape"), Rules(digits="shape"),
]  # fmt: skip


@pytest.fixture(scope="module")
def vectorizer() -> Vectorizer:
    return learned([*texts.pieces()[0], *ODD], 300, 8)


def test_ids_are_those_of_keras_own_layer_which_learned_the_same_texts() -> None:
    import tensorflow as tf

    known = [*texts.pieces()[0], *ODD]
    layer = load_keras().layers.TextVectorization(120, output_sequence_length=9)
    layer.adapt(tf.constant(known))
    found = learned(known, 120, 9)
    assert layer.get_vocabulary() == list(found.vocabulary)
    assert np.array_equal(layer(tf.constant([*ODD, *known])).numpy(), found.ids([*ODD, *known]))


@pytest.mark.parametrize("standardize", ["lower", "strip_punctuation", "none"])
def test_ids_are_those_of_keras_own_layer_however_it_standardizes(standardize: Standardize) -> None:
    import tensorflow as tf

    known = [text for text in [*texts.pieces()[0], *ODD] if "[UNK]" not in text]
    chosen = None if standardize == "none" else standardize
    layer = load_keras().layers.TextVectorization(120, standardize=chosen, output_sequence_length=9)
    layer.adapt(tf.constant(known))
    found = learned(known, 120, 9, Rules(standardize))
    assert layer.get_vocabulary() == list(found.vocabulary)
    assert np.array_equal(layer(tf.constant(known)).numpy(), found.ids(known))


@pytest.mark.parametrize(
    ("standardize", "split", "digits", "expected"),
    [
        ("none", "whitespace", "keep", ["WIN", "\u00a31000", "NOW!!", "Call", "0906-1701"]),
        ("lower", "punctuation", "keep", ["win", "\u00a31000", "now", "!", "!", "call", "0906", "-", "1701"]),
        ("none", "punctuation", "shape", ["WIN", "\u00a30000", "NOW", "!", "!", "Call", "0000", "-", "0000"]),
        ("strip_punctuation", "whitespace", "shape", ["WIN", "\u00a30000", "NOW", "Call", "00000000"]),
    ],
)
def test_rules_say_what_is_a_word(standardize: Standardize, split: Split, digits: Digits, expected: list[str]) -> None:
    found = Rules(standardize, split, digits).words("WIN \u00a31000 NOW!! Call 0906-1701")
    assert [word.decode() for word in found] == expected


def test_word_that_is_spelled_as_the_unknown_one_is_unknown() -> None:
    found = learned(["[UNK] [UNK] a"], 10, 2, Rules("none"))
    assert found.words == ("a",)
    assert found.ids(["[UNK] a"]).tolist() == [[1, 2]]


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_tensorflows_operations_give_the_same_ids_of_odd_texts(rules: Rules) -> None:
    import tensorflow as tf

    vectorizer = learned([*texts.pieces()[0], *ODD], 300, 8, rules)
    given = [*ODD, *(text[place:] for place, text in enumerate(ODD)), *texts.pieces()[0][:50]]
    found = TextGraph(vectorizer)(tf.constant(given)).numpy()
    assert found.dtype == np.int32
    assert np.array_equal(found, vectorizer.ids(given))
    # what comes over the wire need not be UTF-8
    broken = [b"\xff\xfe hello", b"caf\xe9 World", b"hello\xc3"]
    assert np.array_equal(TextGraph(vectorizer)(tf.constant(broken)).numpy(), vectorizer.ids(broken))


def test_ids_pad_behind_cut_off_and_stand_for_unknown_words() -> None:
    found = Vectorizer(("the", "cat"), 4)
    assert (found.size, found.vocabulary) == (4, ("", "[UNK]", "the", "cat"))
    ids = found.ids(["The CAT sat.", "", "the the the the cat", b"cat's"])
    assert ids.tolist() == [[2, 3, 1, 0], [0, 0, 0, 0], [2, 2, 2, 2], [1, 0, 0, 0]]
    assert ids.dtype == np.int32


def test_most_frequent_words_are_learned_and_no_more_than_asked() -> None:
    assert learned(["b a c", "C c b"], 4, 2).words == ("c", "b")
    assert learned(["b a c", "C c b"], 100, 2).words == ("c", "b", "a")
    assert learned(["...", ""], 100, 2).words == ()


def test_spec_with_a_vectorizer_comes_back_from_json_and_makes_ids_of_strings_alone(vectorizer: Vectorizer) -> None:
    both = (Input("text", (8,), (0.0, vectorizer.size - 1.0), vectorizer), Input("age", (1,), (0.0, 99.0)))
    spec = Spec(both, (Head("classification", (2,), ("a", "b")),))
    assert Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    ruled = Spec((Input("text", (8,), (0.0, 3.0), Vectorizer(("a", "!"), 8, RULES[-2])),), spec.heads)
    assert Spec.from_json(json.loads(json.dumps(ruled.to_json()))) == ruled
    ages = np.ones((2, 1), np.float32)
    tokens = spec.tokens({"text": np.array(["a cat", "b"], object), "age": ages})
    assert isinstance(tokens, dict)
    assert np.array_equal(tokens["text"], vectorizer.ids(["a cat", "b"]))
    assert tokens["age"] is ages
    assert spec.tokens(tokens) == tokens
