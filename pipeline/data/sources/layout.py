"""The layout of Keras' own data sets, x_train, y_train, x_test, y_test, whatever file each array is in.

Where a model has several inputs or outputs there is one array for each, with its name: x_train_NAME, y_train_NAME. The
test arrays are kept as the test split.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.data.sources.source import Given, Source, Target
from pipeline.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data.config import DataConfig

LAYOUT = (
    "numbers x_train [n, height, width], [n, height, width, channels] or [n, features], or strings [n], and integers "
    "y_train [n], or "
    "with data.task regression floats [n] or [n, values], with data.task multilabel 0 or 1 [n, labels]; "
    "x_test and y_test in the same way, or neither; "
    "x_train_NAME and y_train_NAME, one for each, where there are several inputs or outputs"
)

ARRAY = re.compile(r"(?P<side>[xy])_(?P<part>train|test)(?:_(?P<name>[A-Za-z][A-Za-z0-9_]*))?")
# dtype's kinds: integers and floats
_NUMBERS = "iuf"
# texts: Unicode, and bytes in UTF-8
_STRINGS = "US"

# makes one array of samples, or what reads like one, of two
Join = Callable[[Sequence["np.ndarray"]], "np.ndarray"]
# name of an array -> shape and dtype
Headers = dict[str, tuple[tuple[int, ...], "np.dtype"]]


def headers(
    stored: Sequence[str], read: Callable[[str], tuple[tuple[int, ...], np.dtype]], config: DataConfig, *,
    where: str, todo: str,
) -> Headers:  # fmt: skip
    """Return shape and dtype of the arrays of the layout, checked.

    Args:
        stored: names of the arrays that there are.
        read: name -> shape and dtype.
        where: what they are in, for messages: "data file PATH".
        todo: how such arrays are written.

    Raises:
        InputError: some are absent, or do not fit together.
    """
    found = {name: read(name) for name in wanted(stored, config, where, todo)}
    if problems := list(_problems(found, config)):
        raise InputError(f"the arrays in the {where} do not fit", expected=LAYOUT, found="; ".join(problems), todo=todo)
    return found


def wanted(stored: Sequence[str], config: DataConfig, where: str, todo: str) -> list[str]:
    """Return the names of the arrays that there have to be; see `headers`."""
    found = _wanted(stored, config)
    if absent := [name for name in found if name not in stored]:
        raise InputError(
            f"the {where} lacks {' and '.join(absent)}", expected=LAYOUT,
            found=f"arrays {', '.join(stored)}" if stored else "no arrays", todo=todo,
        )  # fmt: skip
    return found


def shapes(found: Headers, config: DataConfig) -> dict[str, tuple[int, ...]]:
    """Return input name -> shape of one sample."""
    inputs = {}
    for name, (shape, _) in found.items():
        side, part, end = _split(name)
        if (side, part) == ("x", "train"):
            sample = _sample_shape(shape)
            inputs[end or _default(config, len(sample) + 1)] = sample
    return inputs


def source(
    arrays: Mapping[str, np.ndarray], config: DataConfig, where: str,
    join: Join | None = None,
) -> Source:  # fmt: skip
    """Return all samples, those of x_test behind those of x_train.

    Args:
        arrays: that `headers` found fit.
        join: what joins arrays of numbers, where not numpy.concatenate does.

    Returns:
        x in the stored dtype, [n, height, width, channels] or [n, features], or strings [n] as objects; y int64 [n], or
        floats as stored.

    Raises:
        InputError: labels are no numbers of classes, or texts cannot be read.
    """
    import numpy as np

    arrays = {name: _shaped(name, array) for name, array in arrays.items()}
    if config.task == "anomaly" and "y_train" not in arrays:  # none of them is one
        arrays["y_train"] = np.zeros(len(arrays["x_train"]), np.int64)
    given: dict[Given, np.ndarray] = {}
    joined = {}
    for name, array in arrays.items():
        side, part, end = _split(name)
        if part == "train":
            rest = arrays.get(_joined(side, "test", end))
            joined[side, end] = array if rest is None else _joined_as(array, rest, join, side)
            if rest is not None:
                given = {"test": np.arange(len(array), len(array) + len(rest))}
    x = {
        end or _default(config, array.ndim): _readable(array, where)
        for (side, end), array in joined.items()
        if side == "x"
    }
    targets = {end: _target(array, config, where) for (side, end), array in joined.items() if side == "y"}
    if len(targets) == 1:  # the only one needs no name
        targets = {"": next(iter(targets.values()))}
    return Source(x, targets, given)


def _shaped(name: str, array: np.ndarray) -> np.ndarray:
    import numpy as np

    # labels may be a column, of any integer type
    shape = array.shape
    shaped = _sample_shape(shape) if name[0] == "x" else shape[1:] if shape[1:] != (1,) else ()
    array = array.astype(np.int64) if name[0] == "y" and array.dtype.kind in "iu" else array
    return array.reshape(len(array), *shaped)


def _joined_as(train: np.ndarray, test: np.ndarray, join: Join | None, side: str) -> np.ndarray:
    import numpy as np

    own = join is not None and side == "x" and train.dtype.kind in _NUMBERS
    return join([train, test]) if own and join is not None else np.concatenate([train, test])


def _split(name: str) -> tuple[str, str, str]:
    """Return side, part and name of an end of an array's name: x_train_left -> x, train, left."""
    found = ARRAY.fullmatch(name)
    assert found is not None, name
    return found["side"], found["part"], found["name"] or ""


