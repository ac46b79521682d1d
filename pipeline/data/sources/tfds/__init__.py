"""Sets of tensorflow-datasets, which is an extra: downloaded and prepared by it, kept as arrays on the disk by us.

config   the section `data.tfds`
writing  from its examples to arrays
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError, MissingError, ModelmillError, translate_os_error

if TYPE_CHECKING:
    from pipeline.data.config import DataConfig
    from pipeline.data.prepared import Prepare
    from pipeline.data.sources.source import Source
    from pipeline.data.sources.tfds.config import Config

DECODES = True
LIBRARIES = ("tensorflow-datasets", "tensorflow")


def load(config: DataConfig, prepare: Prepare) -> Source:
    """Return the examples of its splits.

    Returns:
        x as it is there, [n, *shape], texts as strings [n]; y int64 [n] of classes, or float64 [n, values].

    Raises:
        InputError: there is no such set, split or feature, or examples differ in shape.
        MissingError: tensorflow-datasets is not installed, or the set can be neither found nor downloaded.
    """
    from pipeline.data.sources import stored
    from pipeline.data.sources.tfds import writing

    return stored.read(prepare(lambda folder: writing.write(config, _section(config), _builder(config), folder)))


def files(config: DataConfig) -> tuple[Path, ...]:
    """Return the files of the set, downloaded and prepared first where they are not there.

    Raises:
        InputError, MissingError: see `load`.
    """
    found = _there(config)
    if not found:
        _builder(config)
        found = _there(config)
    if not found:
        raise InputError(
            f"the data set {_section(config).name} is not where it should be", expected=f"files in {_root(config)}",
            found="none, although it was prepared", todo="set data.tfds.data_dir to the folder of all sets",
        )  # fmt: skip
    return found


def _places(config: DataConfig, files: tuple[Path, ...]) -> list[str]:
    return [path.relative_to(_root(config)).as_posix() for path in files]


PLACES = _places


def input_shapes(config: DataConfig) -> None:
    """Return None: nothing is known before the set is read."""


def _section(config: DataConfig) -> Config:
    assert config.tfds is not None  # the config has seen to that
    return config.tfds


def _root(config: DataConfig) -> Path:
    section = _section(config)
    return Path(section.data_dir or os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets").expanduser()


def _there(config: DataConfig) -> tuple[Path, ...]:
    name, _, version = _section(config).name.partition(":")
    folder = _root(config) / name / version
    return tuple(sorted(path for path in folder.rglob("*") if path.is_file() and ".incomplete" not in str(path)))


def _builder(config: DataConfig) -> Any:
    """Return the set's DatasetBuilder, with its files in place."""
    section = _section(config)
    if importlib.util.find_spec("tensorflow_datasets") is None:
        raise MissingError(
            "the data source 'tfds' is tensorflow-datasets, which is not installed", expected="tensorflow-datasets",
            found="no such package in this Python environment", todo="pip install tensorflow-datasets",
        )  # fmt: skip
    from pipeline.legacy_keras import load as load_keras

    load_keras()
    import tensorflow_datasets

    try:
        builder = tensorflow_datasets.builder(section.name, data_dir=str(_root(config)))
        builder.download_and_prepare()
    except (ModelmillError, MemoryError):
        raise
    except (ValueError, KeyError, ImportError) as error:
        raise InputError(
            f"there is no data set {section.name} in tensorflow-datasets", expected="a name from its catalogue",
            found=_line(error), todo="correct data.tfds.name",
        ) from error  # fmt: skip
    except Exception as error:  # whatever its downloads raise
        if disk := translate_os_error(error):
            raise disk from error
        raise MissingError(
            f"the data set {section.name} is not there and cannot be downloaded", expected=f"it in {_root(config)}",
            found=_line(error), todo="prepare it where there is a network, and name the folder in data.tfds.data_dir",
        ) from error  # fmt: skip
    return builder


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:300]}"
