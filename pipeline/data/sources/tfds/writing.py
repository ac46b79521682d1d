"""From the examples of a DatasetBuilder to arrays on the disk, one example at a time."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.sources import layout, stored
from pipeline.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data.config import DataConfig
    from pipeline.data.sources.tfds.config import Config


def write(config: DataConfig, section: Config, builder: Any, folder: Path) -> None:
    """Write the splits of a set into a prepared folder.

    Args:
        builder: a DatasetBuilder whose files are in place.

    Raises:
        InputError: a split or a feature is not there, or examples differ in shape.
    """
    splits = _splits(section, builder)
    given, wanted = _features(config, section, builder)
    total = sum(count for _, count in splits.values())
    found: dict[str, range] = {}
    answers = array("d")
    place = width = 0
    shape: tuple[int, ...] | None = None
    name, into = "", None
    with ExitStack() as stack:
        for split, (said, count) in splits.items():
            found[split] = range(place, place + count)
            for example in _examples(builder, said):
                x = example[given]
                if shape is None:
                    text = isinstance(x, (bytes, str))
                    shape = () if text else tuple(x.shape)
                    name = config.input_name or ("text" if text else {1: "features"}.get(len(shape), "image"))
                    sample = (*shape, 1) if len(shape) == 2 else shape
                    into = (
                        stack.enter_context(stored.Texts(folder, name)) if text
                        else stored.samples(folder, name, (total, *sample), x.dtype)
                    )  # fmt: skip
                if isinstance(into, stored.Texts):
                    into.append(x.decode(errors="replace") if isinstance(x, bytes) else x)
                elif tuple(x.shape) != shape:
                    raise InputError(
                        f"the {given} of {section.name} differ in shape", expected=f"{list(shape)}, as the first has",
                        found=f"{list(x.shape)} in example {place - found[split].start + 1} of {said}",
                        todo="write them in one size, for example into an image folder or an .npz",
                    )  # fmt: skip
                else:
                    assert into is not None
                    into[place] = x.reshape(into.shape[1:])
                if wanted is not None:
                    values = _numbers(example[wanted], wanted, section)
                    width = len(values)
                    answers.extend(values)
                place += 1
    classes = {} if wanted is None else {"": _write_answers(config, builder, wanted, answers, width, folder, section)}
    kept = {split: list(positions) for split, positions in found.items() if split != "train"}
    stored.describe(folder, [name], classes, given=kept)


def _splits(section: Config, builder: Any) -> dict[str, tuple[str, int]]:
    """Return split -> its name in the set, and how many examples it has."""
    said = {"train": section.train}
    for split, stated in (("validation", section.validation), ("test", section.test)):
        own = stated or (split if split in builder.info.splits else None)
        said |= {} if own is None else {split: own}
    try:
        counted = {split: (name, int(builder.info.splits[name].num_examples)) for split, name in said.items()}
    except (KeyError, ValueError) as error:
        raise InputError(
            f"the data set {section.name} has no such split", expected=", ".join(map(str, builder.info.splits)),
            found=str(error), todo="correct data.tfds.train, validation or test",
        ) from None  # fmt: skip
    return counted


def _features(config: DataConfig, section: Config, builder: Any) -> tuple[str, str | None]:
    """Return the names of the feature that goes into the model and of that to predict."""
    keys = builder.info.supervised_keys or (None, None)
    given, wanted = section.input or keys[0], section.label or keys[-1]
    there = list(builder.info.features)
    if config.task == "reconstruction" and section.label is None:
        wanted = None
    elif wanted is None or wanted not in there:
        given = None
    if not isinstance(given, str) or given not in there:
        raise InputError(
            f"the data set {section.name} does not say which of its features are taken",
            expected="data.tfds.input and data.tfds.label",
            found=f"features {', '.join(map(str, there))}; supervised_keys {builder.info.supervised_keys}",
            todo="name two of these features",
        )  # fmt: skip
    return given, wanted


def _examples(builder: Any, split: str) -> Iterator[dict[str, Any]]:
    import tensorflow_datasets

    yield from tensorflow_datasets.as_numpy(builder.as_dataset(split=split, shuffle_files=False))


def _numbers(value: Any, name: str, section: Config) -> list[float]:
    import numpy as np

    found: np.ndarray = np.atleast_1d(value)
    if found.dtype.kind not in "iufb" or found.ndim > 1:
        raise InputError(
            f"the {name} of {section.name} is nothing to predict", expected="a class or numbers",
            found=f"{found.dtype} {list(found.shape)}", todo="name another feature in data.tfds.label",
        )  # fmt: skip
    return [float(one) for one in found]


def _write_answers(
    config: DataConfig, builder: Any, name: str, values: array[float], width: int, folder: Path, section: Config
) -> tuple[str, ...] | None:
    import numpy as np

    y = np.frombuffer(values).reshape(-1, width)
    if config.task == "regression":
        stored.answers(folder, y.shape, "float64")[:] = y
        return None
    if width != 1 or np.any(y % 1):
        raise InputError(
            f"the {name} of {section.name} has no classes", expected="one integer in each example",
            found=f"{y[0].tolist()}", todo="set data.task to regression, or name another feature in data.tfds.label",
        )  # fmt: skip
    labels = y[:, 0].astype(np.int64)
    names = getattr(builder.info.features[name], "names", None)  # of a ClassLabel
    stated = config.classes or (tuple(names) if names else None)
    stated = layout.classes(labels, config.model_copy(update={"classes": stated}), f"label {name} of {section.name}")
    stored.answers(folder, labels.shape, "int64")[:] = labels
    return stated
