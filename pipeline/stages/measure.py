"""measure: every exported file over the whole test split in its real runtime: accuracy, parity, latency, throughput;
and every stage's Keras model, for its accuracy and as what the files have to agree with.

Facts only; `judge` compares them with the limits. SavedModels are measured behind a serving target, over every
protocol. All else runs in one child process whose threads are pinned, and so do the clients of the server: a file that
kills its runtime is that artifact's error, and the others are measured all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import legacy_keras, machine
from pipeline.data import DataConfig
from pipeline.errors import RunError
from pipeline.events import Emit, Note
from pipeline.measuring.measure_config import Config
from pipeline.parts import Parts
from pipeline.plan import reference, to_serve
from pipeline.stage import Job, Result, Surroundings
from serving.config import ServingConfig

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data import Splits
    from pipeline.isolate import Child
    from pipeline.measuring.facts import Facts, Group
    from pipeline.measuring.interval import Interval
    from pipeline.measuring.quality import Qualities
    from pipeline.measuring.served import Served, Supply
    from pipeline.report import document
    from pipeline.report.answers import SplitAnswers
    from pipeline.report.model import Model
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
    "pipeline/report/forecast.py",
    "pipeline/report/model.py",
    "pipeline/rows.py",
    "pipeline/scoring",
    "pipeline/stages/measure.py",
    "pipeline/students_t.py",
    "pipeline/vectorizer.py",
    "serving",
)
LIBRARIES = (
    "tensorflow", "tf_keras", "tensorflow-model-optimization", "tensorflow-serving-api", "grpcio", "httpx",
    "ai-edge-litert", "onnxruntime", "mlcommons-loadgen", "numpy", "scikit-learn", "scipy",
)  # fmt: skip

LOGITS_FILE = "logits.npz"
EXAMPLES = "examples"
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
    from pipeline.isolate import Child

    child = Child(deadline_s=measure.deadline_s, memory_mb=measure.memory_mb, threads=measure.threads)
    return child.prepare(_prepare)


def _prepare() -> None:
    legacy_keras.load_tfmot()
    from pipeline.measuring import runtimes  # noqa: F401


def run(job: Job, *, data: DataConfig, measure: Config, serving: ServingConfig | None) -> Result:
    """Measure every stage's model, and every artifact that could be exported.

    The folder gets models.json and artifacts.json with each one's measurements or error, and logits.npz: artifact id
    (with @PROTOCOL where it is served), or STAGE.keras for a stage's model -> float32 [test samples, classes], or
    values; with #OUTPUT behind the name where there are several; and answers.json of a classification, with
    examples/INDEX.png for the samples that it names where they are images; and baseline.json where it is asked for.
    """
    import numpy as np

    from pipeline import data as sources
    from pipeline.attempt import Attempts
    from pipeline.formats.saved_model import VERSION
    from pipeline.measuring import runtimes
    from pipeline.measuring.facts import Facts, group, measure_all
    from pipeline.measuring.places import Local
    from pipeline.measuring.quality import Qualities
    from pipeline.measuring.resume import resumed
    from pipeline.measuring.served import Served, Supply
    from pipeline.report import document
    from pipeline.report.answers import write_answers
    from pipeline.report.model import read_models, write_models

    splits = sources.load(data, job.store, strings=True)
    exports = job.inputs.get("export")
    exported = document.read_artifacts(exports.folder) if exports else []
    files = {item.id: exports.file(Path(item.path).name) for item in exported if item.path} if exports else {}
    made = {name: item.folder for name, item in job.inputs.items() if name != "export"}
    target: Target | None = job.found.target if job.found else None
    served = _served(exported, target)
    local: dict[str, dict[str, Path]] = {}
    for item in exported:
        # what somebody else serves is compared with the same SavedModel in process
        if item.id in files and (target is None or not target.ours or item.id not in served):
            local.setdefault(item.format, {})[item.id] = files[item.id]
    attempts = Attempts(NAME, "runtime", job.emit)
    how = (measure.threads, measure.batch_size)

    with ExitStack() as held:
        child = held.enter_context(job.child or ahead(measure=measure))
        here = [group(exported, Local(child, form, some, measure.threads), some) for form, some in local.items()]
        supply, places = None, []
        if target is not None and serving is not None and served:
            models = {name: files[name] / VERSION for name in served}
            work = job.folder / "serving"
            supply = held.enter_context(Supply(target, models, serving, measure.threads, child, work, job.emit))
            places = [Served(supply, protocol) for protocol in supply.protocols]
        there = [group(exported, place, served) for place in places]
        tested = places if target is not None and target.ours else []
        steps = len(made) + sum(len(one.ids) + 2 for one in [*there, *here]) + len(tested) * len(served)
        facts = Facts(attempts, splits, *how, measure.latency, steps)
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
            behind = partial(_measure_served, supply, there, tested, facts)
            if target.ours:
                resumed(SERVED, there, facts, parts, behind)
            else:
                behind()
        for one in here:
            resumed(one.place.name, [one], facts, parts, partial(measure_all, [one], facts))
        qualities = Qualities(splits.spec, splits.test.y, measure.resamples)
        if [head.task for head in splits.spec.heads] in (["classification"], ["multilabel"], ["anomaly"]):
            write_answers(_answers(keras, facts, child, job.folder, qualities), job.folder)
    groups = [*here, *there]

    networks = [model for folder in made.values() for model in read_models(folder)]
    write_models(with_quality(networks, qualities, keras), job.folder)
    measured = [_measured(item, reference(exported).id, groups, keras, facts, qualities) for item in exported]
    document.write_artifacts(measured, job.folder)
    named = {f"{name}@{key}" if key else name: found for (name, key), found in facts.answers.items()}
    np.savez_compressed(job.folder / LOGITS_FILE, allow_pickle=False, **_by_output(keras | named))
    if measure.baseline:
        told = {name: found for (name, _), found in facts.answers.items() if name not in attempts.errors}
        _put_beside(splits, keras | told, measure.resamples, job)
    failed = sum(item.error is not None for item in measured)
    metrics = {"artifacts": len(measured) - failed, "failed": failed, "test_samples": len(splits.test)}
    transient = list(attempts.transient)
    if target is not None and not target.ours:
        transient.append("a server that somebody else runs may answer differently next time")
    return Result(metrics, tuple(transient))


def _measure_served(supply: Supply, groups: Sequence[Group], tested: Sequence[Served], facts: Facts) -> None:
    """Measure what a server answers over each protocol, and what it survives over those that are put to the test."""
    from pipeline.measuring.facts import measure_all, put_to_the_test

    measure_all(groups, facts)
    for place in tested:
        put_to_the_test(place, groups[0].ids, facts)
    supply.end()


def _served(exported: Sequence[document.Artifact], target: Target | None) -> tuple[str, ...]:
    """Return the ids of the SavedModels that are measured behind a server.

    A remote server has one model, and nobody but its owner knows which: it is compared with the last float one.
    """
    if target is None:
        return ()
    made = tuple(item.id for item in exported if item.format == "saved_model" and item.path)
    return made if target.ours else tuple(name for name in made if name == to_serve(exported).id)


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


def _answers(
    keras: Mapping[str, Mapping[str, np.ndarray]], facts: Facts, child: Child, folder: Path, qualities: Qualities
) -> SplitAnswers:
    """Return what every model and every artifact that did not fail answered, and keep pictures of the hardest samples.

    An artifact that is measured in several places is told once, by its first.
    """
    import numpy as np

    from pipeline.measuring import answers, pictures
    from pipeline.predictor import rows
    from pipeline.report.answers import SplitAnswers

    test, spec = facts.splits.test, facts.splits.spec
    head, wanted = spec.head, np.asarray(test.y)
    answered = {name: found[head.answer] for name, found in keras.items()}
    for (name, _), found in facts.answers.items():
        if name not in facts.attempts.errors:
            answered.setdefault(name, found[head.answer])
    told = [answers.of_head(name, head, wanted, found) for name, found in answered.items()]
    shown = sorted({example.index for one in told for example in one.hardest})
    drawn: dict[int, str] = {}
    if shown and len(spec.inputs) == 1 and pictures.are_images(spec.input.shape):
        (folder / EXAMPLES).mkdir()
        images = child.call(pictures.png, np.asarray(rows(test.x, np.array(shown))), spec.input.value_range)
        for index, image in zip(shown, images, strict=True):
            (folder / EXAMPLES / f"{index}.png").write_bytes(image)
            drawn[index] = f"stages/{NAME}/{EXAMPLES}/{index}.png"
    return SplitAnswers(
        samples=len(test), classes=list(head.classes), answers=[answers.pictured(one, drawn) for one in told],
        support=answers.support(head, wanted), undefined=qualities.undefined(),
    )  # fmt: skip


def _measured(
    item: document.Artifact, reference: str, groups: Sequence[Group], keras: Mapping[str, Mapping[str, np.ndarray]],
    facts: Facts, qualities: Qualities,
) -> document.Artifact:  # fmt: skip
    """Return the artifact with a run for each place where it was measured, and the error where one failed."""
    from pipeline.measuring import parity
    from pipeline.report import document

    answers = {key: found for (name, key), found in facts.answers.items() if name == reference}
    # in process where there is such a run: what somebody else serves is not the reference
    compared_with = answers.get("", next(iter(answers.values()), None))
    spec = facts.splits.spec
    labels = [head.end for head in spec.heads if head.task == "multilabel"]
    error, runs = item.error or facts.attempts.errors.get(item.id), []
    passing = item.transient or item.id in facts.attempts.passing
    for group in groups:
        key = item.id, group.place.key
        if item.id not in group.ids or len(facts.latency.get(key, ())) < 2:
            continue
        found = facts.answers[key]
        try:
            metrics = qualities.metrics(found)
            if compared_with is not None:
                lost = qualities.drops(compared_with, found)
                metrics |= {f"{name}_drop": interval for name, interval in lost.items()}
            origin = f"{item.stage}.keras"
            expected = {end: keras[origin][end] for end in spec.ends}
            agreement = parity.compare(expected, found, against=origin, labels=labels)
        except RunError as broken:
            error = str(broken)
            continue
        facts_of_the_place = facts.places[group.place.name] | {"checks": facts.checks.get(key, [])}
        runs.append(
            document.Run.model_validate(
                {
                    "metrics": {name: interval.to_dict() for name, interval in metrics.items()},
                    "judged": qualities.judged,
                    "parity": agreement.to_dict(),
                    "latency": facts.latency[key],
                }
                | facts_of_the_place
            )
        )
    return item.model_copy(update={"error": error, "transient": passing, "runs": runs})


def with_quality(
    models: Sequence[Model], qualities: Qualities, answers: Mapping[str, Mapping[str, np.ndarray]]
) -> list[Model]:
    """Return the stages' models with what their answers to the test split are worth.

    Args:
        models: in the order of the stages; the first is the reference.
        qualities: what answers to the test split are worth.
        answers: key of a model -> output -> float32 [n, ...].
    """
    from pipeline.report.model import Interval as Described

    def drops(before: Model, after: Model, name: str) -> dict[str, Interval]:
        found = qualities.drops(answers[before.key], answers[after.key])
        return {f"{metric}_{name}": interval for metric, interval in found.items()}

    measured = []
    for place, model in enumerate(models):
        metrics = qualities.metrics(answers[model.key])
        line = [other for other in models[:place] if not other.variant and other.stage != model.stage]
        if line:
            metrics |= drops(line[0], model, "drop")
            metrics |= drops(line[-1], model, "drop_against_previous")
        alone = next((other for other in models if other.stage == model.stage and other.variant), None)
        if alone and not model.variant:
            # both start and learn alike but for the teacher, so what the other lacks is what it was worth
            metrics |= drops(model, alone, "gain_by_teaching")
        described = {name: Described(**interval.to_dict()) for name, interval in metrics.items()}
        measured.append(model.model_copy(update={"metrics": described, "judged": qualities.judged}))
    return measured
