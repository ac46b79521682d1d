"""What makes token ids of texts, in files beside those that take token ids (.tflite, .onnx).

INPUT.vocabulary.txt has a word a line, in UTF-8; the number of its line, counted from 0, is its id. INPUT.tokens.json
says how a text becomes words and ids.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.files import write_json
from pipeline.predictor import Input, Spec
from pipeline.vectorizer import PADDING, PUNCTUATION, UNKNOWN


def write(spec: Spec, folder: Path) -> list[str]:
    """Write two files for each text that goes into a model, none where none does; return their names."""
    names = []
    for one in spec.inputs:
        if one.vectorizer is not None:
            text = "".join(f"{word}\n" for word in one.vectorizer.vocabulary)
            (folder / _vocabulary(one)).write_text(text, encoding="utf-8", newline="\n")
            write_json(folder / f"{one.name}.tokens.json", _described(one, one.vectorizer.length))
            names += [f"{one.name}.tokens.json", _vocabulary(one)]
    return names


def _described(one: Input, length: int) -> dict[str, object]:
    return {
        "input": one.name,
        "dtype": "int32",
        "shape": ["batch", length],
        "vocabulary": _vocabulary(one),
        "steps": [
            "the letters A to Z become lower case; letters beyond ASCII stay as they are",
            f"these characters are removed: {PUNCTUATION}",
            "what stands between whitespace (space, \\t, \\n, \\v, \\f, \\r) is a word",
            "the id of a word is the number of its line in the vocabulary, counted from 0",
            f"words that are not there have the id {UNKNOWN}",
            f"the first {length} ids count; shorter texts are filled up behind with the id {PADDING}",
        ],
        "length": length,
        "padding_id": PADDING,
        "unknown_id": UNKNOWN,
        "keras": {
            "class": "TextVectorization", "standardize": "lower_and_strip_punctuation", "split": "whitespace",
            "output_mode": "int", "output_sequence_length": length,
        },
    }  # fmt: skip


def _vocabulary(one: Input) -> str:
    return f"{one.name}.vocabulary.txt"
