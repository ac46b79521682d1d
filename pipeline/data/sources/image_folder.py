"""A folder with a folder of images for each class; or with train/, validation/ and test/ that have these in them.

Images are decoded once, by several threads, into arrays of bytes that are memory-mapped, so that any number of them
takes little memory. A folder's name is the label of all that lies below it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.sources import PATHS, image_files, images, place, reserved
from pipeline.data.sources.image_config import Color, Config
from pipeline.data.sources.image_files import Listed
from pipeline.data.sources.images import CHANNELS, Decoded, Header, Unreadable
from pipeline.data.sources.source import Given, Source, Target
from pipeline.data.sources.split_folders import PARTS
from pipeline.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data.config import DataConfig
    from pipeline.data.prepared import Prepare

PATH = PATHS["image_folder"]
DECODES = True
# a file's place below data.path is content: it tells the label
PLACES = place.below
LIBRARIES = ("pillow",)

_IMAGES, _LABELS, _PARTS, _ABOUT = "images.npy", "labels.npy", "parts.npy", "about.json"
# images that are held in memory at once, that a thread takes at once, and whose headers a recipe is checked with
_CHUNK, _PIECE, _GLANCE = 512, 32, 32


@dataclass(frozen=True)
class _Plan:
    """The shape that all images get, and what is said of it."""

    size: tuple[int, int]
    color: Color
    notes: tuple[str, ...]


def load(config: DataConfig, prepare: Prepare) -> Source:
    """Return all images, uint8 [n, height, width, channels] on the disk, with the number of their class, int64 [n].

    Raises:
        InputError: no such folder, no class folders, one class, images that cannot be decoded or differ in size.
    """
    import numpy as np

    folder = prepare(lambda target: _write(config, target))
    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    parts = np.load(folder / _PARTS)
    names: tuple[Given, ...] = ("validation", "test")
    given = {name: np.flatnonzero(parts == PARTS.index(name)) for name in names if PARTS.index(name) in parts}
    return Source(
        {config.input_name or "image": np.load(folder / _IMAGES, mmap_mode="r")},
        {"": Target(np.load(folder / _LABELS), tuple(about["classes"]))}, given, notes=tuple(about["notes"]),
    )  # fmt: skip


def input_shapes(config: DataConfig) -> dict[str, tuple[int, ...]] | None:
    """Return input name -> shape of one image, by the headers of a few; None where there is no folder.

    Raises:
        InputError: there are no images in it, or they differ in size and the recipe names none.
    """
    if not Path(str(config.path)).is_dir():
        return None
    wanted = config.image_folder or Config()
    if wanted.size is None or wanted.color is None:
        plan = _glance(config, image_files.listed(config))
        size, color = plan.size, plan.color
    else:
        size, color = wanted.size, wanted.color
    return {config.input_name or "image": (*size, CHANNELS[color])}


def files(config: DataConfig) -> tuple[Path, ...]:
    """Return all images, sorted by their places.

    Raises:
        InputError: no such folder, or no images in it.
    """
    return tuple(file.path for file in image_files.listed(config).files)


def _glance(config: DataConfig, listed: Listed) -> _Plan:
    """Return the shape that some images have; see `_plan`."""
    step = max(1, len(listed.files) // _GLANCE)
    seen = [images.look(file.path) for file in listed.files[::step]]
    sizes = {header.size for header in seen if isinstance(header, Header)}
    if not sizes or (len(sizes) > 1 and (config.image_folder or Config()).size is None):
        seen = _headers(listed)  # it will be refused, with all of them counted
    return _plan(config, seen)


def _headers(listed: Listed) -> list[Header | Unreadable]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_threads()) as pool:
        return list(pool.map(images.look, [file.path for file in listed.files]))


def _threads() -> int:
    return min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _plan(config: DataConfig, seen: Sequence[Header | Unreadable]) -> _Plan:
    """Return the shape of all images.

    Raises:
        InputError: none can be read, or they differ in size and the recipe names none.
    """
    wanted = config.image_folder or Config()
    headers = [header for header in seen if isinstance(header, Header)]
    if not headers:
        raise _unreadable(config, [one for one in seen if isinstance(one, Unreadable)], len(seen))
    sizes = Counter(header.size for header in headers)
    size = wanted.size or next(iter(sizes))
    if wanted.size is None and len(sizes) > 1:
        raise InputError(
            f"the images in {config.path} differ in size", expected="one size, or data.image_folder.size",
            found=f"{len(sizes)} sizes: {_counted(sizes)}",
            todo="--set data.image_folder.size=[HEIGHT,WIDTH]; or --set model.path=FILE, whose input then decides",
        )  # fmt: skip
    color = wanted.color or ("grayscale" if all(header.grey for header in headers) else "rgb")
    notes = []
    if others := Counter({one: count for one, count in sizes.items() if one != size}):
        notes.append(
            f"{others.total():,} of {len(headers):,} images are resized to {_shown(size)} (height x width); they were "
            f"{_counted(others)}"
        )
    coloured = sum(not header.grey for header in headers)
    if color == "grayscale" and coloured:
        notes.append(f"{coloured:,} of {len(headers):,} images have colours and become grey")
    if turned := sum(header.turned for header in headers):
        notes.append(f"{turned:,} images are turned as their EXIF orientation says")
    if transparent := sum(header.transparent for header in headers):
        notes.append(f"{transparent:,} images have transparent parts, which become white")
    return _Plan(size, color, tuple(notes))


def _counted(sizes: Counter[tuple[int, int]]) -> str:
    most = [f"{_shown(size)} ({count:,})" for size, count in sizes.most_common(5)]
    return ", ".join(most) + (f" and {len(sizes) - 5} more" if len(sizes) > 5 else "")


def _shown(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _write(config: DataConfig, target: Path) -> None:
    """Decode all images into a folder's arrays."""
    import numpy as np

    listed = image_files.listed(config)
    total, plan = len(listed.files), _glance(config, listed)
    while (seen := _decode(config, listed, plan, target / _IMAGES)) is None:
        plan = _plan(config, _headers(listed))
    bad = [one for one in seen if isinstance(one, Unreadable)]
    if bad and (len(bad) == total or (config.image_folder or Config()).unreadable == "refuse"):
        raise _unreadable(config, bad, total)
    notes = [*listed.notes, *_plan(config, seen).notes]
    if bad:
        _shorten(target / _IMAGES, total - len(bad))
        notes.append(f"{len(bad):,} of {total:,} images cannot be decoded and are left out: {_named(config, bad)}")
    kept = [file for file, one in zip(listed.files, seen, strict=True) if isinstance(one, Header)]
    classes = _classes(config, kept)
    numbers = {label: number for number, label in enumerate(classes)}
    reserved.save(target / _LABELS, np.array([numbers[file.label] for file in kept], np.int64))
    reserved.save(target / _PARTS, np.array([file.part for file in kept], np.int8))
    about = {"classes": classes, "notes": notes}
    (target / _ABOUT).write_text(json.dumps(about), encoding="utf-8")


