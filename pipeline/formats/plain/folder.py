"""What a SavedModel folder is, told by its files alone, and what a recipe may ask of it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pipeline.errors import InputError, RunError
from pipeline.files import canonical, hashes
from pipeline.formats.model_file.kind import identify as model_file

GRAPH, METADATA, VARIABLES = "saved_model.pb", "keras_metadata.pb", "variables"
# of no file's content but the graph's and the weights' does anything depend
_PARTS = (GRAPH, METADATA, VARIABLES)


def is_saved_model(path: Path) -> bool:
    """Return whether there is a SavedModel folder."""
    return (path / GRAPH).is_file()


def identify(path: Path) -> None:
    """Refuse what is neither a SavedModel folder nor a model file.

    Raises:
        InputError: see `model_file.kind.identify`.
    """
    if not is_saved_model(path):
        model_file(path)


def kind(path: Path) -> Literal["keras", "plain"]:
    """Return whether Keras wrote its layers beside the graph of a SavedModel folder."""
    return "keras" if (path / METADATA).is_file() else "plain"


def digest(path: Path) -> str:
    """Return the sha256 of what a SavedModel folder consists of.

    Raises:
        InputError: a part is missing or a link, or it has files that its graph would read.
    """
    if not (path / VARIABLES / "variables.index").is_file():
        raise InputError(
            f"the SavedModel {path} has no weights", expected=f"{VARIABLES}/variables.index beside {GRAPH}",
            found="none", todo="copy the whole folder from where it came from",
        )  # fmt: skip
    links = [item.name for item in (path, *path.rglob("*")) if item.is_symlink() and item != path]
    assets = [item.name for item in path.glob("assets/*")]
    if links or assets:
        raise InputError(
            f"the SavedModel {path} has more than a graph and its weights", expected="no links, and an empty assets/",
            found=", ".join([*links, *assets][:5]), todo="save it with what it looks up inside the graph",
        )  # fmt: skip
    return hashlib.sha256(canonical(_hashes(path)).encode()).hexdigest()


def _hashes(path: Path) -> dict[str, str]:
    return {
        name: value for part in _PARTS if (path / part).exists() for name, value in hashes(path / part, path).items()
    }


def copied(path: Path, target: Path, expected: str) -> None:
    """Copy what a SavedModel folder consists of to a folder that is not there yet.

    Args:
        expected: the `digest` that it had when the run began.

    Raises:
        RunError: it is not the folder that it was.
    """
    target.mkdir()
    for part in _PARTS:
        if (path / part).is_dir():
            shutil.copytree(path / part, target / part)
        elif (path / part).exists():
            shutil.copyfile(path / part, target / part)
    if digest(target) != expected:
        raise RunError(
            f"the SavedModel {path} changed while the run was going on", expected="the files that the run began with",
            found="another content", todo="run it again, when the files are written to their end",
        )  # fmt: skip


def conflicts(path: Path, sections: Iterable[str]) -> Iterator[str]:
    """Yield the sections of a recipe that a graph without layers cannot have.

    Args:
        sections: names of those that the recipe has.
    """
    if not is_saved_model(path) or kind(path) != "plain":
        return
    for name in sections:
        if name in ("train", "distill", "shrink", "prune", "cluster", "quantize"):
            yield (
                f"{name}: the SavedModel {path} holds a graph and no Keras layers, which {name} needs: leave the "
                "section out (it can be exported, int8 by quantization after training, served and measured), or give "
                "the Keras model that it was exported from"
            )
