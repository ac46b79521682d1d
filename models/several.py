"""Several models in one recipe: candidates of which the best goes on, and the members of an ensemble."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

import models
from models import ModelConfig
from pipeline.config import Frozen
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.predictor import Task


class Selection(Frozen):
    """Architectures that are trained on the same budget; the one that is best on the validation split goes on."""

    architecture: Literal["selection"] = "selection"
    candidates: tuple[ModelConfig, ...] = Field(
        description="each as in the section model; all are trained as `train` says, from the same seed"
    )

    # not by min_length, which counts only those without a mistake in them
    @model_validator(mode="after")
    def _leaves_a_choice(self) -> Selection:
        if len(self.candidates) < 2:
            raise ValueError("candidates lists fewer than two models: there is nothing to choose from")
        return self


class Ensemble(Frozen):
    """Models that are trained one by one and answer together, as one model, with the mean of their answers."""

    architecture: Literal["averaged"] = "averaged"
    ensemble: tuple[ModelConfig, ...] = Field(
        description="the members, each as in the section model and trained as `train` says"
    )
    copies: int = Field(default=1, ge=1, description="how many of each member, every one from a seed of its own")

    @model_validator(mode="after")
    def _is_more_than_one(self) -> Ensemble:
        if len(self.members) < 2:
            raise ValueError("an ensemble has two or more members: list them under ensemble, or raise copies")
        return self

    @property
    def members(self) -> tuple[ModelConfig, ...]:
        """Every member, the copies of one after each other."""
        return tuple(one for one in self.ensemble for _ in range(self.copies))


def written_out(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a recipe's mapping with the architecture that `model: {candidates: ...}` or `{ensemble: ...}` means."""
    model = document.get("model")
    if isinstance(model, dict) and "architecture" not in model:
        for key, architecture in (("candidates", "selection"), ("ensemble", "averaged")):
            if key in model:
                return {**document, "model": {"architecture": architecture, **model}}
    return document


def problems(model: Any, input_shape: tuple[int, ...], task: Task | None) -> Iterator[str]:
    """Yield what makes one of several models impossible for inputs of this shape, with its place; see `models.check`.

    Args:
        model: of any kind; of one that is not several there is nothing to say here.
    """
    listed: tuple[str, tuple[ModelConfig, ...]] = ("", ())
    if isinstance(model, Selection):
        listed = ("candidates", model.candidates)
    elif isinstance(model, Ensemble):
        listed = ("ensemble", model.ensemble)
    key, configs = listed
    for place, config in enumerate(configs):
        try:
            models.check(config, input_shape, task)
        except InputError as error:
            where = f"model.{key}[{place}]"
            yield f"{where}: " + str(error).replace("\n  ", "; ").replace("model.", f"{where}.")
