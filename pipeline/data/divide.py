"""From a source's samples to the splits train / validation / calibration / test, raw values in all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from pipeline import metric as metrics
from pipeline.data import anomalies, finite, labels, multilabel, same
from pipeline.data.sources.source import Target
from pipeline.data.split import NAMES, Name, split
from pipeline.errors import InputError
from pipeline.predictor import GIVING_BACK, Head, Input, Samples, Spec, Stored, Task, count
from pipeline.rows import Joined, Rows
from pipeline.vectorizer import learned

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from pipeline.data.config import DataConfig
    from pipeline.data.sources.source import Source


T = TypeVar("T")

_CALIBRATION_BYTES = 64 << 20
# splits that models are judged by
_JUDGED = ("validation", "test")


@dataclass(frozen=True)
class Split:
    """Samples of one split.

    Attributes:
        x: raw values float32 [n, *shape] of the one input, or of each by name; of a text token ids int32 [n, length],
            or strings [n] (objects). On the disk where they are larger than the recipe's memory.
        y: what is judged, of the one head, or of each by name: labels int64 [n]; several labels float32 [n, labels] of
            0 and 1; float32 [n, k] for a regression; for a reconstruction x scaled to [0, 1], float32 [n, *shape]; of
            anomalies 1, else 0, int64 [n]. What a fit learns of the last two is x (`batches.training`).
    """

    x: Stored
    y: Samples

    def __len__(self) -> int:
        return count(self.x)


@dataclass(frozen=True)
class Splits:
    """The four splits, what goes into a model of them, and what a reader should know (an inferred range)."""

    spec: Spec
    train: Split
    validation: Split
    calibration: Split
    test: Split
    notes: tuple[str, ...] = ()


def divide(source: Source, config: DataConfig, *, strings: bool = False, look: bool = False) -> Splits:
    """Split a source's samples as `config` says; see `load`."""
    import numpy as np

    targets, positions, told = _dealt(source, config)
    _require_single(source, config)
    notes = [*source.notes, *told]
    finite.require(source, {} if config.task in GIVING_BACK else targets, positions, config)
    inputs: list[Input] = []
    if look:
        notes += same.leaks(source.x, [target.y for target in targets.values()], positions)
    for name, array in source.x.items():
        if array.dtype.kind == "O":
            inputs.append(_text(array[positions["train"]], config, name))
            continue
        train, of = Rows(array, positions["train"]), name if len(source.x) > 1 else ""
        columns = source.columns.get(name, ())
        if columns and config.value_range is None:
            one, said = _of_columns(train, name, columns)
        else:
            value_range, said = _value_range(train, config, of)
            one = Input(name, tuple(array.shape[1:]), value_range, columns=columns)
        inputs.append(one)
        notes += said
    heads = _judged(_heads(targets, config, inputs, positions["train"]), config.metric)
    parts = {}
    large = 4 * sum(array.size for array in source.x.values()) > config.memory_mb << 20
    positions["calibration"], said = _fewer(positions["calibration"], inputs)
    notes += said
    for name in NAMES:
        stays = large and name != "calibration"
        x = {one.name: _given(one, source.x[one.name], positions[name], strings, stays=stays) for one in inputs}
        y = {end: _wanted(target, positions[name]) for end, target in targets.items()}
        if config.task == "reconstruction":
            (end,) = inputs
            y = {"": _given_back(end, x[end.name]) if name in _JUDGED else np.zeros((len(positions[name]), 0))}
        parts[name] = Split(_alone(x), _alone(y))
    spec = Spec(tuple(inputs), heads)
    if config.augment and (len(inputs) > 1 or config.task in GIVING_BACK):
        raise InputError(
            "data.augment changes the images of one input, and its labels stay what they are",
            expected="one input, and another task than reconstruction or anomaly",
            found=f"inputs {', '.join(one.name for one in inputs)}, task {heads[0].task}", todo="remove data.augment",
        )  # fmt: skip
    if twice := {one.name for one in inputs} & set(spec.outputs):
        raise InputError(
            "the data names an input as an output of the model is called", expected="other names than the outputs have",
            found=", ".join(sorted(twice)), todo="name the input otherwise",
        )  # fmt: skip
    return Splits(spec=spec, notes=tuple(notes), **parts)


