"""edge: one .tflite as a small device has it: in TensorFlow Lite Micro, compiled for its NPU, timed on a real one.

Facts only; the limits of the device are compared with them when the run is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import data as sources
from pipeline import machine
from pipeline.data import DataConfig
from pipeline.edge import needs
from pipeline.edge.config import Config, chosen
from pipeline.events import Emit, Note, Progress
from pipeline.measuring.measure_config import Config as MeasureConfig
from pipeline.parts import Parts
from pipeline.plan import Planned
from pipeline.report import edge as report
from pipeline.report.edge import Budget
from pipeline.stage import Job, Result, Surroundings

if TYPE_CHECKING:
    import numpy as np

    from pipeline.attempt import Attempts
    from pipeline.data import Splits
    from pipeline.edge.npu import Npu
    from pipeline.report import document

NAME = "edge"
INPUTS = ("export", "measure")
CODE = (
    "pipeline/attempt.py",
    "pipeline/compress/__init__.py",
    "pipeline/compress/sensitivity_table.py",
    "pipeline/data",
    "pipeline/edge/__init__.py",
    "pipeline/edge/c_source.py",
    "pipeline/edge/c_templates.py",
    "pipeline/edge/config.py",
    "pipeline/edge/device.py",
    "pipeline/edge/ends.py",
    "pipeline/edge/micro.py",
    "pipeline/edge/needs.py",
    "pipeline/edge/npu.py",
    "pipeline/edge/parity.py",
    "pipeline/edge/placement.py",
    "pipeline/edge/process.py",
    "pipeline/edge/profiles.py",
    "pipeline/edge/resolver.py",
    "pipeline/edge/trial.py",
    "pipeline/edge/vela.py",
    "pipeline/edge/worth.py",
    "pipeline/ending.py",
    "pipeline/formats",
    "pipeline/isolate.py",
    "pipeline/legacy_keras.py",
    "pipeline/machine.py",
    "pipeline/measuring",
    "pipeline/metric.py",
    "pipeline/own_code",
    "pipeline/parts.py",
    "pipeline/plan.py",
    "pipeline/predictor.py",
    "pipeline/report/answers.py",
    "pipeline/report/baseline.py",
    "pipeline/report/data.py",
    "pipeline/report/document.py",
    "pipeline/report/edge.py",
    "pipeline/report/forecast.py",
    "pipeline/report/gate.py",
    "pipeline/report/model.py",
    "pipeline/report/operators.py",
    "pipeline/report/shipped.py",
    "pipeline/report/speed.py",
    "pipeline/report/startup.py",
    "pipeline/rows.py",
    "pipeline/scoring",
    "pipeline/signature.py",
    "pipeline/stages/edge.py",
    "pipeline/students_t.py",
    "pipeline/vectorizer.py",
)
LIBRARIES = ("tflite-micro", "ethos-u-vela", "ai-edge-litert", "flatbuffers", "numpy", "scikit-learn", "scipy")

FOLDER = "edge"  # files to take along; in artifacts/ too
_SOURCES = "model"  # the name of the C source
_SOURCE = "C source"  # what fails where it cannot be written


def surroundings(emit: Emit, *, edge: Config) -> Surroundings:
    """Return what a device's time depends on besides settings and file: its command's program and the files it names.

    What the section asks for by name is there, and what it will not judge is told, before anything is trained.

    Raises:
        MissingError: an extra, or the program of edge.command.
    """
    needs.require(edge)
    if edge.unjudged:
        emit(Note(NAME, edge.unjudged, level="warning" if edge.budget == Budget() else "info"))
    if edge.command is None:
        return Surroundings()
    from pipeline.edge import device

    return Surroundings({"command": device.identity(edge.command)})


def run(job: Job, *, data: DataConfig, edge: Config, measure: MeasureConfig) -> Result:
    """Try the file that the section chooses.

    The folder gets edge.json (`report/edge.py`) with what failed; artifacts.json as measure has it, with this file's
    runs on the device added; and edge/ with the compiled files and the C source.
    """
    from pipeline.attempt import Attempts
    from pipeline.edge import worth
    from pipeline.report import document

    measured = document.read_artifacts(job.inputs["measure"].folder)
    item = _chosen(edge, measured)
    (job.folder / FOLDER).mkdir()
    attempts = Attempts(NAME, "runtime", job.emit)
    found = report.Edge(artifact=item.id, profile=edge.profile, runtime=edge.device_runtime)
    runs: list[document.Run] = []
    if item.path is None:
        error = item.error or "it was not exported"
        found = found.model_copy(update={"error": error, "transient": item.transient})
    else:
        file = job.inputs["export"].file(Path(item.path).name)
        found = found.model_copy(update={"file_bytes": file.stat().st_size})
        here = edge.device_runtime == "tflite-micro"
        steps = _Steps(job, 3 * here + len(edge.npus) + (edge.command is not None))
        labels: Sequence[str] = ()
        if here:
            splits = sources.load(data, job.store)
            labels = splits.spec.heads[0].classes if len(splits.spec.heads) == 1 else ()
            micro, answers = _in_micro(job, file, splits, edge, steps, attempts)
            found = found.model_copy(update={"micro": micro})
            if answers is not None:
                logits = job.inputs["measure"].file("logits.npz")
                runs.append(worth.run(item, measured, answers, splits, measure.resamples, logits))
        npus = []
        for npu in edge.npus:
            steps.tell(npu.name)
            npus.append(_on_npu(npu, file, job.folder / FOLDER, edge.deadline_s, attempts))
        found = found.model_copy(update={"npus": npus})
        source = _source(found, file, job.folder / FOLDER, labels, attempts)
        found = found.model_copy(update={"source": source})
        if found.micro and not found.micro.error and _SOURCE in attempts.errors:
            failed = found.micro.model_copy(update=_failure(attempts, _SOURCE))
            found = found.model_copy(update={"micro": failed})
        if edge.command is not None:
            steps.tell("edge.command")
            on_board, ran = _on_device(edge.command, edge, file, attempts)
            found, runs = found.model_copy(update={"device": on_board}), [*runs, *ran]
    report.write(found, job.folder)
    changed = item.model_copy(update={"runs": [*item.runs, *runs]})
    document.write_artifacts([changed if one is item else one for one in measured], job.folder)
    transient = list(attempts.transient)
    if found.device is not None:
        transient.append("another device, or another program on it, may answer edge.command differently next time")
    return Result(_metrics(found), tuple(transient))


def _chosen(edge: Config, measured: list[document.Artifact]) -> document.Artifact:
    planned = {Planned(one.stage, one.format, one.precision, one.variant): one for one in measured}
    wanted = chosen(edge, tuple(planned))
    assert wanted is not None, "recipe_checks refuses such a section"
    return planned[wanted]


class _Steps:
    """What the stage is at."""

    def __init__(self, job: Job, total: int) -> None:
        self._job, self._total, self._done = job, total, 0

    def tell(self, item: str) -> None:
        self._job.emit(Progress(NAME, "device", self._done, self._total, item=item))
        self._done += 1


def _in_micro(
    job: Job, file: Path, splits: Splits, edge: Config, steps: _Steps, attempts: Attempts
) -> tuple[report.Micro, Mapping[str, np.ndarray] | None]:
    """Return what TensorFlow Lite Micro takes, and its answers to the test split; None: it has none."""
    from pipeline.edge import resolver
    from pipeline.edge.trial import KERNELS, Trial
    from pipeline.isolate import Child

    name = "tflite-micro"
    kernels = [report.Kernel(kind=one.kind, count=one.count, method=one.method) for one in resolver.operators(file)]
    told = report.Micro(version=machine.versions([name])[name], operators=kernels)
    parity: list[report.Agreement] = []
    with Child(deadline_s=edge.deadline_s, memory_mb=None) as child:
        trial = Trial(file, splits.test.x, child, edge.deadline_s, Parts(job.work))
        steps.tell("TensorFlow Lite Micro")
        ran = attempts.attempt(name, trial.in_micro)
        if ran is None:
            return told.model_copy(update=_failure(attempts, name)), None
        for other in KERNELS:
            steps.tell(f"LiteRT, {other} kernels")
            parity += attempts.attempt(name, partial(trial.beside_litert, ran, other)) or []
    arena = {"arena_bytes": ran.arena.size, "head_bytes": ran.arena.head, "tail_bytes": ran.arena.tail}
    return told.model_copy(update={**_failure(attempts, name), **arena, "parity": parity}), ran.answers


def _failure(attempts: Attempts, name: str) -> dict[str, Any]:
    """Return the fields that say what failed; an error of None: nothing did."""
    return {"error": attempts.errors.get(name), "transient": name in attempts.passing}


def _source(
    found: report.Edge, file: Path, folder: Path, labels: Sequence[str], attempts: Attempts
) -> report.Source | None:
    """Write the C source of the file that the limits are for; None: what it needs is not known, or C cannot say it."""
    from pipeline.edge import c_source

    if found.arena_bytes is None:
        return None
    npu = found.npus[0] if found.npus else None
    of = folder / npu.file if npu and npu.file else file
    arena = -(-found.arena_bytes // c_source.ALIGNMENT) * c_source.ALIGNMENT
    written = partial(c_source.sources, of, name=_SOURCES, arena=arena, labels=labels)
    made = attempts.attempt(_SOURCE, written)
    if made is None:
        return None
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return report.Source(files=sorted(made), of=of.name, npu=npu.name if npu else None, arena_bytes=arena)


def _on_npu(npu: Npu, file: Path, folder: Path, deadline_s: float, attempts: Attempts) -> report.Npu:
    from pipeline.edge import vela

    told = report.Npu(
        name=npu.name, accelerator=npu.accelerator, system_config=npu.system, memory_mode=npu.memory,
        vela=machine.versions(["ethos-u-vela"])["ethos-u-vela"],
    )  # fmt: skip
    target = folder / f"{npu.name}_vela.tflite"
    made = attempts.attempt(npu.name, partial(vela.compile_for, npu, file, target, deadline_s))
    if made is None:
        return told.model_copy(update=_failure(attempts, npu.name))
    left = [
        report.OnCpu(kind=one.operator.kind, output=one.operator.output, reasons=list(one.reasons))
        for one in made.placement.cpu
    ]
    figures = ("file_bytes", "sram_bytes", "dram_bytes", "flash_bytes", "clock_mhz", "cycles", "time_ms", "macs")
    on_npu = len(made.placement.npu)
    return told.model_copy(
        update={
            "operators": on_npu + len(left), "on_npu": on_npu, "on_cpu": left, "file": target.name,
            **{name: getattr(made, name) for name in figures},
        }
    )  # fmt: skip


def _on_device(
    command: tuple[str, ...], edge: Config, file: Path, attempts: Attempts
) -> tuple[report.Device, list[document.Run]]:
    from pipeline.edge import device
    from pipeline.report import document

    told = report.Device(command=list(command), runs=edge.command_runs)
    once = partial(device.run_once, command, file, edge.deadline_s)
    blocks = attempts.attempt("device", lambda: [once() for _ in range(edge.command_runs)])
    if blocks is None:
        return told.model_copy(update=_failure(attempts, "device")), []
    timed = device.summary(blocks)
    return told, [
        document.Run(runtime="device", threads=None, target="remote", metrics={}, parity=None, latency=[timed])
    ]


def _metrics(found: report.Edge) -> dict[str, float]:
    """Return what the terminal shows of the stage."""
    metrics: dict[str, float] = {}
    if found.micro and found.micro.arena_bytes is not None:
        metrics["arena_bytes"] = found.micro.arena_bytes
    if found.npus and not found.npus[0].error:
        npu = found.npus[0]
        metrics |= {"operators": npu.operators, "on_npu": npu.on_npu, "npu_ms": npu.time_ms}
    return metrics
