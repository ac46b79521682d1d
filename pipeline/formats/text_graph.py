"""Texts to token ids in TensorFlow's operations, for what is served: what `pipeline.vectorizer` computes in Python."""

from __future__ import annotations

import re
from typing import Any

from pipeline.vectorizer import FIRST, PUNCTUATION, UNKNOWN, Vectorizer


class TextGraph:
    """Operations that make token ids of strings.

    Attributes:
        table: of the words; whoever saves a function that calls this has to track it.
    """

    def __init__(self, vectorizer: Vectorizer) -> None:
        import tensorflow as tf

        words = [word.encode() for word in vectorizer.words]
        ids = list(range(FIRST, vectorizer.size))
        values = tf.lookup.KeyValueTensorInitializer(words, ids, tf.string, tf.int32)
        values._name = "vocabulary"  # TensorFlow's own holds a number of this process
        self.table = tf.lookup.StaticHashTable(values, UNKNOWN, name="words")
        # random in TensorFlow; and equal names share one table in a process, so only equal words may have one
        self.table._shared_name = f"words_{vectorizer.digest}"
        self._length, self._rules = vectorizer.length, vectorizer.rules

    def __call__(self, texts: Any) -> Any:
        """Return token ids int32 [n, length] of strings [n]."""
        import tensorflow as tf

        rules, marks = self._rules, f"[{re.escape(PUNCTUATION)}]"
        if rules.lowers:
            texts = tf.strings.lower(texts)
        if rules.strips:
            texts = tf.strings.regex_replace(texts, marks, "")
        if rules.digits == "shape":
            texts = tf.strings.regex_replace(texts, "[0-9]", "0")
        if rules.split == "punctuation":
            texts = tf.strings.regex_replace(texts, marks, r" \0 ")
        ids = self.table.lookup(tf.strings.split(texts))
        return tf.ensure_shape(ids.to_tensor(shape=[None, self._length]), [None, self._length])
