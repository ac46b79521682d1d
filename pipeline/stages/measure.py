"""measure: every exported file over the whole test split in its real runtime: accuracy, parity, latency, throughput;
and every stage's Keras model, for its accuracy and as what the files have to agree with.

Facts only; `judge` compares them with the limits. SavedModels are measured behind a serving target, over every
protocol, and so are the .tflite files that `serving.tflite` names, beside their own runtime. All else runs in one child
process whose threads are pinned, and so do the clients of the server: a file that kills its runtime is that artifact's
error, and the others are measured all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import legacy_keras, machine
from pipeline.data import DataConfig
from pipeline.events import Emit, Note
from pipeline.measuring.measure_config import Config
from pipeline.parts import Parts
from pipeline.plan import reference
from pipeline.stage import Job, Result, Surroundings
from serving.config import ServingConfig

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data import Splits
    from pipeline.isolate import Child
    from pipeline.report import document
    from serving.target.choose import Choice
    from serving.target.interface import Target

NAME = "measure"
INPUTS = ("import", "train", "distill", "shrink", "prune", "cluster", "quantize", "export")
CODE = (
    "pipeline/attempt.py",
    "pipeline/compress/__init__.py",
    "pipeline/compress/fake_quant.py",
    "pipeline/compress/keeping.py",
    "pipeline/compress/kernels.py",
    "pipeline/compress/one_range.py",
    "pipeline/compress/operators.py",
    "pipeline/compress/prescribed_ranges.py",
    "pipeline/compress/quantize_scheme.py",
    "pipeline/compress/seen_by_all.py",
    "pipeline/compress/sensitivity_table.py",
    "pipeline/compress/signs.py",
    "pipeline/compress/support.py",
    "pipeline/data",
    "pipeline/ending.py",
    "pipeline/formats",
    "pipeline/isolate.py",
    "pipeline/legacy_keras.py",
    "pipeline/machine.py",
    "pipeline/measuring",
    "pipeline/metric.py",
    "pipeline/own_code/__init__.py",
    "pipeline/own_code/config.py",
    "pipeline/own_code/package.py",
    "pipeline/own_code/source.py",
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
    "pipeline/stages/measure.py",
    "pipeline/students_t.py",
    "pipeline/variants.py",
    "pipeline/vectorizer.py",
    "serving",
)
LIBRARIES = (
    "tensorflow", "tf_keras", "tensorflow-model-optimization", "tensorflow-serving-api", "grpcio", "httpx",
    "ai-edge-litert", "onnxruntime", "mlcommons-loadgen", "numpy", "scikit-learn", "scipy",
)  # fmt: skip

LOGITS_FILE = "logits.npz"
SERVED = "served"  # the part of the unfinished work that is behind a server


def surroundings(emit: Emit, *, serving: ServingConfig | None) -> Surroundings:
    """Return what a measurement depends on besides its inputs: the machine, and the target that serves."""
    decisive: dict[str, Any] = {"cpu": machine.cpu(), "cores": machine.cores()}
    if serving is None:
        return Surroundings(decisive)
    from serving.target.choose import choose

    choice = choose(serving, emit)
    return Surroundings(decisive | {"serving": {"target": choice.target.name, **choice.target.decisive()}}, choice)


def serving_target(around: Surroundings) -> document.Serving | None:
    """Return the report's words on the target that `surroundings` found; None where nothing is to be served."""
    from pipeline.report import document

    choice: Choice | None = around.found
    if choice is None:
        return None
    return document.Serving(asked=choice.asked, target=choice.target.name, passed_over=choice.passed_over)


def ahead(*, measure: Config) -> Child:
    """Start the process of the runtimes and of the server's clients; see `pipeline.stage`."""
    return _child(measure).prepare(_prepare)


def _child(measure: Config) -> Child:
    from pipeline.isolate import Child

    return Child(deadline_s=measure.deadline_s, memory_mb=measure.memory_mb, threads=measure.threads)


def _prepare() -> None:
    legacy_keras.load_tfmot()
    from pipeline.measuring import runtimes  # noqa: F401


