"""The recipe's section `data`, as types: where samples come from, how they are divided, how training reads them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline import metric as metrics
from pipeline.config import NEUTRAL, Frozen
from pipeline.data.augment import AugmentConfig
from pipeline.data.split import SplitConfig
from pipeline.predictor import OUTPUTS, Task


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
    memory_mb: Annotated[int, NEUTRAL] = Field(
        default=1024,
        ge=1,
        description="samples that would take more, as float32, stay on the disk and are read batch by batch",
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