def _joined(side: str, part: str, end: str) -> str:
    return f"{side}_{part}_{end}" if end else f"{side}_{part}"


def _default(config: DataConfig, rank: int) -> str:
    return config.input_name or {1: "text", 2: "features"}.get(rank, "image")


def _readable(array: np.ndarray, where: str) -> np.ndarray:
    """Return strings as objects, which take the memory that each needs; all else as it is.

    Raises:
        InputError: bytes that are no UTF-8, or characters that do not exist.
    """
    import numpy as np

    if array.dtype.kind not in _STRINGS:
        return array
    try:
        texts = [text.decode() if isinstance(text, bytes) else text for text in array.tolist()]
        for text in texts:
            text.encode()
    except ValueError as error:
        raise InputError(
            f"the texts in the {where} cannot be read", expected="Unicode, or bytes in UTF-8",
            found=str(error), todo="numpy.array(TEXTS) of a list of str, without errors='surrogateescape'",
        ) from None  # fmt: skip
    return np.array(texts, dtype=object)


def _target(y: np.ndarray, config: DataConfig, where: str) -> Target:
    if config.task == "multilabel":
        return Target(y, config.classes)
    if y.dtype.kind == "f" or config.task == "regression":
        return Target(y, None)
    return Target(y, classes(y, config, where))


def _predicts_numbers(name: str, dtype: np.dtype, config: DataConfig) -> bool:
    # labels that were saved as floats by mistake are no regression; of several outputs each says by its type what it is
    return config.task == "regression" or (config.task is None and bool(_split(name)[2]) and dtype.kind == "f")


def _wanted(stored: Sequence[str], config: DataConfig) -> list[str]:
    """Return the arrays that there have to be, by those that there are.

    A reconstruction wants its inputs alone, and normal samples to learn from need no labels.
    """
    found = [_split(name) for name in stored if ARRAY.fullmatch(name)]
    tested = any(part == "test" for _, part, _ in found)
    wanted = []
    for part in ("train", "test") if tested else ("train",):
        for side in "x" if config.task == "reconstruction" else "xy":
            if config.task == "anomaly" and (part, side) == ("train", "y") and _tested_alone(stored):
                continue
            names = sorted({end for kind, _, end in found if kind == side}) or [""]
            wanted += [_joined(side, part, end) for end in names]
    return wanted


def _tested_alone(stored: Sequence[str]) -> bool:
    return "y_test" in stored and "y_train" not in stored


def _problems(found: Headers, config: DataConfig) -> Iterator[str]:
    for side in "xy":
        ends = [end for kind, part, end in map(_split, found) if (kind, part) == (side, "train")]
        if "" in ends and len(ends) > 1:
            yield f"{side}_train stands beside {', '.join(_joined(side, 'train', end) for end in ends if end)}"
    first = next(iter(found))
    for name, (shape, dtype) in found.items():
        side, part, end = _split(name)
        numbers = side == "y" and _predicts_numbers(name, dtype, config)
        if dtype.hasobject:
            yield f"{name} holds Python objects, which are never loaded"
        text = side == "x" and len(shape) == 1 and dtype.kind in _STRINGS
        table = side == "y" and config.task == "multilabel"
        kinds = _NUMBERS + "b" if table else _NUMBERS if side == "x" or numbers else "iu"
        if not (dtype.hasobject or text) and dtype.kind not in kinds:
            yield f"{name} holds {dtype}"
        if side == "x":
            fits = text or len(shape) in (2, 3, 4)
        elif table:
            fits = len(shape) == 2 and shape[1] > 1
        else:
            fits = len(shape) in (1, 2) if numbers else len(shape) == 1 or shape[1:] == (1,)
        if not fits:
            yield f"{name} has the shape {list(shape)}"
        elif 0 in shape:
            yield f"{name} is empty: {list(shape)}"
        other = _joined("x", part, _split(first)[2])
        if name != other and shape[:1] != found[other][0][:1]:
            yield f"{other} and {name} differ in length: {list(found[other][0])} and {list(shape)}"
        train = _joined(side, "train", end)
        if part == "test" and train in found:
            before, before_dtype = found[train]
            if (_sample_shape(before) if side == "x" else before[1:]) != (
                _sample_shape(shape) if side == "x" else shape[1:]
            ) and (side == "x" or numbers or table):
                yield f"{train} and {name} differ in the shape of a sample: {list(before[1:])} and {list(shape[1:])}"
            if side == "x" and before_dtype != dtype and not (text and before_dtype.kind == dtype.kind):
                yield f"{train} and {name} differ in type: {before_dtype} and {dtype}"


def _sample_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[1:], 1) if len(shape) == 3 else shape[1:]


def classes(labels: np.ndarray, config: DataConfig, where: str) -> tuple[str, ...]:
    """Return the names of the classes, those of the recipe or the labels themselves."""
    low, high = int(labels.min()), int(labels.max())
    # without names, a number above that of the samples is an id: it would cost the model as many outputs
    count = len(config.classes or labels)
    if low < 0 or low == high or high >= count:
        raise InputError(
            f"the labels in the {where} are no numbers of classes",
            expected=f"at least two different labels, each from 0 to {count - 1}, "
            + ("the positions in data.classes" if config.classes else "fewer than there are samples"),
            found=f"the label {low} on all {len(labels)} samples" if low == high else f"labels from {low} to {high}",
            todo="number the classes from 0" + (", or name all of them in data.classes" if config.classes else ""),
        )
    return config.classes or tuple(str(label) for label in range(high + 1))
