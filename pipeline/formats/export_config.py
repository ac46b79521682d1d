"""The recipe's section `export`: which formats and precisions, and the artifacts that come of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.config import NEUTRAL, Frozen
from pipeline.formats import UNROLLED_STEPS
from pipeline.plan import Planned

QUANTIZE = "quantize"


class Config(Frozen):
    """Formats and precisions to export; the first model's SavedModel is always made, everything is compared with it.

    The last float stage is exported in every float precision, earlier ones in float32 alone; int8 files come from
    quantize, or by post-training quantization of the last float stage where the recipe has no such section.
    """

    stages: (
        tuple[Literal["train", "distill", "shrink", "prune", "cluster", "quantize"], ...] | Literal["all"] | None
    ) = Field(
        default=None,
        description="whose models are exported besides the first one's: a list, or all of the recipe's; null: the last "
        "float stage's and quantize's",
    )
    saved_model: tuple[Literal["float32", "fake-quant"], ...] = Field(
        default=("float32", "fake-quant"),
        description="precisions of the SavedModel; fake-quant: quantize's, which is only measured, to show what "
        "it costs, and is never what is served as the result",
    )
    tflite: tuple[Literal["float32", "sparse-float32", "float16", "dynamic-int8", "int8"], ...] = Field(
        default=("float32", "float16", "dynamic-int8", "int8"),
        description="precisions of the .tflite; int8 without a section quantize: quantized after training with the "
        "calibration split; sparse-float32: kernels with many zeros are stored without them, and XNNPACK may compute "
        "by its sparse kernels (prune.policy)",
    )
    onnx: tuple[Literal["float32", "int8"], ...] = Field(
        default=("float32", "int8"), description="precisions of the .onnx; int8 (QDQ) is made from the int8 .tflite"
    )
    unrolled_steps: int = Field(
        default=UNROLLED_STEPS,
        ge=0,
        description="recurrent layers are written out step by step in .tflite files, up to that many time steps of all "
        "layers and directions together: any batch size, as fast or faster, but larger. Above, a file takes one sample "
        "at a time, and int8 works for LSTM alone, slower and less exact. Conversion takes longer, most to onnx int8",
    )
    optional: Annotated[tuple[str, ...], NEUTRAL] = Field(
        default=(), description="ids of artifacts whose failure does not fail the verdict"
    )
    deadline_s: Annotated[float, NEUTRAL] = Field(default=600, gt=0, description="longest time for one conversion")
    memory_mb: Annotated[int | None, NEUTRAL] = Field(
        default=8192, gt=0, description="most memory of the conversion's process, in MiB"
    )

    @model_validator(mode="after")
    def _possible(self) -> Config:
        if "int8" in self.onnx and "int8" not in self.tflite:
            raise ValueError("onnx int8 is made from the int8 .tflite: add int8 to export.tflite")
        for name in ("saved_model", "tflite", "onnx"):
            asked = getattr(self, name)
            if len(set(asked)) != len(asked):
                raise ValueError(f"{name} names a precision twice: {', '.join(asked)}")
        if "float32" not in self.saved_model:
            raise ValueError("saved_model lacks float32: everything is compared with the first model's")
        return self


def plan(config: Config, models: Sequence[str]) -> tuple[Planned, ...]:
    """Return the artifacts that a config asks for, in the order in which they are made.

    Args:
        models: the stages of the recipe that make a model, in their order.
    """
    floats = [stage for stage in models if stage != QUANTIZE]
    quantized = QUANTIZE in models
    match config.stages:
        case None:
            asked = {floats[-1], QUANTIZE}
        case "all":
            asked = set(models)
        case listed:
            asked = set(listed)
    planned: list[Planned] = []
    for stage in models:
        if stage not in asked and stage != floats[0]:
            continue
        wanted: dict[Any, tuple[str, ...]] = {
            "saved_model": config.saved_model, "tflite": config.tflite, "onnx": config.onnx
        }  # fmt: skip
        for form, precisions in wanted.items():
            for precision in precisions:
                if stage == QUANTIZE:
                    made = precision in ("int8", "fake-quant")
                elif stage == floats[-1]:
                    made = precision != "fake-quant" and not (precision == "int8" and quantized)
                else:
                    made = precision == "float32"
                if made:
                    planned.append(Planned(stage, form, precision))
    return tuple(planned)


def conflicts(config: Config, models: Sequence[str]) -> Iterator[str]:
    """Yield what a config asks of stages that the recipe does not have."""
    listed = config.stages if isinstance(config.stages, tuple) else models
    absent = [stage for stage in listed if stage not in models]
    if absent:
        yield f"export.stages names what the recipe has not: {', '.join(absent)}; it has {', '.join(models)} (or all)"
        return
    if QUANTIZE in models and QUANTIZE not in listed and "int8" in (*config.tflite, *config.onnx):
        yield "export asks for int8, which quantize makes, but export.stages leaves quantize out: add it, or drop int8"
    if "sparse-float32" in config.tflite and not {"prune", "import"} & set(models):
        yield "export.tflite asks for sparse-float32, but nothing makes zeros: add a section prune, or drop it"
    ids = [item.id for item in plan(config, models)]
    unknown = [name for name in config.optional if name not in ids]
    if unknown:
        yield f"export.optional names what is not exported: {', '.join(unknown)}; exported: {', '.join(ids)}"
