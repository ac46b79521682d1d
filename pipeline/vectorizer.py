"""Texts as token ids, the way of `keras.layers.TextVectorization`, without TensorFlow.

Bytes of UTF-8 all along, so that `formats/text_graph.py` computes the same in TensorFlow's operations, and a few lines
in any language do on a device: A to Z become lower case, ASCII punctuation goes away, ASCII whitespace separates words.
Letters beyond ASCII stay as they are. `Rules` are what of that can be otherwise.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

PADDING, UNKNOWN, FIRST = 0, 1, 2  # ids: behind a text's last word, of words not in the vocabulary, of the first word
UNKNOWN_WORD = "[UNK]"
PUNCTUATION = string.punctuation
_PUNCTUATION = PUNCTUATION.encode()
_MARK = re.compile(b"[" + re.escape(_PUNCTUATION) + b"]")
_DIGIT = re.compile(b"[0-9]")

Standardize = Literal["lower_and_strip_punctuation", "lower", "strip_punctuation", "none"]
Split = Literal["whitespace", "punctuation"]
Digits = Literal["keep", "shape"]


@dataclass(frozen=True)
class Rules:
    """How a text becomes words; without arguments as Keras' TextVectorization does it.

    Attributes:
        standardize: what is done to its characters first, in Keras' words.
        split: where words end: at whitespace; or there and at each punctuation mark, which is a word of its own (the
            basic tokenizer of BERT, Devlin et al., 2019).
        digits: they stay; or each becomes a 0, so that of a number its length is left (Lample et al., 2016).
    """

    standardize: Standardize = "lower_and_strip_punctuation"
    split: Split = "whitespace"
    digits: Digits = "keep"

    @property
    def lowers(self) -> bool:
        return self.standardize in ("lower_and_strip_punctuation", "lower")

    @property
    def strips(self) -> bool:
        return self.standardize in ("lower_and_strip_punctuation", "strip_punctuation")

    def words(self, text: str | bytes) -> list[bytes]:
        """Return the words of a text."""
        content = text.encode() if isinstance(text, str) else bytes(text)
        if self.lowers:
            content = content.lower()
        if self.strips:
            content = content.translate(None, _PUNCTUATION)
        if self.digits == "shape":
            content = _DIGIT.sub(b"0", content)
        if self.split == "punctuation":
            content = _MARK.sub(rb" \g<0> ", content)
        return content.split()


KERAS = Rules()


@dataclass(frozen=True)
class Vectorizer:
    """Words and a length, which make token ids of texts.

    Attributes:
        words: the most frequent first; their ids count from 2. Behind ids 0 (padding) and 1 (any other word).
        length: token ids of one text; longer texts are cut off, shorter ones padded.
        rules: how a text becomes words.
    """

    words: tuple[str, ...]
    length: int
    rules: Rules = KERAS

    @property
    def size(self) -> int:
        """Number of ids."""
        return FIRST + len(self.words)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """What each id stands for, in the order of the ids; that of padding is empty."""
        return "", UNKNOWN_WORD, *self.words

    @property
    def digest(self) -> str:
        """Of the words, 16 characters."""
        return hashlib.sha256("\n".join(self.words).encode()).hexdigest()[:16]

    @cached_property
    def _ids(self) -> dict[bytes, int]:
        return {word.encode(): place for place, word in enumerate(self.words, FIRST)}

    def ids(self, texts: Iterable[str | bytes]) -> np.ndarray:
        """Return token ids, int32 [n, length]."""
        import numpy as np

        listed = list(texts)
        found = np.full((len(listed), self.length), PADDING, np.int32)
        for row, text in zip(found, listed, strict=True):
            known = [self._ids.get(word, UNKNOWN) for word in self.rules.words(text)[: self.length]]
            row[: len(known)] = known
        return found


def learned(texts: Iterable[str], size: int, length: int, rules: Rules = KERAS) -> Vectorizer:
    """Return the vectorizer of the most frequent words; of equally frequent ones the last of the alphabet, as Keras.

    Args:
        size: most ids, those of padding and of unknown words included.
    """
    counts = Counter(word for text in texts for word in rules.words(text))
    del counts[UNKNOWN_WORD.encode()]  # a text may spell it where neither case nor marks are taken away
    ordered = sorted(counts, key=lambda word: (counts[word], word), reverse=True)
    return Vectorizer(tuple(word.decode() for word in ordered[: size - FIRST]), length, rules)
