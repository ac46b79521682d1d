"""What the report says of a stage's Keras model, as types; a stage writes it beside the model.

Apart from the rest of the report, so that a change there trains nothing anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter

from pipeline.config import Frozen
from pipeline.files import write_json

MODELS = "models.json"


class Interval(Frozen):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


class Histogram(Frozen):
    """Weights that are not zero, counted in bins of equal width from `low` to `high`; `zeros` are counted apart."""

    low: float
    high: float
    counts: list[int]
    zeros: int


class Layer(Frozen):
    """One layer of a stage's Keras model.

    `sparsity` is the share of exact zeros in its kernels and `histogram` their values, both null where it has none.
    `target` is the sparsity that pruning aimed at, null where it was not to be pruned. `pattern` is how its zeros are
    placed: "2:4" is 2 in each 4 weights along the inputs, "1x4" in blocks of 1 input and 4 outputs, null anywhere.
    `precision` is how it computes ("float32", "int8", "int8 per-channel"; "float16": in float32, of weights that the
    int8 file has as float16). `clusters` is how many distinct weights cluster allowed in each kernel, or, where
    `clustered` is "channel", in each output channel; null where it was not to be clustered. `distinct` is how many
    there are, in the kernel or channel that has most. `reason` says why a technique of the recipe left it out.
    """

    name: str
    kind: str
    parameters: int
    macs: int | None
    sparsity: float | None = None
    target: float | None = None
    pattern: str | None = None
    precision: str = "float32"
    clusters: int | None = None
    clustered: Literal["tensor", "channel"] | None = None
    distinct: int | None = None
    reason: str = ""
    histogram: Histogram | None = None


class Clustered(Frozen):
    """How many kernels of a file are clustered, and the distinct weights of the kernel, or channel, that has most."""

    kernels: int
    distinct: int


class Fitted(Frozen):
    """One of several models that were trained on the same budget.

    `model` is its section of the recipe and `name` the same in short, `seed` decided its weights and its order of
    samples. `quality` is what it is judged by on the validation split, with the weights after `epoch`; both are null
    where `error` says why it cannot be used.
    """

    name: str
    model: dict[str, Any]
    seed: int
    parameters: int
    macs: int
    epoch: int | None = None
    quality: float | None = None
    error: str = ""
    training: dict[str, list[float]] = Field(default_factory=dict)


class Several(Frozen):
    """The models of which train chose one, or which it averaged.

    `best` is the index of the one that is best on the validation split: the candidate that went on, or the best member
    of the ensemble. `quality` is that of the model that went on, by the `metric` that they are judged by. `reason` says
    in words what was chosen and why, or what the ensemble is worth.
    """

    role: Literal["candidate", "member"]
    metric: str
    fitted: list[Fitted]
    best: int
    quality: float
    reason: str


class Channels(Frozen):
    """Channels that leave together, or not at all: one group of shrink's.

    `name` is that of the layer that makes them, `NAME.2` for a further group of its channels, and `layers` are all
    that lose them as their output; none where they are inside of a layer, as attention's heads are. `before` and
    `after` are how many there are; `after` is `before` where the group was left alone, and `reason` then says why,
    unless it could have lost some and none had to go. `positions` are those that one takes in the first layer's output:
    several in a grouped convolution, two where the directions of a Bidirectional are concatenated.
    """

    name: str
    layers: list[str]
    before: int
    after: int
    positions: int = 1
    reason: str = ""

    @property
    def widths(self) -> tuple[int, int]:
        """Positions in the first layer's output, before and after."""
        return self.before * self.positions, self.after * self.positions


class Model(Frozen):
    """The Keras model that a stage made.

    `variant` is "", or what the stage made once more on the same budget: "alone", without a teacher, or "control",
    without removing channels. `sparsity` is
    the share of zeros in all kernels, `bytes` and `gzip_bytes` are those of its weights alone: float32 arrays, kernels
    of int8 layers as int8. `metrics` are over the test split; the drops are paired, both models see the same samples:
    `METRIC_drop` against the first model, `METRIC_drop_against_previous` against the stage before,
    `METRIC_gain_by_teaching` of a stage's model over the one that learned alone, and `METRIC_loss_by_removal` against
    the one that kept its channels. Empty where nothing was measured.
    `judged` are the keys of those that it is judged by, one for each output.
    `training` has a value per epoch. `taught` says in words what was learned of the teachers, a line for each kind of
    loss: logits, features, relations. `several`: what it was chosen from, or what it is the mean of. `macs` is null
    where nobody can count them: in a graph without layers. `channels` are the groups that shrink found in the model
    that came to it, in that model's order; empty for every other stage.
    """

    stage: str
    variant: Literal["", "alone", "control"] = ""
    parameters: int
    macs: int | None
    unknown_macs: list[str] = Field(default_factory=list)
    sparsity: float
    bytes: int
    gzip_bytes: int
    metrics: dict[str, Interval] = Field(default_factory=dict)
    judged: list[str] = Field(default_factory=list)
    layers: list[Layer] = Field(default_factory=list)
    training: dict[str, list[float]] = Field(default_factory=dict)
    taught: list[str] = Field(default_factory=list)
    several: Several | None = None
    channels: list[Channels] = Field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.stage} ({self.variant})" if self.variant else self.stage

    @property
    def key(self) -> str:
        """Its name in files: distill.keras, distill.alone.keras."""
        return f"{self.stage}.{self.variant}.keras" if self.variant else f"{self.stage}.keras"


_MODELS = TypeAdapter(list[Model])


def write_models(models: Iterable[Model], folder: Path) -> None:
    """Write what is known of a stage's Keras models into its folder."""
    write_json(folder / MODELS, _MODELS.dump_python(list(models), mode="json"))


def read_models(folder: Path) -> list[Model]:
    """Return what a stage's folder knows of its Keras models; none where it made none."""
    path = folder / MODELS
    return _MODELS.validate_json(path.read_bytes()) if path.exists() else []
