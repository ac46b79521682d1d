"""`report.json` as types: the contract for scripts. Keys only ever get added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter

from pipeline.compress.sensitivity_table import Sensitivity
from pipeline.config import Frozen
from pipeline.files import write_json
from pipeline.measuring.layer_times import LayerTimes
from pipeline.report.answers import SplitAnswers
from pipeline.report.baseline import Baseline
from pipeline.report.data import Data
from pipeline.report.edge import Edge as Edge
from pipeline.report.forecast import Forecast
from pipeline.report.gate import Gate as Gate
from pipeline.report.model import Clustered, Interval, Model
from pipeline.report.operators import Operators as Operators
from pipeline.report.shipped import Shipped
from pipeline.report.speed import Speed
from pipeline.report.startup import Delegated, Startup

ARTIFACTS = "artifacts.json"


def _one_name(text: str) -> str:
    if text in ("", ".", "..") or any(mark in text for mark in "/\\\0\n"):
        raise ValueError(f"{text!r} is not the name of one file or folder")
    return text


def _in_artifacts(text: str) -> str:
    folder, _, name = text.partition("/")
    if folder != "artifacts":
        raise ValueError(f"{text!r} is not artifacts/NAME")
    return f"{folder}/{_one_name(name)}"


# a report may be a stranger's: what it names becomes a path, which must not leave the folder that it is meant for
FileName = Annotated[str, AfterValidator(_one_name)]
ArtifactPath = Annotated[str, AfterValidator(_in_artifacts)]


class Stage(Frozen):
    """What became of a stage; `reason` says why it ran or was reused, `fits` how fast its models were trained."""

    name: str
    status: Literal["run", "reused", "skipped", "failed"]
    seconds: float | None = None
    reason: str = ""
    metrics: Mapping[str, float] = Field(default_factory=dict)
    fits: tuple[Speed, ...] = ()


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
    """Why a file in another precision, or with a fixed batch, is not faster than its stage's float32 file."""

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


class ServedSpeed(Frozen):
    """How fast one served artifact answers over one protocol.

    `throughput_per_s` is of batches of `batch` samples. `speedup` is against the served float32 reference, in the same
    blocks; null for that one. `model_ms` is the p50 of the same file in LiteRT in process, without a server; null where
    it was not timed there. `why` says what explains the speed, from what is in the file and from what was measured.
    """

    artifact: str
    protocol: Literal["grpc", "rest"] | None
    p50_ms: float
    p50_low: float
    p50_high: float
    p99_ms: float
    throughput_per_s: float | None
    batch: int | None
    valid: bool
    speedup: Speedup | None
    model_ms: float | None
    why: list[str]


class Fastest(Frozen):
    """What is fastest when served: the rows of each protocol, fastest first, and in words which, and by how much.

    `against` is the id of the served float32 SavedModel that all are compared with. `results` has a line for each
    protocol; `said` what a request costs besides the model, how more could be proven, and what was not served.
    """

    target: str
    server: dict[str, str | None]
    against: str
    rows: list[ServedSpeed]
    results: dict[str, str] = Field(default_factory=dict)
    said: list[str]


class Check(Frozen):
    """What a served model was put to, in `requests` requests, and what went wrong; nothing: it survived."""

    name: Literal["malformed-requests"]
    requests: int
    problems: list[str]


class Run(Frozen):
    """One artifact in one runtime.

    `threads` is null where nobody knows: a remote server's, a device's. `encoding` is that of the tensors on the wire.
    `judged` are the keys of the metrics that it is judged by, one for each output; of these there is a `METRIC_drop`,
    too. A "device" is behind the user's edge.command, which only times the file: no metrics, and `parity` is null.
    `latency` is empty of tflite-micro: how long its kernels take on this machine says nothing of a microcontroller.
    `startup` is null but for files in LiteRT and ONNX Runtime; `unstarted` is why it could not be measured of one.
    """

    runtime: Literal["served", "litert", "onnxruntime", "tflite-micro", "tensorflow", "device"]
    protocol: Literal["grpc", "rest"] | None = None
    threads: int | None
    target: Literal["docker", "binary", "remote", "embedded", "in-process"] = "in-process"
    server: dict[str, str | None] | None = None
    encoding: str | None = None
    metrics: dict[str, Interval]
    judged: list[str] = Field(default_factory=list)
    parity: Parity | None
    latency: list[Latency]
    checks: list[Check] = Field(default_factory=list)
    startup: Startup | None = None
    unstarted: str | None = None

    def single_stream(self) -> Latency | None:
        """Return the latency of one sample."""
        return next((latency for latency in self.latency if latency.scenario == "SingleStream"), None)

    def batched(self) -> Latency | None:
        """Return the latency of a batch."""
        return next((latency for latency in self.latency if latency.scenario == "MultiStream"), None)


class Artifact(Frozen):
    """An exported file and everything that was measured on it.

    `variant`: what tells it from others of its precision (int8-ends, batch1, ort); empty for the plain one.
    `clustered`: what clustering left in it; null where its stage has none.
    `batch`: the only number of samples that it takes at once; null: any. More are then measured one after another.
    `unsimplified`: why its graph is not simplified, where the recipe asks for that; null: it is, or it is no .onnx.
    `float_kernels`: what stays float32 in a .tflite of weights in 8 or 4 bits, as "layer (operator)": ai-edge-quantizer
    has no such kernel for it.
    `beside`: files in artifacts/ that belong to it: the weights of an .onnx beyond 2 GiB, and what says what it takes:
    how texts become token ids, what a table's columns are.
    `labels`: files in artifacts/ with the names of its classes, a name a line; the artifact itself holds them too.
    `transient`: its error is one of the moment (a killed server, a time-out), which the next run does not keep.
    `unserved`: why the server could not serve it, where it has a runtime of its own besides and the recipe did not ask
    for it to be served; null: it could, or was not to.
    `runs`: in every place, with `measure.threads`; limits, speed-ups and figures rest on them. `at_other_threads`: in
    its own runtime with each number of `measure.also_threads`.
    """

    id: FileName
    stage: FileName
    format: Literal["saved_model", "tflite", "onnx"]
    precision: str
    variant: str = ""
    path: ArtifactPath | None = None
    bytes: int | None = None
    gzip_bytes: int | None = None
    parameters: int | None = None
    macs: int | None = None
    sparsity: float | None = None
    clustered: Clustered | None = None
    operators: Operators | None = None
    batch: int | None = None
    unsimplified: str | None = None
    float_kernels: list[str] = Field(default_factory=list)
    beside: list[FileName] = Field(default_factory=list)
    labels: list[FileName] = Field(default_factory=list)
    optional: bool = False
    error: str | None = None
    transient: bool = False
    unserved: str | None = None
    runs: list[Run] = Field(default_factory=list)
    at_other_threads: list[Run] = Field(default_factory=list)

    def delegated(self) -> Delegated | None:
        """Return what LiteRT says of its operators; None where it was not asked."""
        return next((run.startup.delegated for run in self.runs if run.startup and run.startup.delegated), None)


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
    `edge` is what a device of the recipe's profile has to take, and what the final file takes of it.
    `image` is what `modelmill image` made last of an artifact as it is now, null where there is none.
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
    fastest: Fastest | None = None
    edge: Edge | None = None
    gates: list[Gate] = Field(default_factory=list)
    image: Shipped | None = None
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
