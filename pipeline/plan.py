"""Which artifacts a recipe asks for, and how they are called: STAGE.FORMAT.PRECISION."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Format = Literal["saved_model", "tflite", "onnx"]
SUFFIX: dict[str, str] = {"saved_model": "", "tflite": ".tflite", "onnx": ".onnx"}
RUNTIME: dict[str, str] = {"saved_model": "tensorflow", "tflite": "litert", "onnx": "onnxruntime"}


@dataclass(frozen=True)
class Planned:
    """An artifact to be made.

    Attributes:
        stage: the stage whose weights it holds.
        optional: its failure does not fail the verdict.
    """

    stage: str
    format: Format
    precision: str
    optional: bool = False

    @property
    def id(self) -> str:
        return f"{self.stage}.{self.format}.{self.precision}"

    @property
    def filename(self) -> str:
        """Name of its file, or of its folder with version folders for a SavedModel."""
        return self.id + SUFFIX[self.format]

    @property
    def runtime(self) -> str:
        return RUNTIME[self.format]


def reference(plan: tuple[Planned, ...]) -> Planned:
    """Return the artifact that everything is compared with: the float SavedModel of the first model."""
    return next(item for item in plan if item.format == "saved_model")


def final(plan: tuple[Planned, ...], chosen: str | None) -> Planned:
    """Return the main result: the one chosen by id, else the last quantized .tflite, else the last SavedModel."""
    if chosen:
        return next(item for item in plan if item.id == chosen)
    quantized = [item for item in plan if item.format == "tflite" and "int8" in item.precision]
    return (quantized or [item for item in plan if item.format == "saved_model"])[-1]


def float_twin(plan: tuple[Planned, ...], item: Planned) -> Planned | None:
    """Return the reference model's float32 artifact for the same runtime, or None where the recipe has none."""
    stage = reference(plan).stage
    wanted = (stage, item.format, "float32")
    return next((other for other in plan if (other.stage, other.format, other.precision) == wanted), None)