def _decode(config: DataConfig, listed: Listed, plan: _Plan, path: Path) -> list[Header | Unreadable] | None:
    """Write what can be decoded into one array, in its order; None where an image shows that the plan is wrong."""
    from concurrent.futures import ThreadPoolExecutor

    wanted, total, row = config.image_folder or Config(), len(listed.files), 0
    shape = (*plan.size, CHANNELS[plan.color])
    pixels = reserved.array(path, (total, *shape), "uint8")
    seen: list[Header | Unreadable] = []

    def some(start: int) -> list[Decoded | Unreadable]:
        return [images.decode(file.path, plan.size, plan.color) for file in listed.files[start : start + _PIECE]]

    with ThreadPoolExecutor(_threads()) as pool:
        for start in range(0, total, _CHUNK):
            for found in pool.map(some, range(start, min(start + _CHUNK, total), _PIECE)):
                for one in found:
                    seen.append(one.header if isinstance(one, Decoded) else one)
                    if isinstance(one, Unreadable):
                        continue
                    if (wanted.size is None and one.header.size != plan.size) or (
                        wanted.color is None and plan.color == "grayscale" and not one.header.grey
                    ):
                        return None
                    pixels[row] = one.pixels
                    row += 1
    return seen


def _shorten(path: Path, count: int) -> None:
    """Write an array of bytes anew, with its first rows alone."""
    import numpy as np

    whole: np.ndarray = np.load(path, mmap_mode="r")
    part = path.with_suffix(".part")
    shorter = reserved.array(part, (count, *whole.shape[1:]), "uint8")
    for start in range(0, count, _CHUNK):
        shorter[start : start + _CHUNK] = whole[start : min(start + _CHUNK, count)]
    del shorter, whole
    part.replace(path)


def _classes(config: DataConfig, kept: Sequence[image_files.File]) -> tuple[str, ...]:
    """Return the class names, in the order of their numbers: sorted, or as data.classes has them.

    Raises:
        InputError: there are fewer than two, one has no images to learn from, or the recipe names others.
    """
    found = tuple(sorted({file.label for file in kept}))
    if config.classes is not None and sorted(config.classes) != list(found):
        raise InputError(
            f"data.classes are not the class folders in {config.path}", expected=", ".join(found),
            found=", ".join(config.classes), todo="name each folder once, in the order that the model has them",
        )  # fmt: skip
    if config.task == "reconstruction":
        return config.classes or found
    if len(found) < 2:
        raise InputError(
            f"the images in {config.path} are all of one class", expected=f"two or more classes: {PATH}",
            found=f"{found[0]!r} alone", todo="check which folder data.path names",
        )  # fmt: skip
    unlearned = sorted(set(found) - {file.label for file in kept if file.part == 0})
    if unlearned and config.task != "anomaly":  # where anomalies are to be told, they are not what is learned from
        raise InputError(
            f"some classes in {config.path} have no images to learn from", expected="images of each class in train/",
            found=f"none of {', '.join(unlearned)}", todo="add some, or remove these classes",
        )  # fmt: skip
    return config.classes or found


def _unreadable(config: DataConfig, bad: Sequence[Unreadable], total: int) -> InputError:
    return InputError(
        f"{len(bad):,} of {total:,} images in {config.path} cannot be decoded",
        expected="whole files of JPEG, PNG, BMP, GIF, WebP or TIFF", found=_named(config, bad),
        todo="replace or remove them; or leave them out: --set data.image_folder.unreadable=skip",
    )  # fmt: skip


def _named(config: DataConfig, bad: Sequence[Unreadable]) -> str:
    root = Path(str(config.path)).resolve()
    named = [f"{one.path.relative_to(root).as_posix()} ({one.reason})" for one in bad[:5]]
    return "; ".join(named) + (f"; and {len(bad) - 5:,} more" if len(bad) > 5 else "")
