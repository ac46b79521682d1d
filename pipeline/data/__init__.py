"""From the recipe's section `data` to the splits train / validation / calibration / test, raw values in all of them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from pipeline import metric as metrics
from pipeline.config import NEUTRAL, Frozen
from pipeline.data.augment import AugmentConfig
from pipeline.data.sources import SOURCES
from pipeline.data.sources.source import Target
from pipeline.data.split import NAMES, SplitConfig, split
from pipeline.errors import InputError
from pipeline.predictor import OUTPUTS, Head, Input, Samples, Spec, Task, count
from pipeline.vectorizer import learned

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from pipeline.data.sources.source import Source


class TextConfig(Frozen):
    """How texts become token ids: lower case, no punctuation, split at whitespace, as Keras' TextVectorization."""

    vocabulary: int = Field(
        default=10_000,
        ge=3,
        description="most token ids, by the frequency of words in the training split; 0 is padding, 1 any other word",
    )
    length: int = Field(default=64, ge=1, description="words of a text that count; shorter texts are padded")


class DataConfig(Frozen):
    """Where samples come from, how they are divided, and how training reads them."""

    source: Literal["digits", "npz"] = Field(
        default="digits", description="digits: 8x8 images, bundled; npz: your own arrays, in one file"
    )
    path: Annotated[str | None, NEUTRAL] = Field(
        default=None,
        min_length=1,
        description="npz: file with x_train, y_train and, if you like, x_test, y_test; from the working directory",
    )
    input_name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z][A-Za-z0-9_]*$",
        max_length=100,
        description="npz: name of the model's input; null: image, features where a sample is a row of numbers, or text",
    )
    task: Task | None = Field(
        default=None,
        description="classification: labels are classes; regression: they are numbers to predict; reconstruction: the "
        "model gives its input back (autoencoder); null: classification, and of several outputs each by its type",
    )
    classes: tuple[str, ...] | None = Field(
        default=None, min_length=2, description="npz: names of the classes; null: the labels, 0 to the highest"
    )
    metric: str | None = Field(
        default=None,
        min_length=1,
        description="what models are judged by: accuracy f1 roc_auc top_5_accuracy r2 mae ..., f1.CLASS of one class; "
        "null: accuracy, of several labels f1, of values r2, of anomalies roc_auc",
    )
    split_seed: int = Field(
        default=0, ge=0, description="decides which sample goes into which split; the run's seed does not"
    )
    split: SplitConfig = Field(default=SplitConfig(), description="shares of the splits, together 1")
    value_range: tuple[float, float] | None = Field(
        default=None,
        description="lowest and highest raw value; null: 0..255 for uint8, else the training split's range",
    )
    text: TextConfig = TextConfig()
    augment: AugmentConfig | None = Field(default=None, description="random changes of training images; null: none")
    cache: Annotated[bool, NEUTRAL] = Field(
        default=True, description="hold the training samples as one tensor; false: gather from the array"
    )
    shuffle_buffer: int | None = Field(
        default=None,
        ge=0,
        description="places a sample moves at most, about; null mixes the whole split, 0 keeps the order",
    )
    prefetch: Annotated[int | None, NEUTRAL] = Field(
        default=None, ge=0, description="batches prepared ahead; null: TensorFlow decides"
    )

    @model_validator(mode="after")
    def _keys_are_of_the_source(self) -> DataConfig:
        given = [key for key in ("path", "input_name", "classes") if getattr(self, key) is not None]
        if self.source == "npz" and "path" not in given:
            raise ValueError("the source npz needs path, a file with the arrays x_train, y_train, x_test, y_test")
        if self.source != "npz" and given:
            raise ValueError(
                f"the source {self.source} takes no {', '.join(given)}: for a file of your own, set source to npz"
            )
        if self.input_name in OUTPUTS:
            raise ValueError(f"input_name is {self.input_name!r}, which names an output of models")
        return self

    @model_validator(mode="after")
    def _classes_are_of_a_classification(self) -> DataConfig:
        if self.classes is not None and self.task in ("regression", "reconstruction"):
            raise ValueError(f"classes names labels, which a {self.task} has not: leave it out")
        return self

    @model_validator(mode="after")
    def _metric_is_of_the_task(self) -> DataConfig:
        # without a task the labels decide it, which are not loaded yet
        task = self.task or ("classification" if self.classes is not None else None)
        if self.metric is not None and (wrong := metrics.problem(self.metric, task, self.classes)):
            raise ValueError(f"metric: {wrong}")
        return self

    @model_validator(mode="after")
    def _range_has_a_width(self) -> DataConfig:
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            low, high = self.value_range
            raise ValueError(f"value_range must be [lowest, highest] with lowest < highest, but is [{low:g}, {high:g}]")
        return self


