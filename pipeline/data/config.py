"""The recipe's section `data`, as types: where samples come from, how they are divided, how training reads them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from pipeline import metric as metrics
from pipeline import vectorizer
from pipeline.config import NEUTRAL, Frozen
from pipeline.data.augment import AugmentConfig
from pipeline.data.sources import NUMBERS, PATHS, SECTIONS
from pipeline.data.sources.image_config import Config as ImageFolderConfig
from pipeline.data.sources.table.config import Config as TableConfig
from pipeline.data.sources.text.config import Config as TextFileConfig
from pipeline.data.sources.tfds.config import Config as TfdsConfig
from pipeline.data.sources.tfrecord.config import Config as TfrecordConfig
from pipeline.data.split import SplitConfig
from pipeline.predictor import OUTPUTS, Task


class TextConfig(Frozen):
    """How texts become token ids: without other keys as Keras' TextVectorization does it."""

    vocabulary: int = Field(
        default=10_000,
        ge=3,
        description="most token ids, by the frequency of words in the training split; 0 is padding, 1 any other word",
    )
    length: int = Field(default=64, ge=1, description="words of a text that count; shorter texts are padded")
    standardize: vectorizer.Standardize = Field(
        default="lower_and_strip_punctuation",
        description="what becomes of a text first: lower_and_strip_punctuation, lower, strip_punctuation, none",
    )
    split: vectorizer.Split = Field(
        default="whitespace",
        description="where words end: whitespace; or punctuation: there, and each punctuation mark is a word",
    )
    digits: vectorizer.Digits = Field(
        default="keep", description="keep; or shape: each digit becomes a 0, so that of a number its length counts"
    )

    @model_validator(mode="after")
    def _marks_are_there_to_split_at(self) -> TextConfig:
        if self.split == "punctuation" and self.rules.strips:
            raise ValueError(
                f"split is punctuation, which standardize {self.standardize} takes away: set standardize to lower or "
                "none"
            )
        return self

    @property
    def rules(self) -> vectorizer.Rules:
        """How a text becomes words."""
        return vectorizer.Rules(self.standardize, self.split, self.digits)


