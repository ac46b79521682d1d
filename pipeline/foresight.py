"""What a later stage would refuse, told before an earlier one trains for minutes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from models.several import Ensemble, Selection
from pipeline.compress.pattern_config import Unstructured
from pipeline.own_code.config import Builder
from pipeline.stages import import_model, prune, shrink

if TYPE_CHECKING:
    from pipeline.artifact import Artifact
    from pipeline.recipe import Recipe


def check(recipe: Recipe, done: Mapping[str, Artifact], store: Path) -> None:
    """Hold the sections shrink and prune against the model that they are going to get, as it is before it is trained.

    Not told here is what depends on a training: what the user's code builds, and which of several candidates is best.

    Args:
        done: the stages' results so far, an imported file's among them.
        store: where decoded data lies.

    Raises:
        InputError: shrink or prune would refuse the model; see `shrink.run`, `prune.run`.
    """
    config = recipe.distill.student if recipe.distill else recipe.model
    if not (recipe.shrink or recipe.prune) or isinstance(config, (Builder, Selection, Ensemble)):
        return
    if isinstance(config, import_model.Config):
        from pipeline.formats import keras_file

        # fine-tuning changes weights, and no channels
        model, _ = keras_file.read(done[import_model.NAME].folder)
    else:
        import models
        from pipeline import data

        model = models.build(config, data.load(recipe.data, store).spec, recipe.seed)
    if recipe.shrink is not None:
        shrink.check(model, recipe.shrink)
    if recipe.prune is not None:
        # fewer channels may no longer be the multiples that a pattern wants, but layers stay what they are
        widths = recipe.shrink is not None
        prune.check(model, recipe.prune.model_copy(update={"pattern": Unstructured()}) if widths else recipe.prune)
