"""The models that a recipe is about, as they are before they are trained."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from models import ensemble
from models.several import Ensemble, Selection
from pipeline import data, several
from pipeline.doctor.forecast import Asked, Subject
from pipeline.events import Emit
from pipeline.formats import keras_file
from pipeline.formats.import_config import Config as ModelFile
from pipeline.own_code.config import Builder
from pipeline.stages import MODELS

if TYPE_CHECKING:
    from pipeline.data import Splits
    from pipeline.predictor import Spec
    from pipeline.recipe import Recipe


_MADE = (ModelFile, Builder, Selection)


def asked(recipe: Recipe, stages: Collection[str] | None = None) -> Asked:
    """Return what a recipe asks for.

    Args:
        stages: those of its stages that will be made; None: all.
    """
    names = tuple(name for name in recipe.models() if stages is None or name in stages)
    exporting = recipe.export if recipe.export and (stages is None or "export" in stages) else None
    found = Asked(names, {name: getattr(recipe, name) for name in names if name in MODELS and name != "import"})
    if exporting is None:
        return found
    return Asked(
        found.stages, found.sections, recipe.plan(), exporting.unrolled_steps, exporting.optional,
        exporting.mixed, exporting.select_tf_ops, exporting.strip_tflite,
    )  # fmt: skip


def of(
    recipe: Recipe, made: Mapping[str, Path], store: Path | None, emit: Emit
) -> tuple[list[Subject], Spec]:  # fmt: skip
    """Return the models of a recipe: built of its section, or read where a stage has made them; and what they are for.

    Args:
        made: name of a stage -> the folder of its result, the import's of a model file among them.
        store: where decoded data lies; None: it is decoded for this call.
        emit: takes what is to be said of a model that the user's code builds.

    Raises:
        InputError: a model does not fit the data, or the user's function fails.
    """
    # what is built of a config alone is built anew; a file, the user's code and a choice are taken as they came out
    first = made.get("train", made.get("import")) if isinstance(recipe.model, _MADE) else None
    splits = data.load(recipe.data, store) if first is None or recipe.distill else None
    student = None
    if recipe.distill:
        learner = recipe.distill.student
        if isinstance(learner, Builder) and "distill" in made:
            student, _ = keras_file.read(made["distill"])
        else:
            assert splits is not None
            student = _built(learner, splits, recipe.seed, "distill", emit)
    if first is not None:
        model, spec = keras_file.read(first)
        return [Subject("", model, student)], spec
    assert splits is not None
    config = recipe.model
    if isinstance(config, Selection):
        built = [
            Subject(several.in_short(one), models.build(one, splits.spec, recipe.seed), student)
            for one in config.candidates
        ]
    else:
        built = [Subject("", _built(config, splits, recipe.seed, "train", emit), student)]
    return built, splits.spec


def _built(config: Any, splits: Splits, seed: int, stage: str, emit: Emit) -> Any:
    if isinstance(config, Ensemble):
        members = [models.build(one, splits.spec, seed) for one in config.members]
        return ensemble.join(members, splits.spec)
    if isinstance(config, Builder):
        from pipeline.own_code import build
        from pipeline.own_code.source import look

        return build.build(config, splits, seed, expected=look(config).package, stage=stage, emit=emit)
    return models.build(config, splits.spec, seed)
