"""measure: every exported file over the whole test split in its real runtime: accuracy, parity, latency, throughput.

Facts only; `judge` compares them with the limits. Everything runs in one child process whose threads are pinned: a
file that kills its runtime is that artifact's error, and the others are measured all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field

from pipeline import machine
from pipeline.config import NEUTRAL, Frozen
from pipeline.data import DataConfig
from pipeline.errors import DiskError, RunError
from pipeline.events import Note, Progress
from pipeline.measuring.latency_config import LatencyConfig
from pipeline.plan import RUNTIME, float_twin, reference
from pipeline.stage import Job, Result

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data import Splits
    from pipeline.isolate import Child
    from pipeline.measuring.latency import Latency
    from pipeline.report import document

NAME = "measure"
INPUTS = ("train", "export")
CODE = (
    "pipeline/data",
    "pipeline/formats",
    "pipeline/isolate.py",
    "pipeline/legacy_keras.py",
    "pipeline/machine.py",
    "pipeline/measuring",
    "pipeline/plan.py",
    "pipeline/predictor.py",
    "pipeline/report/document.py",
    "pipeline/stages/measure.py",
)
LIBRARIES = (
    "tensorflow", "tf_keras", "ai-edge-litert", "onnxruntime", "mlcommons-loadgen", "numpy", "scikit-learn", "scipy",
)  # fmt: skip

LOGITS_FILE = "logits.npz"
KERAS = "keras"

T = TypeVar("T")


class Config(Frozen):
    """How the exported files are measured."""

    threads: int = Field(default=1, ge=1, le=256, description="threads of each runtime")
    batch_size: int = Field(default=256, ge=1, description="samples per call while accuracy is measured")
    resamples: int = Field(default=1000, ge=100, le=100_000, description="bootstrap resamples of each interval")
    latency: LatencyConfig = LatencyConfig()
    deadline_s: Annotated[float, NEUTRAL] = Field(
        default=1800,
        gt=0,
        description="longest time for one file's answers, and for one runtime's blocks",
    )
    memory_mb: Annotated[int | None, NEUTRAL] = Field(
        default=None,
        gt=0,
        description="most memory of the measuring process, in MiB; watching it costs some latency",
    )


def surroundings() -> dict[str, Any]:
    """Return what a measurement depends on besides its inputs: the machine."""
    return {"cpu": machine.cpu(), "cores": machine.cores()}


@dataclass
class _Facts:
    """What is known so far, by artifact id."""

    emit: Callable[[Any], None]
    steps: int
    done: int = 0
    logits: dict[str, np.ndarray] = field(default_factory=dict)
    latency: dict[str, list[document.Latency]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    transient: list[str] = field(default_factory=list)

    def step(self, item: str) -> None:
        self.emit(Progress(NAME, "step", self.done, self.steps, item=item))
        self.done += 1

    def attempt(self, name: str, function: Callable[..., T], *arguments: Any) -> T | None:
        """Return the function's result, or None where the artifact failed; a full disk fails the run instead."""
        from pipeline.isolate import CrashError, FailedError

        try:
            return function(*arguments)
        except DiskError:
            raise
        except CrashError as crash:
            self.errors[name] = f"the runtime died: {crash.reason}"
            if crash.transient:
                self.transient.append(f"{name}: {crash.reason}")
        except FailedError as failure:
            # nothing that we know the file can be blamed for: it may go well another time
            self.errors[name] = str(failure)
            self.transient.append(f"{name}: {failure}")
        except RunError as error:
            self.errors[name] = str(error)
        self.emit(Note(NAME, f"{name} could not be measured: {self.errors[name]}", level="warning"))
        return None


