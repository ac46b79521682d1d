"""The recipe's section `export`: which formats and precisions, and the artifacts that come of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from pipeline.config import NEUTRAL, Frozen
from pipeline.formats import OLDEST_OPSET, OPSET, UNROLLED_STEPS, precisions
from pipeline.plan import Planned

QUANTIZE = "quantize"


class Warmup(Frozen):
    """The requests in a SavedModel that a server replays on it before it is served, so that no client's is slow."""

    batches: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = Field(
        default=(1, 32),
        min_length=1,
        max_length=1000,
        description="samples in a request, one request each; a server that batches loads no version with more than its "
        "max_batch_size",
    )
    samples: int = Field(
        default=1,
        ge=0,
        description="how many of the calibration split's samples they are made of, which so become part of the "
        "SavedModel; 0: zeros and empty texts, so that none of the data leaves with it",
    )


class Config(Frozen):
    """Formats and precisions to export; the first model's SavedModel is always made, everything is compared with it.

    The last float stage is exported in every float precision, earlier ones in float32 alone; int8 files come from
    quantize, or by post-training quantization of the last float stage where the recipe has no such section, or asks
    for both.
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
    tflite: tuple[Annotated[str, AfterValidator(precisions.tflite_entry)], ...] = Field(
        default=("float32", "float16", "dynamic-int8", "int8"),
        description="precisions of the .tflite: float32; sparse-float32 (kernels with many zeros are stored without "
        "them, and XNNPACK may compute by its sparse kernels: prune.policy); float16 (weights); dynamic-int8 and "
        "dynamic-int4 (weights; activations are quantized while it runs); weight-int8 and weight-int4 (weights, which "
        "are computed with as floats); mixed (by layer: export.mixed); int16x8 (int16 activations, int8 weights); int8 "
        "(without a section quantize: quantized after training with the calibration split). Behind a dot a variant: "
        "int8.int8-ends and int8.uint8-ends (integer inputs and outputs), batch1 (any number; a fixed batch), both as "
        "int8.int8-ends.batch1",
    )
    after_training: bool = Field(
        default=False,
        description="with a section quantize: int8 files of the last float stage too, quantized after training, to "
        "show what training for int8 is worth",
    )
    mixed: dict[str, Literal["float32", "dynamic-int8", "dynamic-int4", "weight-int8", "weight-int4"]] = Field(
        default={},
        description="of the .tflite mixed, what a layer's kernels are, by its name or a pattern (conv_*); the last one "
        "that fits decides, and what none fits stays float32",
    )
    select_tf_ops: bool = Field(
        default=False,
        description="what TFLite has no operator for is left in a .tflite to TensorFlow's own (SELECT_TF_OPS); the app "
        "has to bring these along (Flex), and neither LiteRT here nor a server runs such a file",
    )
    strip_tflite: bool = Field(
        default=False,
        description="take out of each .tflite what only people and tools read (names of tensors inside, metadata, "
        "names of classes) and pack it once more: about 1 kB less after gzip of a small network, the same answers bit "
        "by bit",
    )
    onnx: tuple[Annotated[str, AfterValidator(precisions.onnx_entry)], ...] = Field(
        default=("float32", "int8"),
        description="precisions of the .onnx: float32; float16 (weights and what is computed with them); int8 (QDQ, "
        "made from the int8 .tflite); int8.ort (by ONNX Runtime's static quantization of the last float stage with the "
        "calibration split)",
    )
    opset: int = Field(
        default=OPSET,
        ge=OLDEST_OPSET,
        le=OPSET,
        description="version of the operators in the .onnx: an older one for a runtime that does not know the newest",
    )
    simplify: bool = Field(
        default=True,
        description="remove from the .onnx what need not be computed (onnxslim); a file that would answer otherwise is "
        "left as it is, and the run says so",
    )
    unrolled_steps: int = Field(
        default=UNROLLED_STEPS,
        ge=0,
        description="recurrent layers are written out step by step in .tflite files, up to that many time steps of all "
        "layers and directions together: any batch size, as fast or faster, but larger. Above, a file takes one sample "
        "at a time, and int8 works for LSTM alone, slower and less exact. Conversion takes longer, most to onnx int8",
    )
    warmup: Warmup | None = Field(
        default=Warmup(), description="requests in each SavedModel that a server replays before it serves; null: none"
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
        if "int8" in self.onnx and self.strip_tflite:
            raise ValueError(
                "onnx int8 is made from the int8 .tflite by the names of its tensors, which strip_tflite takes out: "
                "drop int8 from export.onnx, or make the two in runs of their own"
            )
        mixes = any(precisions.split(entry)[0] == "mixed" for entry in self.tflite)
        if mixes and not self.mixed:
            raise ValueError("tflite mixed wants to be told of layers: set export.mixed, as {'conv_*': weight-int8}")
        if self.mixed and not mixes:
            raise ValueError("mixed says what the layers of a .tflite mixed are, but export.tflite has none: add mixed")
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
        for form, entries in wanted.items():
            for entry in entries:
                name, variant = precisions.split(entry)
                learned = name == "fake-quant" or (name == "int8" and variant != precisions.ORT)
                if stage == QUANTIZE:
                    made = learned
                elif stage == floats[-1]:
                    made = name != "fake-quant" and not (learned and quantized and not config.after_training)
                else:
                    made = entry == "float32"
                if made:
                    planned.append(Planned(stage, form, name, variant))
    return tuple(planned)


def conflicts(config: Config, models: Sequence[str]) -> Iterator[str]:
    """Yield what a config asks of stages that the recipe does not have."""
    listed = config.stages if isinstance(config.stages, tuple) else models
    absent = [stage for stage in listed if stage not in models]
    if absent:
        yield f"export.stages names what the recipe has not: {', '.join(absent)}; it has {', '.join(models)} (or all)"
        return
    learned = {"int8"} & {*(precisions.split(entry)[0] for entry in config.tflite), *config.onnx}
    if QUANTIZE in models and QUANTIZE not in listed and learned:
        yield "export asks for int8, which quantize makes, but export.stages leaves quantize out: add it, or drop int8"
    if config.after_training and QUANTIZE not in models:
        yield (
            "export.after_training is for int8 files beside those of quantize, and the recipe has no section quantize: "
            "int8 files are quantized after training anyway; remove it, or add quantize"
        )
    if any(entry.startswith("sparse-float32") for entry in config.tflite) and not {"prune", "import"} & set(models):
        yield "export.tflite asks for sparse-float32, but nothing makes zeros: add a section prune, or drop it"
    ids = [item.id for item in plan(config, models)]
    unknown = [name for name in config.optional if name not in ids]
    if unknown:
        yield f"export.optional names what is not exported: {', '.join(unknown)}; exported: {', '.join(ids)}"
