"""What was measured, as the report says it: the runs of each artifact, and what each stage's model is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.errors import RunError
from pipeline.measuring import parity
from pipeline.measuring.facts import Facts, Group
from pipeline.measuring.interval import Interval
from pipeline.measuring.quality import Qualities
from pipeline.report import document
from pipeline.report.model import Interval as Described
from pipeline.report.model import Model
from pipeline.variants import VARIANTS

Answers = Mapping[str, np.ndarray]  # output -> float32 [n, ...]


def with_runs(
    item: document.Artifact, reference: str, groups: Sequence[Group], keras: Mapping[str, Answers], facts: Facts,
    qualities: Qualities, *, also: Sequence[Group] = (),
) -> document.Artifact:  # fmt: skip
    """Return the artifact with a run for each place where it was measured, and the error where one failed.

    Args:
        reference: id of the artifact that drops are against.
        groups: the places of its `runs`.
        keras: key of a stage's model -> its answers.
        also: the places of its runs `at_other_threads`.
    """
    answers = {key: found for (name, key), found in facts.answers.items() if name == reference}
    # in process where there is such a run: what somebody else serves is not the reference
    compared_with = answers.get("", next(iter(answers.values()), None))
    error = item.error or facts.attempts.errors.get(item.id)
    found: list[list[document.Run]] = []
    for some in (groups, also):
        runs: list[document.Run] = []
        found.append(runs)
        for group in some:
            if item.id not in group.ids or len(facts.latency.get((item.id, group.place.key), ())) < 2:
                continue
            try:
                runs.append(_run(item, group, compared_with, keras, facts, qualities))
            except RunError as broken:
                error = str(broken)
    return item.model_copy(
        update={
            "error": error, "transient": item.transient or item.id in facts.attempts.passing,
            "unserved": facts.unserved.get(item.id), "runs": found[0], "at_other_threads": found[1],
        }
    )  # fmt: skip


def _run(
    item: document.Artifact, group: Group, compared_with: Answers | None, keras: Mapping[str, Answers], facts: Facts,
    qualities: Qualities,
) -> document.Run:  # fmt: skip
    """Return what was measured of an artifact in one place.

    Raises:
        RunError: its answers cannot be compared.
    """
    spec, key = facts.splits.spec, (item.id, group.place.key)
    found = facts.answers[key]
    metrics = qualities.metrics(found)
    if compared_with is not None:
        metrics |= {f"{name}_drop": interval for name, interval in qualities.drops(compared_with, found).items()}
    origin = f"{item.stage}.keras"
    expected = {end: keras[origin][end] for end in spec.ends}
    labels = [head.end for head in spec.heads if head.task == "multilabel"]
    agreement = parity.compare(expected, found, against=origin, labels=labels)
    place = facts.places[group.place.name]
    if item.format == "tflite" and "protocol" in place:
        place = place | {"threads": 1}  # of an interpreter, whatever TensorFlow has
    return document.Run.model_validate(
        {
            "metrics": {name: interval.to_dict() for name, interval in metrics.items()},
            "judged": qualities.judged,
            "parity": agreement.to_dict(),
            "latency": facts.latency[key],
            "checks": facts.checks.get(key, []),
            "startup": facts.starts.get(key),
            "unstarted": facts.unstarted.get(key),
        }
        | place
    )


def with_quality(models: Sequence[Model], qualities: Qualities, answers: Mapping[str, Answers]) -> list[Model]:
    """Return the stages' models with what their answers to the test split are worth.

    Args:
        models: in the order of the stages; the first is the reference.
        qualities: what answers to the test split are worth.
        answers: key of a model -> output -> float32 [n, ...].
    """

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
        beside: dict[str, Model] = {
            other.variant: other for other in models if other.stage == model.stage and not model.variant
        }
        for variant in VARIANTS:
            # both start and learn alike but for one thing, so the difference is what that was worth, or cost
            if other := beside.get(variant.name):
                before, after = (other, model) if variant.costs else (model, other)
                metrics |= drops(before, after, variant.change)
        described = {name: Described(**interval.to_dict()) for name, interval in metrics.items()}
        measured.append(model.model_copy(update={"metrics": described, "judged": qualities.judged}))
    return measured