def run(job: Job, *, data: DataConfig, measure: Config) -> Result:
    """Measure every artifact that could be exported.

    The folder gets artifacts.json with each artifact's measurements or error, and logits.npz: artifact id, or "keras"
    for the model that they were made from -> float32 [test samples, classes].
    """
    import numpy as np

    from pipeline import data as sources
    from pipeline.isolate import Child
    from pipeline.measuring import runtimes
    from pipeline.report import document

    splits = sources.load(data)
    exported = document.read_artifacts(job.inputs["export"].folder)
    files = {item.id: job.inputs["export"].file(Path(item.path).name) for item in exported if item.path}
    formats = {item.id: item.format for item in exported if item.path}
    facts = _Facts(job.emit, steps=1 + len(files) + 2 * len(set(formats.values())))
    how = (measure.threads, measure.batch_size)

    with Child(deadline_s=measure.deadline_s, memory_mb=measure.memory_mb, threads=measure.threads) as child:
        facts.step("answers of the Keras model")
        keras = child.call(runtimes.answer_as_keras, job.inputs["train"].folder, splits.test.x, *how)
        for name, path in files.items():
            facts.step(f"answers of {name}")
            found = facts.attempt(
                name, child.call, runtimes.answer, formats[name], path, splits.spec, splits.test.x, *how
            )
            if found is not None:
                facts.logits[name] = found
        for form in dict.fromkeys(formats.values()):
            twin = float_twin(exported, next(item for item in exported if item.format == form))
            for batch in (1, measure.latency.batch_size):
                facts.step(f"latency in {RUNTIME[form]}, batch {batch}")
                good = [name for name in facts.logits if formats[name] == form and name not in facts.errors]
                if good:
                    together = {name: files[name] for name in good}
                    against = twin.id if twin and twin.id in good else None
                    _latency(child, facts, form, together, against, splits, measure, batch)

    compared_with = reference(exported).id
    measured = [_measured(item, compared_with, keras, facts, splits, measure) for item in exported]
    document.write_artifacts(measured, job.folder)
    np.savez_compressed(job.folder / LOGITS_FILE, allow_pickle=False, **{KERAS: keras} | facts.logits)
    failed = sum(item.error is not None for item in measured)
    metrics = {"artifacts": len(measured) - failed, "failed": failed, "test_samples": len(splits.test.y)}
    return Result(metrics, tuple(facts.transient))


def _latency(
    child: Child,
    facts: _Facts,
    form: str,
    files: dict[str, Path],
    reference: str | None,
    splits: Splits,
    measure: Config,
    batch: int,
) -> None:
    """Let the files of one runtime take turns; where that fails, each with the reference alone, to find the culprit.

    Args:
        reference: id of the float32 file that the speed-ups are against, None where there is none.
    """
    from pipeline.isolate import CrashError, FailedError
    from pipeline.measuring import runtimes

    def timed(chosen: dict[str, Path]) -> dict[str, Latency]:
        return child.call(
            runtimes.time, form, chosen, splits.spec, splits.test.x, measure.threads, measure.latency, batch
        )

    try:
        _keep(facts, timed(files), reference)
    except (RunError, FailedError, CrashError) as error:
        if isinstance(error, DiskError):
            raise
        alone = {name: path for name, path in files.items() if name == reference}
        for name in alone:
            if (found := facts.attempt(name, timed, alone)) is not None:
                _keep(facts, found, None)
        if reference in facts.errors:
            alone = {}
        for name in files:
            if name != reference and (found := facts.attempt(name, timed, alone | {name: files[name]})) is not None:
                _keep(facts, found, reference, only=name)


def _keep(facts: _Facts, found: dict[str, Latency], reference: str | None, only: str | None = None) -> None:
    from pipeline.measuring.latency import speedup
    from pipeline.report import document

    for name, latency in found.items():
        if only in (None, name):
            faster = None
            if reference in found and name != reference:
                faster = speedup(found[reference], latency, against=str(reference)).to_dict()
                faster |= {"valid": found[reference].valid and latency.valid}
            facts.latency.setdefault(name, []).append(
                document.Latency.model_validate(latency.to_dict() | {"speedup": faster})
            )


def _measured(
    item: document.Artifact, reference: str, keras: np.ndarray, facts: _Facts, splits: Splits, measure: Config
) -> document.Artifact:
    """Return the artifact with its run, or with the error that kept it from being measured."""
    from pipeline.measuring import accuracy, parity
    from pipeline.predictor import LOGITS
    from pipeline.report import document

    error = item.error or facts.errors.get(item.id)
    if error is None:
        labels, logits = splits.test.y, facts.logits[item.id]
        try:
            metrics = accuracy.classification(labels, logits, resamples=measure.resamples)
            if reference in facts.logits:
                metrics["accuracy_drop"] = accuracy.drop(
                    labels, facts.logits[reference], logits, resamples=measure.resamples
                )
            agreement = parity.compare({LOGITS: keras}, {LOGITS: logits}, against=f"{item.stage}.keras")
        except RunError as broken:
            error = str(broken)
    if error is not None:
        return item.model_copy(update={"error": error})
    run = document.Run.model_validate(
        {
            "runtime": RUNTIME[item.format],
            "threads": measure.threads,
            "metrics": {name: interval.to_dict() for name, interval in metrics.items()},
            "parity": agreement.to_dict(),
            "latency": facts.latency[item.id],
        }
    )
    return item.model_copy(update={"runs": [run]})
