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
from pipeline.formats import UNROLLED_STEPS, ConversionError, by_layer, known
from pipeline.formats.precisions import Variant
from pipeline.formats.tflite import columns_ahead
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
        mixed: see `formats.by_layer.precisions`.
        select_tf_ops: whether operators of TensorFlow's may be in a .tflite.
        strip_tflite: whether a .tflite is to be without what only people and tools read.
    """

    stages: tuple[str, ...]
    sections: Mapping[str, Any] = field(default_factory=dict)
    planned: tuple[Planned, ...] = ()
    unrolled_steps: int = UNROLLED_STEPS
    optional: tuple[str, ...] = ()
    mixed: Mapping[str, str] = field(default_factory=dict)
    select_tf_ops: bool = False
    strip_tflite: bool = False


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
    files = []
    for item in asked.planned:
        try:
            files.append(_file(item, found[item.stage], spec, asked))
        except (InputError, ConversionError) as error:
            problems.append(Problem(stage="export", message=str(error)))
            files.append(File(id=item.id, refused=error.what, optional=item.id in asked.optional))
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
    way = known.way(
        made.model, item, asked.unrolled_steps, trained=trained, select_tf_ops=asked.select_tf_ops
    )  # fmt: skip
    if not way.refused:
        way = replace(way, refused=_refused(item, made, spec, asked, way.steps))
    optional = item.id in asked.optional or item.precision == "fake-quant"
    if way.refused:
        return File(id=item.id, refused=way.refused, optional=optional)
    wide = _wide(made, asked) if trained and item.precision == "int8" else {}
    if item.precision == "mixed":
        of = by_layer.precisions(made.model, asked.mixed)
        wide = {name: sizes.weight_bits(precision) for name, precision in of.items()}
    size = sizes.expected(
        item, made.model, made.zeros, made.clusters, way.steps, wide, stripped=asked.strip_tflite
    )  # fmt: skip
    return File(
        id=item.id, optional=optional, batch=way.batch, bytes=size.bytes, gzip_bytes=size.gzip_bytes,
        floating=_floating(made, spec, trained=trained) if item.precision == "int8" else [],
    )  # fmt: skip


def _refused(item: Planned, made: _Made, spec: Spec, asked: Asked, steps: int) -> str:
    """Return why a file cannot be made, which is no matter of its layers alone; empty where it can.

    Args:
        steps: time steps of recurrent layers that are written out in it.
    """
    dense = not made.unknown and not any(share >= known.SPARSE for share in made.zeros.values())
    if item.precision == "sparse-float32" and dense:
        return "no kernel has zeros enough for the converter to store it sparsely"
    if item.precision == "mixed":
        return _mixed_refused(made.model, asked, unrolled=steps > 0)
    return _ends_refused(item, made, spec, trained=item.stage == _QUANTIZE)


def _mixed_refused(model: Any, asked: Asked, *, unrolled: bool) -> str:
    """Return why a .tflite cannot have the kernels that the recipe asks for, layer by layer; empty where it can."""
    wrong = by_layer.left_float(model, by_layer.precisions(model, asked.mixed), unrolled=unrolled)
    error = by_layer.refusal(wrong)
    return f"{error.what}: {error.found}; {error.todo}" if wrong else ""


def _ends_refused(item: Planned, made: _Made, spec: Spec, *, trained: bool) -> str:
    """Return why a .tflite cannot have integer ends; empty where it can, or has float ones."""
    ends = Variant.of(item.variant).ends
    if item.format != "tflite" or ends == "float32" or not hasattr(made.model, "layers"):
        return ""
    if not trained:
        try:
            columns_ahead.require_one_scale(made.model, spec)
        except ConversionError as error:
            return error.what
        return ""
    left = {layer.name for layer in made.foreseen.layers if layer.how == "float"}
    floating = [
        one.name
        for one, name in zip(spec.inputs, made.model.input_names, strict=True)
        if one.vectorizer is None
        and any(node.layer.name in left for node in made.model.get_layer(name)._outbound_nodes)
    ]
    for head, name in zip(spec.heads, made.model.output_names, strict=True):
        if head.task in GIVING_BACK or name in left:  # behind a reconstruction its raw values and its score are float
            floating += head.outputs
    named = ", ".join(floating)
    return f"with {ends} ends, but what is computed next to {named} stays float" if floating else ""


def _wide(made: _Made, asked: Asked) -> dict[str, int]:
    """Return layer name -> bits of a weight in an int8 file, for the layers that stay float."""
    bits = {"float32": 32, "float16": 16}[asked.sections[_QUANTIZE].float_layers]
    return {fate.name: bits for fate in made.foreseen.layers if fate.how == "float"}


def _floating(made: _Made, spec: Spec, *, trained: bool) -> list[str]:
    """Return what computes in float in an int8 file."""
    if trained:
        left = [layer.name for layer in made.foreseen.layers if layer.how == "float"]
    else:  # quantized after training, a file is integers or is refused; but see `formats/tflite/columns_ahead.py`
        left = [layer.name for layer in getattr(made.model, "layers", ()) if support.scales_columns(layer)]
    # what is added behind a reconstruction, its score and its raw values, is no part of the model and stays float
    return [*left, *(name for head in spec.heads if head.task in GIVING_BACK for name in head.outputs)]