class DataConfig(Frozen):
    """Where samples come from, how they are divided, and how training reads them."""

    source: Literal[
        "digits", "iris", "wine", "breast_cancer", "diabetes",
        "mnist", "fashion_mnist", "cifar10", "cifar100", "imdb",
        "npz", "npy", "image_folder", "table", "text", "tfrecord", "tfds", "builder",
    ] = Field(
        default="digits",
        description="digits (8x8 images), iris, wine, breast_cancer, diabetes (numbers to predict): bundled with "
        "scikit-learn; mnist, fashion_mnist, cifar10, cifar100, imdb (texts): downloaded by Keras into its cache; npz: "
        "your own arrays, in one file; npy: in a folder, read where they lie; image_folder: a folder of images for "
        "each class; table: .csv, .tsv or .parquet; text: .tsv or .csv with texts and labels, or folders of .txt; "
        "tfrecord: files of tf.train.Example; tfds: tensorflow-datasets; builder: what a function of yours returns",
    )  # fmt: skip
    path: Annotated[str | None, NEUTRAL] = Field(
        default=None,
        min_length=1,
        description="npz: file with x_train, y_train and, if you like, x_test, y_test; npy: folder with these; "
        "image_folder: the folder with the class folders, or with train, validation and test that have these in them; "
        "table, text: the file; tfrecord: file, folder or pattern; builder: what the function gets as `path`, if it "
        "wants one; from the working directory",
    )
    input_name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z][A-Za-z0-9_]*$",
        max_length=100,
        description="name of the model's input; null: image, features where a sample is a row of numbers, or text",
    )
    task: Task | None = Field(
        default=None,
        description="classification: labels are classes; multilabel: each sample has any number of labels, 0 or 1 in a "
        "column each; regression: they are numbers to predict; reconstruction: the model gives its input back "
        "(autoencoder); anomaly: it learns to give normal samples back, and what it gives back badly is an anomaly; "
        "null: classification, and of several outputs each by its type",
    )
    anomaly: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="task anomaly: classes of the data that count as anomalies, which are not trained with; null: the "
        "second of two",
    )
    classes: tuple[str, ...] | None = Field(
        default=None,
        min_length=2,
        description="names of the classes, in the order of their numbers; null: of an npz the labels, 0 to the "
        "highest; of folders their names, sorted; of a table and of texts what is written there",
    )
    image_folder: ImageFolderConfig | None = Field(
        default=None, description="the source image_folder: {size: [height, width], color, unreadable}; null: defaults"
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
    # what decides is the code: see `sources/builder.py`
    builder: Annotated[str | None, NEUTRAL] = Field(
        default=None,
        pattern=r"^.+\.py:[A-Za-z_][A-Za-z0-9_]*$",
        description="builder: path/to/file.py:function, called with builder_options; it returns {'x': ..., 'y': ...}, "
        "arrays as in an .npz, also x_test, y_test, classes, groups, columns. The file's code runs here, with your "
        "rights; a change of it, and of what it imports from beside it, is noticed, and of the data only below `path`",
    )
    builder_options: dict[str, JsonValue] = Field(default={}, description="builder: keyword arguments of the function")
    text_file: TextFileConfig | None = Field(default=None, description="text: which columns are the text and its label")
    tfrecord: TfrecordConfig | None = Field(default=None, description="tfrecord: what is in the records")
    tfds: TfdsConfig | None = Field(default=None, description="tfds: which set, and what of it is taken")
    table: TableConfig | None = Field(default=None, description="table: what its columns are")
    memory_mb: Annotated[int, NEUTRAL] = Field(
        default=1024,
        ge=1,
        description="samples that would take more, as float32, stay on the disk and are read batch by batch",
    )
    augment: AugmentConfig | None = Field(default=None, description="random changes of training images; null: none")
    cache: Annotated[bool, NEUTRAL] = Field(
        default=True,
        description="hold the training samples as one tensor, those on the disk where a trial of settings finds that "
        "faster; false: gather from the array",
    )
    shuffle_buffer: int | None = Field(
        default=None,
        ge=0,
        description="places a sample moves at most, about; null mixes the whole split, 0 keeps the order",
    )
    prefetch: Annotated[int | None, NEUTRAL] = Field(
        default=None,
        ge=0,
        description="batches prepared ahead; null: TensorFlow decides, or none where a trial of settings finds that "
        "faster",
    )

    def decisive(self) -> dict[str, Any]:
        """Return what a result depends on: the name of the builder's function, wherever its file lies."""
        function = {} if self.builder is None else {"builder_function": self.builder.rpartition(":")[2]}
        return super().decisive() | function

    @model_validator(mode="after")
    def _keys_are_of_the_source(self) -> DataConfig:
        given = [key for key in ("path", "input_name", "classes") if getattr(self, key) is not None]
        if self.source in PATHS and "path" not in given:
            raise ValueError(f"the source {self.source} needs path, {PATHS[self.source]}")
        if self.source == "builder":
            if self.builder is None:
                raise ValueError("the source builder needs builder, path/to/file.py:function")
        elif self.builder_options:
            raise ValueError(f"builder_options are for the source builder, but source is {self.source}")
        elif self.source == "tfds":
            if self.path is not None:
                raise ValueError("the source tfds takes no path: its sets lie in data.tfds.data_dir")
        elif self.source not in PATHS and given:
            raise ValueError(
                f"the source {self.source} takes no {', '.join(given)}: for a file of your own, set source to npz; for "
                "a folder of images, to image_folder"
            )
        if self.source in ("tfrecord", "tfds") and getattr(self, self.source) is None:
            raise ValueError(f"the source {self.source} needs a section {self.source}, which says what is taken")
        for key, source in SECTIONS.items():
            if getattr(self, key) is not None and self.source != source:
                raise ValueError(f"the section {key} is for the source {source}, but source is {self.source}")
        if self.input_name in OUTPUTS:
            raise ValueError(f"input_name is {self.input_name!r}, which names an output of models")
        return self

    @model_validator(mode="after")
    def _task_is_of_the_source(self) -> DataConfig:
        if self.source in NUMBERS and self.task not in (None, "regression", "reconstruction"):
            raise ValueError(f"{self.source} holds numbers to predict: task is regression or reconstruction")
        return self

    @model_validator(mode="after")
    def _folders_are_classes(self) -> DataConfig:
        if self.source == "image_folder" and self.task in ("regression", "multilabel"):
            raise ValueError(f"folders of images name classes, and the task is {self.task}: take an npz")
        return self

    @model_validator(mode="after")
    def _classes_are_of_a_classification(self) -> DataConfig:
        if self.classes is not None and self.task in ("regression", "reconstruction"):
            raise ValueError(f"classes names labels, which a {self.task} has not: leave it out")
        return self

    @model_validator(mode="after")
    def _anomalies_are_classes(self) -> DataConfig:
        if self.anomaly is not None and self.task != "anomaly":
            raise ValueError(f"anomaly names classes for the task anomaly, but task is {self.task or 'null'}")
        unknown = [name for name in self.anomaly or () if self.classes and name not in self.classes]
        if unknown:
            raise ValueError(f"anomaly names {', '.join(unknown)}, but classes has {', '.join(self.classes or ())}")
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
