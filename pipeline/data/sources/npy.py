"""Arrays in a folder of .npy files, in the layout of Keras' own data sets (x_train.npy, ...); see `layout`.

They are memory-mapped: nothing is copied, and they may be larger than memory. Nothing is unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from pipeline.data.sources import PATHS, layout, place
from pipeline.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data.config import DataConfig
    from pipeline.data.prepared import Prepare
    from pipeline.data.sources.source import Source

PATH = PATHS["npy"]
# an array's name is that of its input
PLACES = place.below
TODO = "numpy.save('FOLDER/x_train.npy', ...), likewise y_train, x_test and y_test, and --set data.path=FOLDER"


def load(config: DataConfig, prepare: Prepare) -> Source:  # noqa: ARG001 - every source has the same face
    """Return all samples, memory-mapped; see `layout.source`.

    Raises:
        InputError: the folder cannot be read, an array is damaged or not in this layout, or labels are no numbers of
            classes.
    """
    folder = place.folder(config, PATH)
    return mapped(folder, config, _where(folder))


def mapped(folder: Path, config: DataConfig, where: str) -> Source:
    """Return the samples in a folder, memory-mapped; `where` it is, for messages. Raises as `load`."""
    from pipeline.rows import Joined

    arrays = {name: _mapped(folder, name) for name in _headers(folder, config)}
    return layout.source(arrays, config, where, cast("layout.Join", Joined))


def files(config: DataConfig) -> tuple[Path, ...]:
    """Return the arrays' files, in the order of their names.

    Raises:
        InputError: the folder is not there, or lacks arrays.
    """
    folder = place.folder(config, PATH)
    return tuple(folder / f"{name}.npy" for name in layout.wanted(_stored(folder), config, _where(folder), TODO))


def input_shapes(config: DataConfig) -> dict[str, tuple[int, ...]] | None:
    """Return input name -> shape of one sample, of headers alone; None where there is no folder.

    Raises:
        InputError: an array is damaged or not in this layout.
    """
    folder = Path(str(config.path))
    return layout.shapes(_headers(folder, config), config) if folder.is_dir() else None


def _where(folder: Path) -> str:
    return f"data folder {folder}"


def _stored(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.npy"))


def _headers(folder: Path, config: DataConfig) -> layout.Headers:
    def read(name: str) -> tuple[tuple[int, ...], np.dtype]:
        array = _mapped(folder, name)
        return array.shape, array.dtype

    return layout.headers(_stored(folder), read, config, where=_where(folder), todo=TODO)


def _mapped(folder: Path, name: str) -> np.ndarray:
    import numpy as np

    path = folder / f"{name}.npy"
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(
            f"the data file {path} is not a readable .npy file", expected="a whole .npy file, as numpy.save writes it",
            found=str(error) or type(error).__name__, todo=f"get the file again, or write one: {TODO}",
        ) from None  # fmt: skip
    return array