def _dealt(source: Source, config: DataConfig) -> tuple[dict[str, Target], dict[Name, np.ndarray], tuple[str, ...]]:
    """Return the targets as the task wants them, the positions of each split's samples, and what to say of them."""
    import numpy as np

    targets = dict(source.targets)
    # numbers have no classes to be stratified by
    strata, anomaly, folds = np.zeros(count(source.x), np.int64), None, config.split.fold
    if config.task == "regression":
        targets = {name: Target(target.y, None) for name, target in targets.items()}
    elif config.task == "anomaly":
        only = _only(targets)
        anomaly = anomalies.labelled(only, config)
        strata = anomalies.strata(only, anomaly)
        targets = {"": Target(anomaly.astype(np.int64), ("normal", "anomaly"))}
    else:
        of_several = [name for name, one in targets.items() if one.classes is not None and one.y.ndim == 2]
        wanted = targets if config.task == "multilabel" else of_several
        targets |= {name: multilabel.required(targets[name]) for name in wanted}
    classes = [target.y for target in targets.values() if target.classes is not None]
    if classes and anomaly is None:
        strata = multilabel.strata(classes[0], folds.of if folds else 0) if classes[0].ndim == 2 else classes[0]
    if config.split.by == "random":
        strata = np.zeros(len(strata), np.int64)
    groups = _groups(source, config)
    positions = split(strata, config.split.shares(), config.split_seed, source.given, groups, folds)
    apart = len(source.given.get("test", ())) if folds else 0
    twins = len(strata) - apart - sum(map(len, positions.values()))
    notes: tuple[str, ...] = ()
    if twins:
        together = "equal to" if config.split.by == "content" else "of one group with"
        notes = (f"{twins} samples are left out: they are {together} some of a split that the data comes with",)
    if anomaly is not None:
        positions, told = anomalies.apart(positions, anomaly, source, config)
        notes += told
    for name, target in targets.items():
        if target.classes is not None and target.y.ndim == 2:
            notes += tuple(multilabel.told(target.y, target.classes, positions))
        elif target.classes is not None and config.task not in GIVING_BACK:
            notes += labels.check(name, target, positions)
    return targets, positions, notes


def _only(targets: Mapping[str, Target]) -> Target:
    if len(targets) != 1:
        raise InputError(
            "data.task is anomaly, which is of one array of labels", expected="one y_train",
            found=f"outputs {', '.join(targets) or 'none'}", todo="leave the others out, or change the task",
        )  # fmt: skip
    (only,) = targets.values()
    return only


def _groups(source: Source, config: DataConfig) -> np.ndarray | None:
    """Return what the recipe keeps together, integers [n]; None: nothing.

    Raises:
        InputError: the source's groups, and it has none.
    """
    if config.split.by == "content":
        return same.groups(source.x)
    if config.split.by == "group" and source.groups is None:
        raise InputError(
            "data.split.by is group, and the data has no groups",
            expected="table.group or text_file.group, a column; or groups that a builder returns",
            found=f"the source {config.source} without", todo="name the column of groups, or another data.split.by",
        )  # fmt: skip
    return source.groups if config.split.by == "group" else None


def _require_single(source: Source, config: DataConfig) -> None:
    """Refuse keys that say something of the one input or output where there are several."""
    given = [
        key
        for key, ends in (("value_range", source.x), ("input_name", source.x), ("classes", source.targets))
        if getattr(config, key) is not None and len(ends) > 1
    ]
    if given:
        raise InputError(
            f"data.{given[0]} is of one input or output, and there are several",
            expected="one array x_train, and for classes one y_train",
            found=f"inputs {', '.join(source.x)}; outputs {', '.join(source.targets)}",
            todo=f"leave out {', '.join(given)}",
        )  # fmt: skip


def _alone(arrays: Mapping[str, T]) -> T | Mapping[str, T]:
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


def _wanted(target: Target, positions: np.ndarray) -> np.ndarray:
    import numpy as np

    y: np.ndarray = target.y[positions]
    if target.classes is not None and y.ndim == 2:
        return y.astype(np.float32)
    return y.astype(np.int64) if target.classes is not None else y.reshape(len(y), -1).astype(np.float32)


def _heads(
    targets: Mapping[str, Target], config: DataConfig, inputs: list[Input], train: np.ndarray
) -> tuple[Head, ...]:
    import numpy as np

    if config.task in GIVING_BACK:
        if len(inputs) > 1:
            raise InputError(
                f"data.task is {config.task}, which is of one input", expected="one array x_train",
                found=f"inputs {', '.join(one.name for one in inputs)}",
                todo="leave the others out, or change the task",
            )  # fmt: skip
        return (Head(config.task, inputs[0].shape),)
    heads = []
    for name, target in targets.items():
        if target.classes is not None:
            task: Task = "multilabel" if target.y.ndim == 2 else "classification"
            heads.append(Head(task, (len(target.classes),), target.classes, name))
        else:
            values = target.y[train].reshape(len(train), -1).astype(np.float64)
            deviation = tuple(float(one) or 1.0 for one in values.std(axis=0))
            mean = tuple(float(one) for one in values.mean(axis=0))
            heads.append(Head("regression", values.shape[1:], (), name, mean, deviation))
    return tuple(heads)


def _judged(heads: tuple[Head, ...], metric: str | None) -> tuple[Head, ...]:
    """Return the heads with the metric of the recipe, where there is one: of several those that can be judged by it."""
    if metric is None:
        return heads
    wrong = [metrics.problem(metric, head.task, head.classes or None, math.prod(head.shape)) for head in heads]
    if all(wrong):
        raise InputError(
            "data.metric cannot be what models for this data are judged by",
            expected="a metric of what is to be predicted", found="; ".join(dict.fromkeys(one for one in wrong if one)),
            todo="change data.metric, or leave it out",
        )  # fmt: skip
    return tuple(head if no else replace(head, judged=metric) for head, no in zip(heads, wrong, strict=True))


