"""What makes token ids of texts, in files beside those that take token ids (.tflite, .onnx).

INPUT.vocabulary.txt has a word a line, in UTF-8; the number of its line, counted from 0, is its id. INPUT.tokens.json
says how a text becomes words and ids.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.files import write_json
from pipeline.predictor import Input, Spec
from pipeline.vectorizer import PADDING, PUNCTUATION, UNKNOWN, Rules, Vectorizer


def write(spec: Spec, folder: Path) -> list[str]:
    """Write two files for each text that goes into a model, none where none does; return their names."""
    names = []
    for one in spec.inputs:
        if one.vectorizer is not None:
            text = "".join(f"{word}\n" for word in one.vectorizer.vocabulary)
            (folder / _vocabulary(one)).write_text(text, encoding="utf-8", newline="\n")
            write_json(folder / f"{one.name}.tokens.json", _described(one, one.vectorizer))
            names += [f"{one.name}.tokens.json", _vocabulary(one)]
    return names


def _described(one: Input, vectorizer: Vectorizer) -> dict[str, object]:
    length, rules = vectorizer.length, vectorizer.rules
    described: dict[str, object] = {
        "input": one.name,
        "dtype": "int32",
        "shape": ["batch", length],
        "vocabulary": _vocabulary(one),
        "steps": [
            *_steps(rules),
            "what stands between whitespace (space, \\t, \\n, \\v, \\f, \\r) is a word",
            "the id of a word is the number of its line in the vocabulary, counted from 0",
            f"words that are not there have the id {UNKNOWN}",
            f"the first {length} ids count; shorter texts are filled up behind with the id {PADDING}",
        ],
        "standardize": rules.standardize,
        "split": rules.split,
        "digits": rules.digits,
        "length": length,
        "padding_id": PADDING,
        "unknown_id": UNKNOWN,
    }
    if (rules.split, rules.digits) == ("whitespace", "keep"):  # else Keras has no option that does it
        described["keras"] = {
            "class": "TextVectorization", "standardize": None if rules.standardize == "none" else rules.standardize,
            "split": "whitespace", "output_mode": "int", "output_sequence_length": length,
        }  # fmt: skip
    return described


def _steps(rules: Rules) -> list[str]:
    """Return what is done to a text's characters, in the order of `Rules.words`."""
    found = []
    if rules.lowers:
        found.append("the letters A to Z become lower case; letters beyond ASCII stay as they are")
    if rules.strips:
        found.append(f"these characters are removed: {PUNCTUATION}")
    if rules.digits == "shape":
        found.append("each digit 0 to 9 becomes a 0")
    if rules.split == "punctuation":
        found.append(f"each of these characters gets a space before and behind it: {PUNCTUATION}")
    return found


def _vocabulary(one: Input) -> str:
    return f"{one.name}.vocabulary.txt"
