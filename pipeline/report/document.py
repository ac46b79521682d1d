"""`report.json` as types: the contract for scripts. Keys only ever get added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter

from pipeline.compress.sensitivity_table import Sensitivity
from pipeline.config import Frozen
from pipeline.files import write_json
from pipeline.measuring.layer_times import LayerTimes
from pipeline.report.answers import SplitAnswers
from pipeline.report.baseline import Baseline
from pipeline.report.data import Data
from pipeline.report.forecast import Forecast
from pipeline.report.model import Clustered, Interval, Model
from pipeline.report.speed import Speed

ARTIFACTS = "artifacts.json"


class Stage(Frozen):
    """What became of a stage; `reason` says why it ran or was reused, `fits` how fast its models were trained."""

    name: str
    status: Literal["run", "reused", "skipped", "failed"]
    seconds: float | None = None
    reason: str = ""
    metrics: Mapping[str, float] = Field(default_factory=dict)
    fits: tuple[Speed, ...] = ()


class Operators(Frozen):
    """What the graph in an exported file consists of.

    `integer` and `floating` count the operators that compute in int8 (or int16, int32) and in float, `floating_names`
    names the latter's kinds with their counts. `conversions` count those that only go from one to the other (QUANTIZE,
    DEQUANTIZE, QuantizeLinear, ...), `fake_quant` those that imitate quantization in float. `zero_channels` counts
    output channels of kernels whose weights are all zero, of `channels`: only such zeros could be left out of the
    computation. `first` is the kind of the first operator that computes, `first_integer` whether it does in integers.
    """

    integer: int
    floating: int
    floating_names: dict[str, int] = Field(default_factory=dict)
    conversions: int = 0
    fake_quant: int = 0
    zero_channels: int = 0
    channels: int = 0
    first: str | None = None
    first_integer: bool = False


class Faster(Frozen):
    """Batch-1 latency of `against` over that of `artifact`, in one place; from the blocks in which they took turns."""

    runtime: str
    protocol: str | None
    artifact: str
    against: str
    value: float
    low: float
    high: float
    pairs: int


class Bought(Frozen):
    """What a stage bought against the stage before it.

    Sizes are ratios of gzipped bytes, before over after, of the files `sizes` names (before, after); `accuracy_drop` is
    positive where accuracy was lost. `verdict` says in plain words what came of it, `causes` why it is not faster where
    it is not, from what is in the files.
    """

    stage: str
    against: str
    parameters_ratio: float
    macs_ratio: float
    size_ratio: float | None = None
    sizes: tuple[str, str] | None = None
    accuracy_drop: Interval | None = None
    faster: list[Faster] = Field(default_factory=list)
    verdict: str
    causes: list[str] = Field(default_factory=list)


class Explained(Frozen):
    """Why a file that was quantized after training is not faster than its stage's float32 file, from what is in it."""

    artifact: str
    against: str
    causes: list[str]


class Parity(Frozen):
    """Agreement with the Keras model of the same stage over the test split, computed on logits, or on values.

    Of several outputs the worst. `top1_agreement` is null where none answers logits of classes, `label_agreement` where
    none answers several labels: the share of samples of which every label is answered alike. `r2` is null where all
    answer logits: the share of the variance of the Keras model's values that this one's reproduce.
    """

    against: str
    samples: int
    top1_agreement: float | None
    top1_agreement_low: float | None
    top1_agreement_high: float | None
    label_agreement: float | None = None
    label_agreement_low: float | None = None
    label_agreement_high: float | None = None
    r2: float | None = None
    max_abs_error: float
    mean_abs_error: float

    def agreement(self) -> Interval:
        """Return the least of `agreements`; at most 1."""
        return min(self.agreements(), key=lambda one: one.value)

    def agreements(self) -> list[Interval]:
        """Return the shares of samples with the same top-1 and the same labels, and R2, of those that there are."""
        found = [] if self.r2 is None else [Interval(value=self.r2, low=self.r2, high=self.r2)]
        for same, low, high in (
            (self.top1_agreement, self.top1_agreement_low, self.top1_agreement_high),
            (self.label_agreement, self.label_agreement_low, self.label_agreement_high),
        ):
            if same is not None and low is not None and high is not None:
                found.append(Interval(value=same, low=low, high=high))
        return found


class Speedup(Frozen):
    """Latency of `against` in the same runtime and protocol over this one's: more than 1 is better.

    `valid`: both sides' blocks are.
    """

    against: str
    value: float
    low: float
    high: float
    pairs: int
    valid: bool


class Latency(Frozen):
    """Latencies of one LoadGen scenario, from `queries` queries in alternating blocks; each with its 95 % interval.

    Milliseconds per query; throughput is in samples per second. `valid` is the load generator's word and `problems` its
    reasons; `histogram` holds every query in buckets that can be added up.
    """

    scenario: str
    queries: int
    valid: bool
    problems: list[str] = Field(default_factory=list)
    settings: dict[str, Any]
    p50_ms: float
    p50_low: float
    p50_high: float
    p90_ms: float
    p90_low: float
    p90_high: float
    p99_ms: float
    p99_low: float
    p99_high: float
    throughput_per_s: float
    throughput_low: float
    throughput_high: float
    block_p50_ms: list[float]
    histogram: dict[str, Any]
    speedup: Speedup | None = None