@dataclass(frozen=True)
class Split:
    """Samples of one split.

    Attributes:
        x: raw values float32 [n, *shape] of the one input, or of each by name; of a text token ids int32 [n, length],
            or strings [n] (objects).
        y: what is to be answered, of the one head, or of each by name: labels int64 [n]; float32 [n, k] for a
            regression; for a reconstruction x scaled to [0, 1], float32 [n, *shape].
    """

    x: Samples
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


def input_shapes(config: DataConfig) -> dict[str, tuple[int, ...]] | None:
    """Return input name -> shape of one sample, without loading any; None where the source's file is not there.

    A text has the shape ().

    Raises:
        InputError: the file is damaged, or does not hold what the source asks for.
    """
    shapes: dict[str, tuple[int, ...]] | None = SOURCES[config.source].input_shapes(config)
    return shapes


def load(config: DataConfig, *, strings: bool = False) -> Splits:
    """Read the source and split it.

    Args:
        strings: texts stay strings, as what is served takes them; else they are token ids, as models take them.

    Raises:
        InputError: the file cannot be used, a class has too few samples, all values are equal, or a value is not
            finite.
        MissingError: the source is not installed.
    """
    return divide(SOURCES[config.source].load(config), config, strings=strings)


def divide(source: Source, config: DataConfig, *, strings: bool = False) -> Splits:
    """Split a source's samples as `config` says; see `load`."""
    import numpy as np

    total = count(source.x)
    targets = source.targets
    if config.task == "regression":
        targets = {name: Target(target.y, None) for name, target in targets.items()}
    classes = [target.y for target in targets.values() if target.classes is not None]
    # numbers have no classes to be stratified by
    labels = classes[0] if classes else np.zeros(total, np.int64)
    positions = split(labels, config.split.shares(), config.split_seed, source.given)
    _require_single(source, config)
    inputs: list[Input] = []
    notes: list[str] = []
    for name, array in source.x.items():
        if array.dtype.kind == "O":
            inputs.append(_text(array[positions["train"]], config, name))
            continue
        value_range, said = _value_range(array[positions["train"]], config, name if len(source.x) > 1 else "")
        inputs.append(Input(name, tuple(array.shape[1:]), value_range))
        notes += said
    heads = _judged(_heads(targets, config, inputs, positions["train"]), config.metric)
    parts = {}
    for name in NAMES:
        x = {one.name: _given(one, source.x[one.name][positions[name]], strings=strings) for one in inputs}
        y = {end: _wanted(target, positions[name]) for end, target in targets.items()}
        _require_finite(config, name, [*x.values(), *y.values()])
        if config.task == "reconstruction":
            (end,) = inputs
            low, high = end.value_range
            y = {"": (x[end.name] - np.float32(low)) / np.float32(high - low)}
        parts[name] = Split(_alone(x), _alone(y))
    spec = Spec(tuple(inputs), heads)
    if config.augment and (len(inputs) > 1 or config.task == "reconstruction"):
        raise InputError(
            "data.augment changes the images of one input, and its labels stay what they are",
            expected="one input, and another task than reconstruction",
            found=f"inputs {', '.join(one.name for one in inputs)}, task {heads[0].task}", todo="remove data.augment",
        )  # fmt: skip
    if twice := {one.name for one in inputs} & set(spec.outputs):
        raise InputError(
            "the data names an input as an output of the model is called", expected="other names than the outputs have",
            found=", ".join(sorted(twice)), todo="name the input otherwise",
        )  # fmt: skip
    return Splits(spec=spec, notes=tuple(notes), **parts)


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


