"""A version in a store of objects (S3, Google Cloud Storage), which has no folders and no rename.

A number is taken by creating an object that must not be there yet, `BASE/.push/N`. Everything is uploaded below
`BASE/.push/N-...`, where no server looks, and then copied to `BASE/N` inside the store, saved_model.pb or model.tflite
last: a server that polls during the copying finds a version without a model, which it does not load but tries again,
and serves the one before it until then. It never loads half a version.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.layout import GRAPH, LITE
from serving.publishing import Newest, greatest, next_number

CLAIMS = ".push"
# a version without one of these is not loaded
_MODELS = (GRAPH, LITE)


def newest(base: str, store: Any) -> Newest | None:
    """Return the version with the greatest number below a base path, BUCKET/PATH; None where there is none.

    Args:
        store: an `fsspec.AbstractFileSystem`.

    Raises:
        OSError, or what the store's library raises: it cannot be reached.
    """
    base = base.rstrip("/")
    name = greatest(_children(base, store))
    if name is None:
        return None
    place = f"{base}/{name}"
    found = store.find(place, detail=True)
    files = {path.removeprefix(f"{place}/"): int(facts["size"]) for path, facts in found.items()}
    return Newest(int(name), place, files, lambda file: store.open(f"{place}/{file}", "rb"))


def publish(version: Mapping[str, Path], base: str, store: Any) -> str:
    """Upload a version's files below a base path, as its next number; return where it is.

    Args:
        version: name in the version's folder, such as saved_model.pb -> the file that is uploaded.
        base: the model's base path, BUCKET/PATH.
        store: an `fsspec.AbstractFileSystem` whose `pipe_file` creates exclusively with mode="create".

    Raises:
        OSError, or what the store's library raises: it cannot be reached or written.
    """
    base = base.rstrip("/")
    number = _claim(base, store)
    place, claim = f"{base}/{number}", f"{base}/{CLAIMS}/{number}"
    beside = f"{claim}-{secrets.token_hex(4)}"
    names = sorted(version, key=lambda name: (name in _MODELS, name))
    try:
        for name in names:
            store.put_file(str(version[name]), f"{beside}/{name}")
        for name in names:
            store.cp_file(f"{beside}/{name}", f"{place}/{name}")
    except BaseException:
        # backwards, so first what makes it a version that a server loads
        _remove([f"{place}/{name}" for name in reversed(names)], store)
        raise
    finally:
        _remove([f"{beside}/{name}" for name in names], store)
        # last: who lists the numbers before the version is there meets the claim, who lists them later the version
        store.rm_file(claim)
    return place


def _claim(base: str, store: Any) -> int:
    """Take the next number that nobody has and nobody is about to have."""
    while True:
        number = next_number((*_children(base, store), *_children(f"{base}/{CLAIMS}", store)))
        try:
            store.pipe_file(f"{base}/{CLAIMS}/{number}", b"", mode="create")
        except FileExistsError:
            continue
        # its owner before us may have put the version there and let the claim go since we looked
        if str(number) not in _children(base, store):
            return number
        store.rm_file(f"{base}/{CLAIMS}/{number}")


def _children(path: str, store: Any) -> list[str]:
    """Return the names below a path, as the store has them now."""
    store.invalidate_cache()
    try:
        return [str(one).rstrip("/").rpartition("/")[2] for one in store.ls(path, detail=False)]
    except FileNotFoundError:
        return []


def _remove(paths: list[str], store: Any) -> None:
    for path in paths:
        try:
            store.rm_file(path)
        except FileNotFoundError:  # it was not uploaded
            continue
