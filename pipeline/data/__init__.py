"""From the recipe's section `data` to the splits train / validation / calibration / test, raw values in all of them."""

from __future__ import annotations

import functools
from pathlib import Path

from pipeline import machine
from pipeline.data import content, prepared
from pipeline.data.config import DataConfig, TextConfig
from pipeline.data.divide import Split, Splits, divide
from pipeline.data.sources import SOURCES

__all__ = [
    "DataConfig",
    "Split",
    "Splits",
    "TextConfig",
    "content_hash",
    "decoded",
    "input_shapes",
    "libraries",
    "load",
    "own_test",
]

# what is done with samples after they were decoded
_LATER = frozenset({"split", "split_seed", "value_range", "text", "augment", "shuffle_buffer", "metric"})


def input_shapes(config: DataConfig) -> dict[str, tuple[int, ...]] | None:
    """Return input name -> shape of one sample, without loading any; None where the source's file is not there.

    A text has the shape ().

    Raises:
        InputError: the file is damaged, or does not hold what the source asks for.
    """
    shapes: dict[str, tuple[int, ...]] | None = SOURCES[config.source].input_shapes(config)
    return shapes


def load(config: DataConfig, store: Path | None = None, *, strings: bool = False, look: bool = False) -> Splits:
    """Read the source and split it.

    Args:
        store: folder for what has to be decoded first; None: it is decoded for this process alone.
        strings: texts stay strings, as what is served takes them; else they are token ids, as models take them.
        look: also for samples that are in several splits; the notes say so.

    Raises:
        InputError: the file cannot be used, a class has too few samples, all values are equal, or a value is not
            finite.
        MissingError: the source is not installed.
    """
    prepare = functools.partial(prepared.prepare, store, _key(config))
    return divide(SOURCES[config.source].load(config, prepare), config, strings=strings, look=look)


def own_test(config: DataConfig, store: Path | None = None) -> int:
    """Return how many samples the source itself has put into a test split; a cross-validation leaves them alone.

    Args and Raises: as `load`.
    """
    prepare = functools.partial(prepared.prepare, store, _key(config))
    return len(SOURCES[config.source].load(config, prepare).given.get("test", ()))


def content_hash(config: DataConfig) -> str:
    """Return the hash of the source's raw content, without importing what reads it.

    Raises:
        InputError: the file cannot be read.
        MissingError: the source is not installed.
    """
    source = SOURCES[config.source]
    paths = source.files(config)
    places = getattr(source, "PLACES", None)
    return content.digest(paths, places(config, paths) if places else None)


def libraries(config: DataConfig) -> tuple[str, ...]:
    """Return the distributions whose version decides what becomes of the source's content."""
    found = getattr(SOURCES[config.source], "LIBRARIES", ())
    return tuple(found(config) if callable(found) else found)


def decoded(config: DataConfig, store: Path) -> Path | None:
    """Return where the data as `load` has to decode it is or will be; None where the source needs no decoding."""
    decodes = getattr(SOURCES[config.source], "DECODES", False)
    if callable(decodes):
        decodes = decodes(config)
    return prepared.folder(store, _key(config)) if decodes else None


def _key(config: DataConfig) -> str:
    settings = {name: value for name, value in config.decisive().items() if name not in _LATER}
    code = content.digest(sorted((Path(__file__).parent / "sources").rglob("*.py")))
    basis = {"settings": settings, "content": content_hash(config), "code": code}
    return prepared.key(basis | {"versions": machine.versions(libraries(config))})