def run(job: Job, *, data: DataConfig, measure: Config, serving: ServingConfig | None) -> Result:
    """Measure every stage's model, and every artifact that could be exported.

    The folder gets models.json and artifacts.json with each one's measurements or error, and logits.npz: artifact id
    (with @PROTOCOL where it is served, @N-threads where its threads are others), or STAGE.keras for a stage's model ->
    float32 [test samples, classes], or values; with #OUTPUT behind the name where there are several; and answers.json
    of a classification, with examples/INDEX.png for the samples that it names where they are images; and baseline.json
    where it is asked for.
    """
    import numpy as np

    from pipeline import data as sources
    from pipeline.attempt import Attempts
    from pipeline.formats.saved_model import VERSION
    from pipeline.measuring import behind_server, by_itself, runtimes
    from pipeline.measuring.facts import Facts, group
    from pipeline.measuring.quality import Qualities
    from pipeline.measuring.resume import resumed
    from pipeline.measuring.runs import with_quality, with_runs
    from pipeline.measuring.served import Served, Supply
    from pipeline.measuring.split_answers import split_answers
    from pipeline.report import document
    from pipeline.report.answers import write_answers
    from pipeline.report.model import read_models, write_models

    splits = sources.load(data, job.store, strings=True)
    exports = job.inputs.get("export")
    exported = document.read_artifacts(exports.folder) if exports else []
    files = {item.id: exports.file(Path(item.path).name) for item in exported if item.path} if exports else {}
    made = {name: item.folder for name, item in job.inputs.items() if name != "export"}
    target: Target | None = job.found.target if job.found else None
    served = behind_server.served(exported, target)
    lite = behind_server.lite(exported, files, target, serving, job.emit, NAME)
    # what somebody else serves is compared with the same SavedModel in process
    ours = served if target is not None and target.ours else ()
    local = {name: file for name, file in files.items() if name not in ours}
    attempts = Attempts(NAME, "runtime", job.emit)
    how = (measure.threads, measure.batch_size)

    with ExitStack() as held:
        child = held.enter_context(job.child or ahead(measure=measure))
        fresh = held.enter_context(_child(measure))
        here, others = by_itself.groups(exported, local, child, measure.threads, measure.also_threads)
        supply, places = None, []
        if target is not None and serving is not None and served:
            models = {name: files[name] / VERSION for name in served} | {name: files[name] for name in lite}
            work = job.folder / "serving"
            supply = held.enter_context(Supply(target, models, serving, measure.threads, child, work, job.emit))
            places = [Served(supply, protocol) for protocol in supply.protocols]
        there = [group(exported, place, (*served, *lite)) for place in places]
        tested = places if target is not None and target.ours else []
        steps = len(made) + sum(map(by_itself.steps, [*there, *here, *others])) + len(tested) * len((*served, *lite))
        facts = Facts(attempts, splits, measure.batch_size, measure.latency, steps)
        parts = Parts(job.work)
        if supply is not None and target is not None and target.ours and parts.find(SERVED) is None:
            supply.launch()
        keras: dict[str, dict[str, np.ndarray]] = {}
        for name, folder in made.items():
            facts.step(f"answers of {name}'s Keras model")
            for model in read_models(folder):
                at = folder / model.variant if model.variant else folder
                keras[model.key] = child.call(runtimes.answer_as_keras, at, splits.test.x, *how)
        if supply is not None and target is not None:
            # first, because a target that is not there ends the run; and alone, because a server disturbs the others
            chosen = serving is not None and serving.tflite is not None
            behind = partial(behind_server.measure_served, supply, there, tested, lite, facts, chosen=chosen)
            if target.ours:
                resumed(SERVED, there, facts, parts, behind)
            else:
                behind()
        for one in [*here, *others]:
            alone = partial(by_itself.measure_local, one, exported, facts, fresh)
            resumed(one.place.name, [one], facts, parts, alone)
        qualities = Qualities(splits.spec, splits.test.y, measure.resamples)
        if [head.task for head in splits.spec.heads] in (["classification"], ["multilabel"], ["anomaly"]):
            write_answers(split_answers(keras, facts, child, job.folder, qualities), job.folder)

    networks = [model for folder in made.values() for model in read_models(folder)]
    write_models(with_quality(networks, qualities, keras), job.folder)
    measured = [
        with_runs(item, reference(exported).id, [*here, *there], keras, facts, qualities, also=others)
        for item in exported
    ]
    document.write_artifacts(measured, job.folder)
    named = {f"{name}@{key}" if key else name: found for (name, key), found in facts.answers.items()}
    np.savez_compressed(job.folder / LOGITS_FILE, allow_pickle=False, **_by_output(keras | named))
    if measure.baseline:
        _put_beside(splits, keras | facts.told(), measure.resamples, job)
    failed = sum(item.error is not None for item in measured)
    metrics = {"artifacts": len(measured) - failed, "failed": failed, "test_samples": len(splits.test)}
    transient = list(attempts.transient)
    if target is not None and not target.ours:
        transient.append("a server that somebody else runs may answer differently next time")
    return Result(metrics, tuple(transient))


def _put_beside(splits: Splits, answers: Mapping[str, Mapping[str, np.ndarray]], resamples: int, job: Job) -> None:
    """Fit the baseline, and write what it is worth and how much better each model is."""
    from pipeline.measuring import baseline
    from pipeline.report.baseline import write_baseline

    try:
        if why := baseline.why_none(splits):
            raise baseline.UnfittedError(why)
        fitted = baseline.fit(splits)
    except baseline.UnfittedError as error:
        job.emit(Note(NAME, f"measure.baseline is left out: {error}"))
        return
    write_baseline(baseline.compared(fitted, splits, answers, resamples), job.folder)


def _by_output(answers: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {
        name if len(ends) == 1 else f"{name}#{end}": array
        for name, ends in answers.items()
        for end, array in ends.items()
    }
