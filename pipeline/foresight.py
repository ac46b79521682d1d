"""What a later stage would refuse, told before an earlier one trains for minutes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from models.several import Ensemble, Selection
from pipeline.own_code.config import Builder
from pipeline.stages import import_model, shrink

if TYPE_CHECKING:
    from pipeline.artifact import Artifact
    from pipeline.recipe import Recipe


def check(recipe: Recipe, done: Mapping[str, Artifact], store: Path) -> None:
    """Hold the section shrink against the model that it is going to get, as it is before it is trained.

    Not told here is what depends on a training: what the user's code builds, and which of several candidates is best.

    Args:
        done: the stages' results so far, an imported file's among them.
        store: where decoded data lies.

    Raises:
        InputError: shrink would refuse the model; see `shrink.run`.
    """
    config = recipe.distill.student if recipe.distill else recipe.model
    if recipe.shrink is None or isinstance(config, (Builder, Selection, Ensemble)):
        return
    if isinstance(config, import_model.Config):
        from pipeline.formats import keras_file

        # fine-tuning changes weights, and no channels
        model, _ = keras_file.read(done[import_model.NAME].folder)
    else:
        import models
        from pipeline import data

        model = models.build(config, data.load(recipe.data, store).spec, recipe.seed)
    shrink.check(model, recipe.shrink)
