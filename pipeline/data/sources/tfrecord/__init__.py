"""TFRecord files of tf.train.Example: a file, a folder or a pattern such as `data/train-*.tfrecord`.

TensorFlow reads them, once: what is in them is kept as arrays on the disk.

    config   the section `data.tfrecord`
    records  the records of a file, and what is in one
    answers  what is to be predicted
"""

from __future__ import annotations

import fnmatch
import glob
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.sources import PATHS, place
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.data.config import DataConfig
    from pipeline.data.prepared import Prepare
    from pipeline.data.sources.source import Source
    from pipeline.data.sources.tfrecord.config import Config

DECODES = True
PLACES = place.below
LIBRARIES = ("tensorflow",)
PATH = PATHS["tfrecord"]


def load(config: DataConfig, prepare: Prepare) -> Source:
    """Return the samples of all files.

    Returns:
        x as stored, [n, *shape], texts as strings [n]; y int64 [n] of classes, float32 [n, labels] of 0 and 1, or
        float64 [n, values].

    Raises:
        InputError: a file or a record is damaged, or a record does not hold what the recipe says.
    """
    from pipeline.data.sources import stored

    return stored.read(prepare(lambda folder: _write(config, folder)))


def files(config: DataConfig) -> tuple[Path, ...]:
    """Return the files, in the order of their names.

    Raises:
        InputError: there are none.
    """
    path = Path(str(config.path)).absolute()
    if path.is_dir():
        found = [one for one in path.rglob("*.tfrecord*") if one.is_file()]
    else:
        found = [Path(one) for one in glob.glob(str(path)) if Path(one).is_file()]  # noqa: PTH207 - may be absolute
    if not found:
        raise InputError(
            f"there are no records at {path}", expected=PATH,
            found="a folder without them" if path.is_dir() else f"no such file: {path}",
            todo="--set data.path=..., as seen from the folder in which modelmill is started",
        )  # fmt: skip
    return tuple(sorted(one.resolve() for one in found))


def input_shapes(config: DataConfig) -> dict[str, tuple[int, ...]] | None:
    """Return input name -> shape of one sample, as the recipe says."""
    return {name: feature.sample for name, feature in _section(config).features.items()}


def _section(config: DataConfig) -> Config:
    assert config.tfrecord is not None  # the config has seen to that
    return config.tfrecord


def _write(config: DataConfig, folder: Path) -> None:
    from pipeline.data.sources import stored
    from pipeline.data.sources.tfrecord import records
    from pipeline.data.sources.tfrecord.answers import Answers

    section, paths = _section(config), files(config)
    counts = {path: records.count(path) for path in paths}
    total = sum(counts.values())
    if not total:
        raise InputError(
            f"the files at {config.path} hold no records", expected="records", found=f"{len(paths)} empty files",
            todo="correct data.path",
        )  # fmt: skip
    wanted = Answers(config, section)
    given: dict[str, list[int]] = {"validation": [], "test": []}
    with ExitStack() as stack:
        into: dict[str, Any] = {
            name: stack.enter_context(stored.Texts(folder, name)) if feature.kind == "text"
            else stored.samples(folder, name, (total, *feature.sample), feature.stored)
            for name, feature in section.features.items()
        }  # fmt: skip
        place = 0
        for path in paths:
            for number, example in records.examples(path):
                where = f"record {number} of {path}"
                for name, feature in section.features.items():
                    value = records.value(example, feature, feature.feature or name, where)
                    if feature.kind == "text":
                        into[name].append(value)
                    else:
                        into[name][place] = value.reshape(feature.sample)
                wanted.add(example, where)
                place += 1
            for split, pattern in (("validation", section.validation), ("test", section.test)):
                if pattern and fnmatch.fnmatch(path.name, pattern):
                    given[split] += range(place - counts[path], place)
                    break
    _require_splits(section, given, total, paths)
    stored.describe(folder, list(section.features), wanted.write(folder), given=given)


def _require_splits(section: Config, given: dict[str, list[int]], total: int, paths: tuple[Path, ...]) -> None:
    for split in ("validation", "test"):
        pattern = getattr(section, split)
        if pattern and len(given[split]) in (0, total):
            raise InputError(
                f"data.tfrecord.{split} fits {'all' if given[split] else 'none'} of the files",
                expected=f"files of the {split} split, and others", found=", ".join(path.name for path in paths[:10]),
                todo=f"correct the pattern {pattern}, or leave it out",
            )  # fmt: skip
