"""How a teacher teaches, as types: the key `teach` of every section that fine-tunes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.config import Frozen

Layers = Annotated[dict[str, str], Field(min_length=1)]


class _Features(Frozen):
    layers: Layers | Literal["auto"] = Field(
        default="auto",
        description="{STUDENT_LAYER: TEACHER_LAYER}; auto: the last layers of each resolution that both networks have",
    )


class Fitnet(_Features):
    """Hints: the teacher's features are learned, through a regressor that is thrown away (Romero et al., 2015)."""

    method: Literal["fitnet"] = "fitnet"
    weight: float = Field(default=1.0, gt=0, description="of half the mean squared difference of features")


class Attention(_Features):
    """Attention transfer: the student learns where the teacher looks (Zagoruyko and Komodakis, 2017)."""

    method: Literal["attention"] = "attention"
    weight: float = Field(
        default=1.0, gt=0, description="of the squared distance of attention maps, each a vector of length 1"
    )


class Relations(Frozen):
    """Relational distillation: distances and angles among a batch's samples are learned (Park et al., 2019)."""

    distance_weight: float = Field(
        default=1.0, ge=0, description="of the loss of distances between pairs, in units of their mean; 0: not learned"
    )
    angle_weight: float = Field(
        default=2.0,
        ge=0,
        description="of the loss of cosines in triplets, which take batch_size^3 numbers; 0: not learned",
    )
    layers: Layers | None = Field(
        default=None, description="{STUDENT_LAYER: TEACHER_LAYER}; null: what each network's last dense layer takes"
    )

    @model_validator(mode="after")
    def _something_is_learned(self) -> Relations:
        if not self.distance_weight and not self.angle_weight:
            raise ValueError("distance_weight and angle_weight are both 0; one must be more, or leave relations out")
        return self


class TeachConfig(Frozen):
    """Knowledge distillation on logits (Hinton, Vinyals and Dean, 2015), and on what is inside of the first teacher."""

    temperature: float = Field(
        default=4.0, gt=0, le=100, description="softens the logits of both sides; 1: as they are"
    )
    soft_weight: float = Field(
        default=0.9, ge=0, le=1, description="share of the teacher's loss; the labels have the rest"
    )
    features: Annotated[Fitnet | Attention, Field(discriminator="method")] | None = Field(
        default=None,
        description="one of fitnet attention: what layers answer is learned too, of the first teacher; null: not",
    )
    relations: Relations | None = Field(
        default=None,
        description="how a batch's samples lie to each other is learned too, of the first teacher; null: not",
    )
