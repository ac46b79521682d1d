"""What is in an HDF5 file: its structure looked through before anybody else reads it, its attributes and its weights.

An HDF5 file can point out of itself (external links, external storage, virtual datasets), declare arrays that are far
larger than it is, and name objects of types that are read by running code. None of it is in a model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError
from pipeline.formats.model_file.kind import SAVE_IT

if TYPE_CHECKING:
    import h5py
    import numpy as np

# deflate, shuffle, fletcher32: what h5py can write without a plugin
_FILTERS = frozenset({1, 2, 3})
# the outermost groups of a `.keras` file's weights that are not the model's
ARCHIVE_TRAINING = frozenset({"optimizer", "metrics", "compiled_metrics", "compiled_loss"})
_MOST_OBJECTS = 100_000
_LARGEST_TEXT = 2**26  # characters of an attribute
_FREE_BYTES = 2**26  # less than this is no danger, whatever the file's size
_LARGEST_RATIO = 200  # of declared bytes to the file's; weights with 99 % zeros come to about 30


def require_harmless(file: h5py.File, path: Path, size: int) -> None:
    """Look through the whole structure of an HDF5 file, without reading an array.

    Args:
        file: open for reading.
        path: what the messages call it.
        size: bytes that it has.

    Raises:
        InputError: something in it points out of it, or is larger than it can be.
    """
    problems: list[str] = []
    declared = 0
    for number, (name, item) in enumerate(_walk(file, problems)):
        if number > _MOST_OBJECTS:
            problems.append(f"more than {_MOST_OBJECTS} objects")
            break
        declared += _declared(item)
        problems += (f"{problem} ({name})" for problem in _of_dataset(item))
    if declared > max(_FREE_BYTES, _LARGEST_RATIO * size):
        problems.append(f"arrays that claim {declared:,} bytes, in a file of {size:,}")
    if problems:
        raise InputError(
            f"the model file {path} is built to do harm, or damaged", expected="arrays in the file itself, and no more",
            found="; ".join(problems[:3]) + (f" and {len(problems) - 3} more" if len(problems) > 3 else ""),
            todo=f"{SAVE_IT} (allow_custom_code does not allow this)",
        )  # fmt: skip


def _walk(file: h5py.File, problems: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield (path, dataset) of all datasets, each object once; what is no dataset or group goes to `problems`."""
    import h5py

    todo, seen = [("", file)], {_identity(file)}
    while todo:
        prefix, group = todo.pop()
        for name in group:
            path = f"{prefix}/{name}"
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                problems.append(f"a link to another file ({path} -> {link.filename})")
                continue
            if isinstance(link, h5py.SoftLink):
                problems.append(f"a soft link ({path} -> {link.path})")
                continue
            item = group[name]
            if _identity(item) in seen:
                problems.append(f"a second name for the same object ({path})")
                continue
            seen.add(_identity(item))
            if isinstance(item, h5py.Group):
                todo.append((path, item))
                if len(seen) > _MOST_OBJECTS:
                    problems.append(f"more than {_MOST_OBJECTS} objects")
                    return
            elif isinstance(item, h5py.Dataset):
                yield path, item
            else:
                problems.append(f"a {type(item).__name__} ({path})")


def _identity(item: Any) -> tuple[int, bytes]:
    import h5py

    info = h5py.h5o.get_info(item.id)
    return int(info.fileno), bytes(str(info.addr), "ascii")


def _declared(item: h5py.Dataset) -> int:
    return 0 if item.shape is None else math.prod(int(side) for side in item.shape) * int(item.dtype.itemsize)


def _of_dataset(item: h5py.Dataset) -> Iterator[str]:
    if item.dtype.kind not in "fiub":
        yield f"an array of {'objects' if item.dtype.kind == 'O' else item.dtype}"
    plist = item.id.get_create_plist()
    if item.external:
        yield f"an array in another file ({item.external[0][0]})"
    if item.is_virtual:
        yield "an array made of other files"
    filters = {plist.get_filter(number)[0] for number in range(plist.get_nfilters())}
    if filters - _FILTERS:
        yield f"an array behind a filter of its own ({', '.join(map(str, sorted(filters - _FILTERS)))})"


def text(item: h5py.Group, name: str) -> str | None:
    """Return an attribute that is one text; None where there is none of that name.

    Raises:
        ValueError: it is no text, or longer than any configuration.
    """
    import h5py

    if name not in item.attrs:
        return None
    attribute = h5py.h5a.open(item.id, name.encode())
    if attribute.shape != () or attribute.get_storage_size() > _LARGEST_TEXT:
        raise ValueError(f"the attribute {name} is no text")
    found = item.attrs[name]
    found = found.decode("utf-8") if isinstance(found, bytes) else found
    if not isinstance(found, str) or len(found) > _LARGEST_TEXT:
        raise ValueError(f"the attribute {name} is no text, or too long")
    return str(found)


def texts(item: h5py.Group, name: str) -> list[str] | None:
    """Return an attribute that is a list of texts, which Keras splits into NAME0, NAME1, ... where it is long."""
    found: list[str] = []
    parts = (
        [name] if name in item.attrs else [f"{name}{n}" for n in range(len(item.attrs)) if f"{name}{n}" in item.attrs]
    )
    if not parts:
        return None
    for part in parts:
        if math.prod(item.attrs.get_id(part).shape) > _MOST_OBJECTS:
            raise ValueError(f"the attribute {part} is too long")
        found += (value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in item.attrs[part])
    return found


def weights(group: h5py.Group, training: frozenset[str] = frozenset()) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (path below the group, array) of the model's weights.

    Args:
        training: the groups in it that were there for its training; what is deeper may have any name.
    """
    for path, item in _walk(group, []):
        name = path.lstrip("/")
        if name.partition("/")[0] not in training:
            yield name, item[()]


def require_weights(group: h5py.Group, path: Path, training: frozenset[str] = frozenset()) -> None:
    """Refuse weights that no model can have that is to be exported; `training` as in `weights`.

    Raises:
        InputError: there is none; or one is not float32 or an integer, or holds NaN or an infinity.
    """
    import numpy as np

    found, broken, wide = False, [], []
    for name, values in weights(group, training):
        found = True
        if values.dtype.kind == "f" and values.dtype != np.float32:
            wide.append(f"{name} is {values.dtype}")
        elif not np.isfinite(values).all():
            broken.append(f"{name}: {int(values.size - np.isfinite(values).sum())} of {values.size}")
    if not found:
        raise InputError(
            f"the model file {path} holds no weights", expected="the weights of a trained model", found="none",
            todo="save the whole model: model.save('model.keras'), not its configuration alone",
        )  # fmt: skip
    if broken:
        raise InputError(
            f"the model file {path} holds weights that are no numbers", expected="finite weights",
            found="NaN or infinite values in " + _first(broken),
            todo="take an earlier checkpoint: this training diverged",
        )  # fmt: skip
    if wide:
        raise not_float32(path, _first(wide))


def _first(lines: list[str]) -> str:
    return "; ".join(lines[:3]) + (f" and {len(lines) - 3} more" if len(lines) > 3 else "")


def not_float32(path: Path, found: str) -> InputError:
    """Return the error for a model in another precision."""
    return InputError(
        f"the model in {path} is not in float32", expected="float32: smaller precisions are made from it", found=found,
        todo="build the model in float32 with the same layers, and load these weights into it",
    )  # fmt: skip