class Check(Frozen):
    """What a served model was put to, in `requests` requests, and what went wrong; nothing: it survived."""

    name: Literal["malformed-requests"]
    requests: int
    problems: list[str]


class Run(Frozen):
    """One artifact in one runtime.

    `threads` is null where nobody knows: a remote server's. `encoding` is that of the tensors on the wire. `judged` are
    the keys of the metrics that it is judged by, one for each output; of these there is a `METRIC_drop`, too.
    """

    runtime: Literal["served", "litert", "onnxruntime", "tflite-micro", "tensorflow"]
    protocol: Literal["grpc", "rest"] | None = None
    threads: int | None
    target: Literal["docker", "binary", "remote", "embedded", "in-process"] = "in-process"
    server: dict[str, str | None] | None = None
    encoding: str | None = None
    metrics: dict[str, Interval]
    judged: list[str] = Field(default_factory=list)
    parity: Parity
    latency: list[Latency]
    checks: list[Check] = Field(default_factory=list)

    def single_stream(self) -> Latency | None:
        """Return the latency of one sample."""
        return next((latency for latency in self.latency if latency.scenario == "SingleStream"), None)

    def batched(self) -> Latency | None:
        """Return the latency of a batch."""
        return next((latency for latency in self.latency if latency.scenario == "MultiStream"), None)


class Artifact(Frozen):
    """An exported file and everything that was measured on it.

    `clustered`: what clustering left in it; null where its stage has none.
    `batch`: the only number of samples that it takes at once; null: any. More are then measured one after another.
    `beside`: files in artifacts/ that say what it takes: how texts become token ids, what a table's columns are.
    `labels`: files in artifacts/ with the names of its classes, a name a line; the artifact itself holds them too.
    `transient`: its error is one of the moment (a killed server, a time-out), which the next run does not keep.
    """

    id: str
    stage: str
    format: Literal["saved_model", "tflite", "onnx"]
    precision: str
    path: str | None = None
    bytes: int | None = None
    gzip_bytes: int | None = None
    parameters: int | None = None
    macs: int | None = None
    sparsity: float | None = None
    clustered: Clustered | None = None
    operators: Operators | None = None
    batch: int | None = None
    beside: list[str] = Field(default_factory=list)
    labels: list[str] = Field(default_factory=list)
    optional: bool = False
    error: str | None = None
    transient: bool = False
    runs: list[Run] = Field(default_factory=list)


class Gate(Frozen):
    """A limit, what was found, and what to try where it was missed.

    `upper`: the limit is the highest value that is allowed, else the lowest. `message` says all in a line; `todo` is
    its last part, what to try, and empty where the gate passed.
    """

    name: str
    artifact: str
    limit: float
    value: float | None
    low: float | None
    high: float | None
    passed: bool
    message: str
    upper: bool = False
    unit: str = ""
    todo: str = ""


class Serving(Frozen):
    """Which target served, and why others were passed over where the recipe asks for "auto"."""

    asked: str
    target: str
    passed_over: dict[str, str]


class Failure(Frozen):
    """Why a run ended in error."""

    stage: str | None
    message: str
    exit_code: int


class Report(Frozen):
    """The whole of `report.json`.

    Verdict "error": the run failed, or failures of the moment left something unjudged; the same command goes on.
    `to_serve` is the SavedModel that is served as the result: the last float one.
    Verdict "incomplete": nothing failed, but nothing was judged either (--until, or a recipe without limits).
    `folder` is the run's folder as it was named, `store` where results were kept and found, `settings` the recipe with
    every default, as in its recipe.yaml.
    `forecast` is what doctor foresaw before anything was trained, null where that was not asked; `unforeseen` are the
    places where something else came of it, `decided` what the run decided where the forecast left something open.
    `needs_trust`: that file names programs, images or hosts, so the command takes it only with --trust.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    modelmill: str
    recipe: str
    seed: int
    verdict: Literal["pass", "fail", "error", "incomplete"]
    reference: str | None = None
    final: str | None = None
    to_serve: str | None = None
    failure: Failure | None = None
    serving: Serving | None = None
    stages: list[Stage]
    models: list[Model] = Field(default_factory=list)
    bought: list[Bought] = Field(default_factory=list)
    explained: list[Explained] = Field(default_factory=list)
    artifacts: list[Artifact] = Field(default_factory=list)
    gates: list[Gate] = Field(default_factory=list)
    tested: SplitAnswers | None = None
    data: Data | None = None
    baseline: Baseline | None = None
    layer_times: LayerTimes | None = None
    sensitivity: Sensitivity | None = None
    forecast: Forecast | None = None
    unforeseen: list[str] = Field(default_factory=list)
    decided: list[str] = Field(default_factory=list)
    folder: str | None = None
    store: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    needs_trust: bool = False
    machine: dict[str, Any]
    compute: dict[str, Any] | None = None
    training: dict[str, list[float]] = Field(default_factory=dict)


_ARTIFACTS = TypeAdapter(list[Artifact])


def write_artifacts(artifacts: Iterable[Artifact], folder: Path) -> None:
    """Write what is known of the exported files into a stage's folder."""
    write_json(folder / ARTIFACTS, _ARTIFACTS.dump_python(list(artifacts), mode="json"))


def read_artifacts(folder: Path) -> list[Artifact]:
    """Return what a stage's folder knows of the exported files."""
    return _ARTIFACTS.validate_json((folder / ARTIFACTS).read_bytes())
