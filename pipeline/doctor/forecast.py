"""What becomes of a model in every stage and format, layer by layer, told from its layers alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.compress import clustering, pruning, support
from pipeline.compress.clustering import Clusters
from pipeline.compress.distillation import Teaching, told
from pipeline.doctor import activations, after_shrink, fates, no_faster, sizes
from pipeline.errors import InputError
from pipeline.fit import tasks
from pipeline.formats import UNROLLED_STEPS, known
from pipeline.measuring import footprint
from pipeline.plan import Planned
from pipeline.predictor import GIVING_BACK, Spec
from pipeline.report.forecast import Fate, File, Foreseen, Line, Problem

_FITTING = ("import", "train", "distill")
_QUANTIZE = "quantize"


@dataclass(frozen=True)
class Asked:
    """What a recipe asks for, as far as it is foreseen.

    Attributes:
        stages: names of those that make a model, in their order.
        sections: name of a stage that makes a model smaller -> its config.
        planned: the artifacts, in their order.
        optional: ids of those that may fail.
    """

    stages: tuple[str, ...]
    sections: Mapping[str, Any] = field(default_factory=dict)
    planned: tuple[Planned, ...] = ()
    unrolled_steps: int = UNROLLED_STEPS
    optional: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subject:
    """A model that is to be made smaller, as it is before it is trained.

    Attributes:
        of: which candidate it is, in short; empty where there is one.
        model: tf_keras, or a graph without layers.
        student: what distill trains; None where the recipe has no such section.
    """

    of: str
    model: Any
    student: Any = None


@dataclass(frozen=True)
class _Made:
    """A stage's model and what is said of it; and the zeros and clusters of its kernels, by layer.

    `unknown`: a stage up to it cannot work as it is asked for, so that nobody knows what kernels would be like.
    """

    model: Any
    foreseen: Foreseen
    zeros: Mapping[str, float]
    clusters: Mapping[str, Clusters]
    unknown: bool = False


def foresee(subject: Subject, spec: Spec, asked: Asked) -> Line:
    """Return what becomes of a model; it is left as it is, and nothing is trained.

    Args:
        spec: what goes into the model and comes out.
    """
    model, zeros = subject.model, dict[str, float]()
    clusters: dict[str, Clusters] = {}
    found: dict[str, _Made] = {}
    problems: list[Problem] = []
    doubts: list[Problem] = []
    lengths: after_shrink.Lengths = {}
    about = False
    for stage in asked.stages:
        if stage == "distill":
            model, zeros, clusters = subject.student, {}, {}
        try:
            passed = _passed(stage, model, clusters, lengths, spec, asked)
        except InputError as error:
            problems.append(Problem(stage=stage, message=str(error)))
            passed = fates.refused(model, error)
        try:
            _require_taught(stage, passed.model, subject.model, spec, asked)
        except InputError as error:
            problems.append(Problem(stage=stage, message=str(error)))
        doubts += [Problem(stage=stage, message=message) for message in passed.doubts]
        lengths = passed.lengths or lengths
        about = about or stage == "shrink"
        model, zeros, clusters = passed.model, {**zeros, **passed.zeros}, {**clusters, **passed.clusters}
        foreseen = _described(stage, passed, about=about)
        found[stage] = _Made(model, foreseen, zeros, clusters, unknown=bool(problems))
    stages = [one.foreseen for one in found.values()]
    files = [_file(item, found[item.stage], spec, asked) for item in asked.planned]
    return Line(
        of=subject.of, stages=stages, files=files, no_faster=no_faster.reasons(stages, files, asked), problems=problems,
        doubts=doubts,
    )  # fmt: skip


def _passed(
    stage: str, model: Any, clusters: Mapping[str, Clusters], lengths: after_shrink.Lengths, spec: Spec, asked: Asked
) -> fates.Passed:  # fmt: skip
    if stage != "import":
        tasks.only_head(spec)
    if not hasattr(model, "layers"):  # a graph without layers
        return fates.Passed(model, {})
    if stage == "import":  # what a file brings along stays, as in `compress.promises.of`
        return replace(fates.fitted(model), zeros=pruning.found_zeros(model), clusters=clustering.brought(model))
    if stage in _FITTING:
        return fates.fitted(model)
    section = asked.sections[stage]
    if stage == _QUANTIZE:
        return fates.quantized(model, section, clusters)
    if stage == "prune":
        return fates.pruned(model, section, lengths)
    return fates.PASSING[stage](model, section)


def _require_taught(stage: str, student: Any, teacher: Any, spec: Spec, asked: Asked) -> None:
    """Ask what a stage asks of its teacher before it trains.

    Args:
        student: as the stage makes it. Wrappers around its layers, and how many channels they have, change nothing.

    Raises:
        InputError: features or relations are asked of layers that do not match.
    """
    teach = getattr(asked.sections.get(stage), "teach", None)
    if teach is not None and (teach.features or teach.relations):
        told(student, Teaching.by(teach, (teacher,)), tasks.only_head(spec), stage)


def _described(stage: str, passed: fates.Passed, *, about: bool) -> Foreseen:
    model = passed.model
    if not hasattr(model, "layers"):  # a graph without layers
        return Foreseen(stage=stage, layers=[], parameters=sum(math.prod(one.shape) for one in model.variables))
    counted = footprint.macs(model)
    by_layer = {layer.name: layer.macs for layer in counted.layers}
    values = activations.peak(model)
    layers = []
    for layer in model.layers:
        if type(layer).__name__ == "InputLayer":
            continue
        how, made, reason = passed.told[layer.name]
        layers.append(
            Fate(
                name=layer.name, kind=type(layer).__name__, parameters=int(layer.count_params()),
                macs=by_layer.get(layer.name), how=how, made=made, reason=reason,
                decided_by=list(passed.decided.get(layer.name, ())),
            )
        )  # fmt: skip
    return Foreseen(
        stage=stage, layers=layers, parameters=footprint.parameters(model), macs=counted.total,
        unknown_macs=list(counted.unknown), activation_bytes=None if values is None else 4 * values,
        activation_bytes_int8=values, about=about,
    )  # fmt: skip


def _file(item: Planned, made: _Made, spec: Spec, asked: Asked) -> File:
    trained = item.stage == _QUANTIZE
    way = known.way(made.model, item, asked.unrolled_steps, trained=trained)
    dense = not made.unknown and not any(share >= known.SPARSE for share in made.zeros.values())
    if item.precision == "sparse-float32" and dense:
        way = known.Way(refused="no kernel has zeros enough for the converter to store it sparsely")
    optional = item.id in asked.optional or item.precision == "fake-quant"
    if way.refused:
        return File(id=item.id, refused=way.refused, optional=optional)
    wide = _wide(made, asked) if trained and item.precision == "int8" else {}
    size = sizes.expected(item, made.model, made.zeros, made.clusters, way.steps, wide)
    return File(
        id=item.id, optional=optional, batch=way.batch, bytes=size.bytes, gzip_bytes=size.gzip_bytes,
        floating=_floating(made, spec, trained=trained) if item.precision == "int8" else [],
    )  # fmt: skip


def _wide(made: _Made, asked: Asked) -> dict[str, int]:
    """Return layer name -> bits of a weight in an int8 file, for the layers that stay float."""
    bits = {"float32": 32, "float16": 16}[asked.sections[_QUANTIZE].float_layers]
    return {fate.name: bits for fate in made.foreseen.layers if fate.how == "float"}


def _floating(made: _Made, spec: Spec, *, trained: bool) -> list[str]:
    """Return what computes in float in an int8 file."""
    if trained:
        left = [layer.name for layer in made.foreseen.layers if layer.how == "float"]
    else:  # quantized after training, a file is integers or is refused; but see `formats/columns_ahead.py`
        left = [layer.name for layer in getattr(made.model, "layers", ()) if support.scales_columns(layer)]
    # what is added behind a reconstruction, its score and its raw values, is no part of the model and stays float
    return [*left, *(name for head in spec.heads if head.task in GIVING_BACK for name in head.outputs)]
