"""Texts: a .tsv or .csv with a text and a label in each row, or a folder with a folder of .txt files for each class.

The one input is `text`, strings. How they become token ids says `data.text`, where the texts lie `data.text_file`.

    config   the section `data.text_file`
    rows     from a file of rows
    folders  from folders of files
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.sources import PATHS, place
from pipeline.data.sources.text.config import Config

if TYPE_CHECKING:
    from pipeline.data.config import DataConfig
    from pipeline.data.prepared import Prepare
    from pipeline.data.sources.source import Source

DECODES = True
PLACES = place.below
PATH = PATHS["text"]
NAME = "text"


def load(config: DataConfig, prepare: Prepare) -> Source:
    """Return the texts, as they are in the data, but for whitespace around them.

    Returns:
        x strings [n]; y int64 [n] of classes, or with data.task regression float64 [n].

    Raises:
        InputError: the files cannot be read, or labels do not fit.
    """
    from pipeline.data.sources import stored

    return stored.read(prepare(lambda folder: _write(config, folder)))


def files(config: DataConfig) -> tuple[Path, ...]:
    """Return the files that hold the texts.

    Raises:
        InputError: there are none.
    """
    from pipeline.data.sources.text import folders

    path = Path(str(config.path))
    if path.is_dir():
        return tuple(one.path for one in folders.listed(place.folder(config, PATH).resolve()))
    return (place.file(config, PATH),)


def input_shapes(config: DataConfig) -> dict[str, tuple[int, ...]] | None:
    """Return the shape of a text, where there are any."""
    return {config.input_name or NAME: ()} if Path(str(config.path)).exists() else None


def _write(config: DataConfig, folder: Path) -> None:
    from pipeline.data.sources.text import folders, rows

    path, name = Path(str(config.path)), config.input_name or NAME
    files(config)
    if path.is_dir():
        folders.write(config, path, folder, name)
    else:
        rows.write(config, config.text_file or Config(), path, folder, name)