def _alone(arrays: dict[str, np.ndarray]) -> Samples:
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


def _wanted(target: Target, positions: np.ndarray) -> np.ndarray:
    import numpy as np

    y: np.ndarray = target.y[positions]
    return y.astype(np.int64) if target.classes is not None else y.reshape(len(y), -1).astype(np.float32)


def _heads(
    targets: Mapping[str, Target], config: DataConfig, inputs: list[Input], train: np.ndarray
) -> tuple[Head, ...]:
    import numpy as np

    if config.task == "reconstruction":
        if len(inputs) > 1:
            raise InputError(
                "data.task is reconstruction, which is of one input", expected="one array x_train",
                found=f"inputs {', '.join(one.name for one in inputs)}",
                todo="leave the others out, or change the task",
            )  # fmt: skip
        return (Head("reconstruction", inputs[0].shape),)
    heads = []
    for name, target in targets.items():
        if target.classes is not None:
            heads.append(Head("classification", (len(target.classes),), target.classes, name))
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
    if asked or config.task == "reconstruction":
        said = ", ".join(f"data.{key}" for key in asked) or "data.task reconstruction"
        raise InputError(
            f"the input {name} is a text, and the recipe asks for what is of numbers", expected=f"no {said}",
            found="an array of strings", todo=f"remove {said}",
        )  # fmt: skip
    found = learned(texts, config.text.vocabulary, config.text.length)
    if not found.words:
        raise InputError(
            f"the texts of {name} have no words", expected="words in the training split",
            found=f"{len(texts)} texts of punctuation and whitespace alone", todo="check the data",
        )  # fmt: skip
    return Input(name, (config.text.length,), (0.0, found.size - 1.0), found)


def _given(one: Input, array: np.ndarray, *, strings: bool) -> np.ndarray:
    import numpy as np

    if one.vectorizer is None:
        return array.astype(np.float32)
    return array if strings else one.vectorizer.ids(array)


def _require_finite(config: DataConfig, split_name: str, arrays: list[np.ndarray]) -> None:
    import numpy as np

    bad = sum(int(np.count_nonzero(~np.isfinite(array))) for array in arrays if array.dtype.kind == "f")
    if bad:
        raise InputError(
            f"the data source {config.source!r} holds values that are not finite",
            expected="finite numbers",
            found=f"{bad} such values in the {split_name} split",
            todo="replace or remove them in the data",
        )


def _value_range(x: np.ndarray, config: DataConfig, name: str) -> tuple[tuple[float, float], tuple[str, ...]]:
    """Return the range of one input's raw values, and what to say of it; `name` is empty where it is the only one."""
    low, high = float(x.min()), float(x.max())
    of = f" of {name}" if name else ""
    if config.value_range is not None:
        stated_low, stated_high = config.value_range
        if low < stated_low or high > stated_high:
            note = (
                f"data.value_range is {stated_low:g}..{stated_high:g}, but training values{of} reach {low:g}..{high:g}"
            )
            return config.value_range, (note,)
        return config.value_range, ()
    if x.dtype.name == "uint8":
        return (0.0, 255.0), (f"data.value_range{of} is not given: 0..255 is taken, because the values are uint8",)
    if not low < high:
        raise InputError(
            f"data.value_range{of} cannot be inferred",
            expected="training values that differ",
            found=f"the value {low:g} everywhere",
            todo="set data.value_range to [lowest, highest], or check the data",
        )
    return (low, high), (f"data.value_range{of} is not given: {low:g}..{high:g} is taken, the training split's range",)


def content_hash(config: DataConfig) -> str:
    """Return the sha256 of the source's raw content, without importing what reads it.

    Raises:
        InputError: the file cannot be read.
        MissingError: the source is not installed.
    """
    content = hashlib.sha256()
    for path in SOURCES[config.source].files(config):
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: content)  # goes on with `content`, in chunks
    return content.hexdigest()
