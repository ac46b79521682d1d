"""From the recipe's section `data` to the splits train / validation / calibration / test, raw values in all of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from pipeline.config import NEUTRAL, Frozen
from pipeline.data import digits, npz
from pipeline.data.augment import AugmentConfig
from pipeline.data.split import NAMES, SplitConfig, split
from pipeline.errors import InputError
from pipeline.predictor import LOGITS, PROBABILITIES, Spec

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data.source import Source

SOURCES = {"digits": digits, "npz": npz}


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
        description="npz: name of the model's input; null: image, or features where a sample is a row of numbers",
    )
    classes: tuple[str, ...] | None = Field(
        default=None, min_length=2, description="npz: names of the classes; null: the labels, 0 to the highest"
    )
    split_seed: int = Field(
        default=0, ge=0, description="decides which sample goes into which split; the run's seed does not"
    )
    split: SplitConfig = Field(default=SplitConfig(), description="shares of the splits, together 1")
    value_range: tuple[float, float] | None = Field(
        default=None,
        description="lowest and highest raw value; null: 0..255 for uint8, else the training split's range",
    )
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
        if self.input_name in (LOGITS, PROBABILITIES):
            raise ValueError(f"input_name is {self.input_name!r}, which names an output of every model")
        return self

    @model_validator(mode="after")
    def _range_has_a_width(self) -> DataConfig:
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            low, high = self.value_range
            raise ValueError(f"value_range must be [lowest, highest] with lowest < highest, but is [{low:g}, {high:g}]")
        return self


@dataclass(frozen=True)
class Split:
    """Samples of one split: x float32 [n, *shape] raw values, y int64 [n]."""

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Splits:
    """The four splits, what goes into a model of them, and what a reader should know (an inferred range)."""

    spec: Spec
    train: Split
    validation: Split
    calibration: Split
    test: Split
    notes: tuple[str, ...] = ()


def input_shape(config: DataConfig) -> tuple[int, ...] | None:
    """Return the shape of one sample, without loading any; None where the source's file is not there.

    Raises:
        InputError: the file is damaged, or does not hold what the source asks for.
    """
    shape: tuple[int, ...] | None = SOURCES[config.source].input_shape(config)
    return shape


def load(config: DataConfig) -> Splits:
    """Read the source and split it.

    Raises:
        InputError: the file cannot be used, a class has too few samples, all values are equal, or a value is not
            finite.
        MissingError: the source is not installed.
    """
    source = SOURCES[config.source].load(config)
    return divide(source, config, config.input_name or ("features" if source.x.ndim == 2 else "image"))


def divide(source: Source, config: DataConfig, input_name: str) -> Splits:
    """Split a source's samples as `config` says; see `load`."""
    import numpy as np

    positions = split(source.y, config.split.shares(), config.split_seed, source.own_test)
    parts = {
        name: Split(source.x[positions[name]].astype(np.float32), source.y[positions[name]].astype(np.int64))
        for name in NAMES
    }
    for name, part in parts.items():
        if not np.isfinite(part.x).all():
            raise InputError(
                f"the data source {config.source!r} holds values that are not finite",
                expected="finite numbers",
                found=f"{np.count_nonzero(~np.isfinite(part.x))} such values in the {name} split",
                todo="replace or remove them in the data",
            )
    value_range, notes = _value_range(source.x[positions["train"]], config)
    spec = Spec(input_name, tuple(source.x.shape[1:]), value_range, source.classes)
    return Splits(spec=spec, notes=notes, **parts)


def _value_range(x: np.ndarray, config: DataConfig) -> tuple[tuple[float, float], tuple[str, ...]]:
    low, high = float(x.min()), float(x.max())
    if config.value_range is not None:
        stated_low, stated_high = config.value_range
        if low < stated_low or high > stated_high:
            note = f"data.value_range is {stated_low:g}..{stated_high:g}, but training values reach {low:g}..{high:g}"
            return config.value_range, (note,)
        return config.value_range, ()
    if x.dtype.name == "uint8":
        return (0.0, 255.0), ("data.value_range is not given: 0..255 is taken, because the values are uint8",)
    if not low < high:
        raise InputError(
            "data.value_range cannot be inferred",
            expected="training values that differ",
            found=f"the value {low:g} everywhere",
            todo="set data.value_range to [lowest, highest], or check the data",
        )
    return (low, high), (f"data.value_range is not given: {low:g}..{high:g} is taken, the training split's range",)


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
