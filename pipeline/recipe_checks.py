"""What a recipe's sections ask of each other: problems that no section has by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from models import several
from models.several import Ensemble, Selection
from pipeline import order
from pipeline.compute.config import problems as compute_problems
from pipeline.data import augment, input_shapes
from pipeline.edge.config import conflicts as edge_conflicts
from pipeline.errors import InputError
from pipeline.fit import problems as fit_problems
from pipeline.fit.config import FitConfig
from pipeline.formats.export_config import conflicts as export_conflicts
from pipeline.formats.import_config import Config as ModelFile
from pipeline.metric import DEFAULTS, find
from pipeline.own_code.config import Builder
from pipeline.predictor import Task
from pipeline.stages.judge import conflicts

if TYPE_CHECKING:
    from pipeline.recipe import Recipe


def problems(recipe: Recipe) -> Iterator[str]:
    """Yield what the sections of a recipe ask for and cannot have, each of which is fine by itself."""
    shape, student = None, recipe.distill.student if recipe.distill else None
    try:
        shapes = input_shapes(recipe.data)
        if shapes and len(shapes) > 1 and (student or not isinstance(recipe.model, ModelFile)):
            yield (
                f"the data has the inputs {', '.join(shapes)}, but architectures take one: give a model of your "
                "own that takes them (model.path), without distill"
            )
        elif shapes and len(shapes) == 1:
            (shape,) = shapes.values()
        if shape is not None:
            yield from several.problems(recipe.model, shape, recipe.data.task)
        _check(recipe.model, shape, recipe.data.task)
        if shape is not None and recipe.data.augment:
            augment.check(recipe.data.augment, shape)
    except InputError as error:
        yield str(error).replace("\n  ", "; ")
    try:
        if student:
            _check(student, shape, recipe.data.task)
    except InputError as error:
        yield "distill.student: " + str(error).replace("\n  ", "; ").replace("model.", "distill.student.")
    if not isinstance(recipe.model, ModelFile) and not recipe.train:
        yield "train: expected a section, found nothing; an architecture has to be trained, a file has model.path"
    yield from _fit_problems(recipe)
    yield from compute_problems(recipe.compute)
    tried = recipe.sensitivity.techniques if recipe.sensitivity else None
    for name in recipe.excluding():
        if tried is not None and name not in tried:
            yield f"{name}.exclude is auto, but sensitivity.techniques leaves {name} out: add it"
    wrong = [*order.problems(recipe.asked(), recipe.order), *_pattern_problems(recipe)]
    yield from wrong
    if wrong:
        return  # what follows looks at the stages in their order
    if isinstance(recipe.model, ModelFile):
        from pipeline.formats.plain.folder import (
            conflicts as graph_conflicts,  # what few recipes need, few wait for
        )

        yield from graph_conflicts(Path(recipe.model.path), recipe.stages())
    if recipe.judge and not (recipe.measure and recipe.export):
        yield "judge needs the sections export and measure: limits are compared with measurements"
    if recipe.export:
        yield from export_conflicts(recipe.export, recipe.models())
    if recipe.edge and not (recipe.measure and recipe.export):
        yield "edge needs the sections export and measure: what a device answers is compared with what they have"
    elif recipe.edge:
        yield from edge_conflicts(recipe.edge, recipe.plan())
        if recipe.edge.npus and recipe.export and recipe.export.strip_tflite:
            yield (
                "edge.npu tells by the names of tensors what runs on the NPU, and export.strip_tflite takes these out: "
                "set one of the two to null or false"
            )
    yield from _lite_problems(recipe)
    yield from _batch_problems(recipe)
    yield from _bound_problems(recipe)
    if recipe.export and recipe.measure and recipe.judge:
        yield from conflicts(recipe.judge, recipe.plan(), recipe.measure.latency.percentile)


def _fit_problems(recipe: Recipe) -> Iterator[str]:
    """Yield what the sections that train ask for and cannot have."""
    own = isinstance(recipe.model, Builder) and recipe.model.loss is not None
    for name in ("train", "distill", "shrink", "prune", "cluster", "quantize"):
        section: FitConfig | None = getattr(recipe, name)
        if section is None:
            continue
        if name == "distill" and recipe.distill and isinstance(recipe.distill.student, Builder):
            own = own or recipe.distill.student.loss is not None
        yield from fit_problems.of_task(name, section, recipe.data.task)
        if recipe.data.classes:
            yield from fit_problems.of_names(name, section, recipe.data.classes)
        if own:  # which all that trains on later uses too
            yield from fit_problems.beside_own_loss(name, section)


def _pattern_problems(recipe: Recipe) -> Iterator[str]:
    """Yield why channels cannot go after zeros in a pattern."""
    if not (recipe.order and recipe.prune and recipe.prune.structured()) or "shrink" not in recipe.order:
        return
    if recipe.order.index("shrink") > recipe.order.index("prune"):
        yield (
            "order: shrink has to come before prune where prune.pattern says how zeros stand: channels that go "
            "would tear the pattern"
        )


def _bound_problems(recipe: Recipe) -> Iterator[str]:
    """Yield the bounds that are not in the unit of what models are judged by, where no drop can be so large."""
    judged = find(recipe.data.metric or DEFAULTS[recipe.data.task or "classification"])
    if judged is None or judged.most is None or judged.least is None:
        return
    limits = [("gates", recipe.judge.gates), *recipe.judge.artifacts.items()] if recipe.judge else []
    bounds = {f"judge.{name}.max_accuracy_drop": one.max_accuracy_drop for name, one in limits}
    tuning = {
        "distill": recipe.distill, "shrink": recipe.shrink, "prune": recipe.prune, "cluster": recipe.cluster,
        "quantize": recipe.quantize,
    }  # fmt: skip
    bounds |= {f"{name}.max_accuracy_loss": one.max_accuracy_loss for name, one in tuning.items() if one}
    for key, bound in bounds.items():
        if bound is not None and abs(bound) > 1:
            yield f"{key} is {bound:g}, but {judged.noun} is at most 1: 0.01 is one point"


def _lite_problems(recipe: Recipe) -> Iterator[str]:
    """Yield the .tflite files that are to be served, but are not exported."""
    asked = recipe.serving.tflite if recipe.serving else None
    made = [item.precision for item in recipe.plan() if item.format == "tflite"] if asked else []
    if missing := [precision for precision in asked or () if precision not in made]:
        exported = ", ".join(dict.fromkeys(made)) or "no .tflite"
        yield f"serving.tflite names {', '.join(missing)}, but exported is {exported}: add it to export.tflite"


def _batch_problems(recipe: Recipe) -> Iterator[str]:
    """Yield the batches that are measured, but that the server would refuse."""
    batching = recipe.serving.batching if recipe.serving else None
    if recipe.measure is None or batching is None or batching.max_batch_size is None:
        return
    sizes = {"measure.batch_size": recipe.measure.batch_size,
             "measure.latency.batch_size": recipe.measure.latency.batch_size}  # fmt: skip
    for key, size in sizes.items():
        if size > batching.max_batch_size:
            yield (
                f"{key} is {size}, but a server with serving.batching.max_batch_size {batching.max_batch_size} "
                f"refuses such a request: lower {key}"
            )
    warmed = recipe.export.warmup.batches if recipe.export and recipe.export.warmup else ()
    if warmed and max(warmed) > batching.max_batch_size:
        yield (
            f"export.warmup.batches has {max(warmed)}, but a server with serving.batching.max_batch_size "
            f"{batching.max_batch_size} loads no model with such a request: leave it out"
        )


def _check(model: Any, shape: tuple[int, ...] | None, task: Task | None) -> None:
    """Refuse a model that is impossible for inputs of a shape, where that is known; see `models.check`."""
    if isinstance(model, Builder):
        from pipeline.own_code.source import look

        look(model)
    elif shape is not None and not isinstance(model, (Selection, Ensemble, ModelFile)):
        models.check(model, shape, task)
