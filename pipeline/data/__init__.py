"""From the recipe's section `data` to the splits train / validation / calibration / test, raw values in all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.config import DataConfig, TextConfig
from pipeline.data.sources import find

if TYPE_CHECKING:
    from pipeline.data.divide import Split, Splits
    from pipeline.data.prepared import Write
    from pipeline.data.sources.source import Source

# a recipe is checked without what reads and divides data: that is imported where it is needed

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


def __getattr__(name: str) -> Any:
    if name in ("Split", "Splits"):
        from pipeline.data import divide

        return getattr(divide, name)
    raise AttributeError(name)


def input_shapes(config: DataConfig) -> dict[str, tuple[int, ...]] | None:
    """Return input name -> shape of one sample, without loading any; None where the source's file is not there.

    A text has the shape ().

    Raises:
        InputError: the file is damaged, or does not hold what the source asks for.
    """
    shapes: dict[str, tuple[int, ...]] | None = find(config.source).input_shapes(config)
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
    from pipeline.data.divide import divide

    return divide(_read(config, store), config, strings=strings, look=look)


def own_test(config: DataConfig, store: Path | None = None) -> int:
    """Return how many samples the source itself has put into a test split; a cross-validation leaves them alone.

    Args and Raises: as `load`.
    """
    return len(_read(config, store).given.get("test", ()))


def _read(config: DataConfig, store: Path | None) -> Source:
    from pipeline.data import prepared

    def prepare(write: Write) -> Path:  # the key is the hash of all content: only what decodes needs it
        return prepared.prepare(store, _key(config), write)

    found: Source = find(config.source).load(config, prepare)
    return found


def content_hash(config: DataConfig) -> str:
    """Return the hash of the source's raw content, without importing what reads it.

    Raises:
        InputError: the file cannot be read.
        MissingError: the source is not installed.
    """
    from pipeline.data import content

    module = find(config.source)
    paths = module.files(config)
    places = getattr(module, "PLACES", None)
    return content.digest(paths, places(config, paths) if places else None)


def libraries(config: DataConfig) -> tuple[str, ...]:
    """Return the distributions whose version decides what becomes of the source's content."""
    found = getattr(find(config.source), "LIBRARIES", ())
    return tuple(found(config) if callable(found) else found)


def decoded(config: DataConfig, store: Path) -> Path | None:
    """Return where the data as `load` has to decode it is or will be; None where the source needs no decoding."""
    from pipeline.data import prepared

    decodes = getattr(find(config.source), "DECODES", False)
    if callable(decodes):
        decodes = decodes(config)
    return prepared.folder(store, _key(config)) if decodes else None


def _key(config: DataConfig) -> str:
    from pipeline import machine
    from pipeline.data import content, prepared

    settings = {name: value for name, value in config.decisive().items() if name not in _LATER}
    code = content.digest(sorted((Path(__file__).parent / "sources").rglob("*.py")))
    basis = {"settings": settings, "content": content_hash(config), "code": code}
    return prepared.key(basis | {"versions": machine.versions(libraries(config))})
