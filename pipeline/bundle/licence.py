"""LICENSE.md: what nobody has said of the rights in a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.bundle.card import model_path
from pipeline.bundle.markdown import code, plain

if TYPE_CHECKING:
    from pipeline.bundle.subject import Subject


def text(subject: Subject, beside: Sequence[str]) -> str:
    """Return LICENSE.md.

    Args:
        beside: names of the files that say what the model takes.
    """
    words_of = [name for name in beside if name.endswith(".vocabulary.txt")]
    source, weights = code(subject.source), model_path(subject.report)
    lines = [
        "# Rights", "",
        "modelmill does not know under which terms this bundle may be used or passed on: no recipe says it. Before you "
        "do, find out what holds for", "",
        f"- the data that the model was trained on (source {source}): its licence may reach to the model;",
        "- the samples of that data in golden/: they are copies"
        + (f"; and its words in {', '.join(map(plain, words_of))};" if words_of else ";"),
        "- weights that training started from, where somebody else made them"
        + (f" ({code(weights)})" if weights else "") + ";",
        "- the code of the model's layers, where it is not modelmill's.", "",
        "The runtimes that the examples call (LiteRT, ONNX Runtime, TensorFlow Lite for Microcontrollers) are not in "
        "here and have licences of their own.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
