"""batching_parameters.txt: what tensorflow_model_server reads as --batching_parameters_file."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path

from pipeline.batching import words
from pipeline.batching.document import Search
from serving.layout import batching_parameters


def text(found: Search) -> str:
    """Return the file's text: comments that say where the parameters come from, then the parameters.

    Args:
        found: a search that found some.
    """
    best = found.trial(found.finalist)
    assert best is not None
    assert best.parameters is not None
    lines = [
        line
        for sentence in _head(found)
        for line in textwrap.wrap(" ".join(sentence.split()), 116, break_long_words=False, subsequent_indent="  ")
    ]
    return "".join(f"# {line}\n" for line in lines) + batching_parameters(best.parameters)


def _head(found: Search) -> Iterator[str]:
    best, server = found.trial(found.finalist), found.server
    assert best is not None
    yield f"{words.title(found)}; found by modelmill {found.modelmill} batching"
    yield words.verdict(found)
    for one in (best, found.baseline):
        yield f"{one.name}: {words.measured(one)}"
    which = " ".join(str(server[key]) for key in ("implementation", "version", "image") if server.get(key))
    yield f"target: {found.target} ({which}), {found.protocol}, {found.threads} threads inside an operation"
    yield f"machine: {found.machine.get('cpu')}, {found.machine.get('cores')} cores; requests: {found.samples}"
    yield from words.notes(found)
    if not found.flags:
        yield "found without further flags of the server (serving.flags)"
    yield "read by tensorflow_model_server --enable_batching=true --batching_parameters_file=THIS_FILE"


def write(found: Search, path: Path) -> None:
    """Write the file beside its path and rename it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text(found), encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
