"""What is in a `.keras` archive, and a copy of it that holds only what was looked at."""

from __future__ import annotations

import json
import re
import shutil
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import InputError, translate_os_error
from pipeline.formats.model_file.kind import EXPECTED, SAVE_IT

METADATA, CONFIG, WEIGHTS, ASSETS = "metadata.json", "config.json", "model.weights.h5", "assets/"
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, EOFError, KeyError, TypeError, ValueError, OSError, RuntimeError,
    NotImplementedError, RecursionError,
)  # fmt: skip
_BLOCK = 2**20
_LARGEST_DOCUMENT = 2**26
_FREE_BYTES = 2**26  # less than this is no danger, whatever the file's size
_LARGEST_RATIO = 200  # of unpacked bytes to the file's


@dataclass(frozen=True)
class Documents:
    """The two JSON documents of an archive.

    Attributes:
        version: of the Keras that wrote it.
        config: the model's configuration, unchecked.
    """

    version: str
    config: Any


def documents(file: Path, path: Path) -> Documents:
    """Return what an archive says of itself, after its members were looked at; nothing is unpacked.

    Args:
        file: the archive.
        path: what the messages call it.

    Raises:
        InputError: it is damaged, no model, or a member would leave the archive, is hidden in it or is far too large.
    """
    with _reading(path, f"{METADATA} and {CONFIG}"), zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _require_harmless(path, members, file.stat().st_size)
        names = {member.filename for member in members}
        for name in (METADATA, CONFIG, WEIGHTS):
            if name not in names:
                raise _damaged(path, name, f"an archive of {_listed(names)}")
        metadata = json.loads(archive.read(METADATA))
        return Documents(str(metadata["keras_version"]), json.loads(archive.read(CONFIG)))


def unpack_weights(file: Path, path: Path, target: Path) -> None:
    """Write an archive's weights to a file of their own.

    Raises:
        InputError: they are damaged.
    """
    with (
        _reading(path, WEIGHTS), zipfile.ZipFile(file) as archive, archive.open(WEIGHTS) as source,
        target.open("wb") as weights,
    ):  # fmt: skip
        shutil.copyfileobj(source, weights, _BLOCK)


def rewrite(file: Path, path: Path, config: Any, weights: Path, target: Path) -> None:
    """Write the archive that Keras gets: the configuration and the weights that were looked at, and the assets."""
    with _reading(path, ASSETS), zipfile.ZipFile(file) as old, zipfile.ZipFile(target, "w") as new:
        new.writestr(METADATA, old.read(METADATA))
        new.writestr(CONFIG, json.dumps(config))
        new.write(weights, WEIGHTS)
        for member in old.infolist():
            if member.filename.startswith(ASSETS) and not member.is_dir():
                with old.open(member) as source, new.open(member.filename, "w") as asset:
                    shutil.copyfileobj(source, asset, _BLOCK)


def keyed(items: Any) -> Iterator[tuple[str, Any]]:
    """Yield (KIND_N, item) for layers or their configurations: the class in snake case, counted from the second on."""
    seen = Counter[str]()
    for item in items:
        kind = item["class_name"] if isinstance(item, Mapping) else type(item).__name__
        name = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()
        yield (f"{name}_{seen[name]}" if seen[name] else name), item
        seen[name] += 1


@contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    """Turn what is raised over a damaged archive into the user's error; what is about a disk passes."""
    try:
        yield
    except _DAMAGED as error:
        if translate_os_error(error):
            raise
        raise _damaged(path, what, f"a damaged or another file ({_line(error)})") from error


def _require_harmless(path: Path, members: list[zipfile.ZipInfo], size: int) -> None:
    problems = list(_problems(members))
    unpacked = sum(member.file_size for member in members)
    if unpacked > max(_FREE_BYTES, _LARGEST_RATIO * size):
        problems.append(f"members that claim {unpacked:,} bytes, in a file of {size:,}")
    if problems:
        raise InputError(
            f"the model file {path} is built to do harm, or damaged",
            expected=f"an archive of {METADATA}, {CONFIG}, {WEIGHTS} and {ASSETS} alone",
            found="; ".join(problems[:3]) + (f" and {len(problems) - 3} more" if len(problems) > 3 else ""),
            todo=f"{SAVE_IT} (allow_custom_code does not allow this)",
        )  # fmt: skip


def _problems(members: list[zipfile.ZipInfo]) -> Iterator[str]:
    seen: set[str] = set()
    for member in members:
        name = member.orig_filename
        if name in seen:
            yield f"a member twice ({name})"
        seen.add(name)
        mode = member.external_attr >> 16
        if _leaves(name):
            yield f"a path that leaves the archive ({name})"
        elif mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            yield f"a {'link' if stat.S_ISLNK(mode) else 'special file'} ({name})"
        elif member.flag_bits & 1:
            yield f"an encrypted member ({name})"
        elif name in (METADATA, CONFIG) and member.file_size > _LARGEST_DOCUMENT:
            yield f"a {name} of {member.file_size:,} bytes"
        elif name not in (METADATA, CONFIG, WEIGHTS) and not name.startswith(ASSETS):
            yield f"a member that no model has ({name})"


def _leaves(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name


def _listed(names: set[str]) -> str:
    shown = sorted(names)[:4]
    return ", ".join(shown) + (", ..." if len(names) > 4 else "") if names else "nothing"


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _damaged(path: Path, name: str, found: str) -> InputError:
    return InputError(
        f"{path} is not a model file", expected=f"{EXPECTED}: an archive with {name}", found=found, todo=SAVE_IT
    )