def _text(texts: np.ndarray, config: DataConfig, name: str) -> Input:
    """Return the input of texts, with the vocabulary of those of the training split.

    Raises:
        InputError: they have no words, or the recipe asks of them what only numbers have.
    """
    asked = [key for key in ("value_range", "augment") if getattr(config, key) is not None]
    if asked or config.task in GIVING_BACK:
        said = ", ".join(f"data.{key}" for key in asked) or f"data.task {config.task}"
        raise InputError(
            f"the input {name} is a text, and the recipe asks for what is of numbers", expected=f"no {said}",
            found="an array of strings", todo=f"remove {said}",
        )  # fmt: skip
    found = learned(texts, config.text.vocabulary, config.text.length, config.text.rules)
    if not found.words:
        raise InputError(
            f"the texts of {name} have no words", expected="words in the training split",
            found=f"{len(texts)} texts of punctuation and whitespace alone", todo="check the data",
        )  # fmt: skip
    return Input(name, (config.text.length,), (0.0, found.size - 1.0), found)


def _given(
    one: Input, array: np.ndarray, positions: np.ndarray, strings: bool, *, stays: bool
) -> np.ndarray | Rows:  # fmt: skip
    """Return samples in memory, or, where they may stay there, on the disk."""
    import numpy as np

    if stays and isinstance(array, (np.memmap, Joined)):
        return Rows(array, positions)
    chosen: np.ndarray = array[positions]
    if one.vectorizer is None:
        return chosen.astype(np.float32)
    return chosen if strings else one.vectorizer.ids(chosen)


def _given_back(one: Input, x: np.ndarray | Rows) -> np.ndarray:
    """Return samples scaled to [0, 1], float32 [n, *shape]: what a model that gives its input back has to answer."""
    import numpy as np

    low, high = (np.asarray(bound, np.float64) for bound in one.bounds)
    found: np.ndarray = (x[:] - low.astype(np.float32)) / (high - low).astype(np.float32)
    return found


def _fewer(positions: np.ndarray, inputs: list[Input]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return as many calibration samples as converters are given at most, and what to say of it.

    They hold all of them in memory, however large that is; so the bound is the same everywhere.
    """
    sample = 4 * sum(math.prod(one.shape) for one in inputs)
    most = max(1, _CALIBRATION_BYTES // sample)
    if len(positions) <= most:
        return positions, ()
    chosen = positions[:: -(-len(positions) // most)]  # evenly, from the first to the last
    said = f"{len(chosen)} of {len(positions)} calibration samples are used"
    return chosen, (f"{said}: {_CALIBRATION_BYTES >> 20} MB, which converters hold",)


def _of_columns(x: Rows, name: str, columns: tuple[str, ...]) -> tuple[Input, tuple[str, ...]]:
    """Return an input whose columns have ranges of their own, those of the training split, and what to say of it.

    Args:
        x: training samples [n, columns].
        columns: their names.
    """
    pieces = [(piece.min(axis=0), piece.max(axis=0)) for piece in map(x.as_stored, x.pieces())]
    lows = [float(min(column)) for column in zip(*(low for low, _ in pieces), strict=True)]
    highs = [float(max(column)) for column in zip(*(high for _, high in pieces), strict=True)]
    flat = [place for place, low in enumerate(lows) if low == highs[place]]
    for place in flat:  # nothing to be learned from; whatever comes later, comes as a difference
        highs[place] = lows[place] + 1
    ranges = tuple(zip(lows, highs, strict=True))
    notes = ["data.value_range is not given: each column has a range of its own, the training split's"]
    if flat:
        named = ", ".join(columns[place] for place in flat[:10]) + (", ..." if len(flat) > 10 else "")
        notes.append(f"columns that are the same in all training samples: {len(flat)} of {len(columns)}: {named}")
    return Input(name, x.shape[1:], (min(lows), max(highs)), None, columns, ranges), tuple(notes)


def _value_range(x: Rows, config: DataConfig, name: str) -> tuple[tuple[float, float], tuple[str, ...]]:
    """Return the range of one input's raw values, and what to say of it; `name` is empty where it is the only one."""
    of = f" of {name}" if name else ""
    if config.value_range is None and x.stored.name == "uint8":
        return (0.0, 255.0), (f"data.value_range{of} is not given: 0..255 is taken, because the values are uint8",)
    ends = [(float(piece.min()), float(piece.max())) for piece in map(x.as_stored, x.pieces())]
    low, high = min(one for one, _ in ends), max(one for _, one in ends)
    if config.value_range is not None:
        stated_low, stated_high = config.value_range
        if low < stated_low or high > stated_high:
            note = (
                f"data.value_range is {stated_low:g}..{stated_high:g}, but training values{of} reach {low:g}..{high:g}"
            )
            return config.value_range, (note,)
        return config.value_range, ()
    if not low < high:
        raise InputError(
            f"data.value_range{of} cannot be inferred",
            expected="training values that differ",
            found=f"the value {low:g} everywhere",
            todo="set data.value_range to [lowest, highest], or check the data",
        )
    return (low, high), (f"data.value_range{of} is not given: {low:g}..{high:g} is taken, the training split's range",)
