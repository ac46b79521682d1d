"""Which artifacts a recipe asks for, and how they are called: STAGE.FORMAT.PRECISION[.VARIANT]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

Format = Literal["saved_model", "tflite", "onnx"]
SUFFIX: dict[str, str] = {"saved_model": "", "tflite": ".tflite", "onnx": ".onnx"}


@dataclass(frozen=True)
class Planned:
    """An artifact to be made.

    Attributes:
        stage: the stage whose weights it holds.
        variant: what tells it from others of its precision (`formats/precisions.py`); empty for the plain one.
    """

    stage: str
    format: Format
    precision: str
    variant: str = ""

    @property
    def id(self) -> str:
        name = f"{self.stage}.{self.format}.{self.precision}"
        return f"{name}.{self.variant}" if self.variant else name

    @property
    def entry(self) -> str:
        """What a recipe's section `export` calls it within its format."""
        return f"{self.precision}.{self.variant}" if self.variant else self.precision

    @property
    def filename(self) -> str:
        """Name of its file, or of its folder with version folders for a SavedModel."""
        return self.id + SUFFIX[self.format]


class Named(Protocol):
    """What is planned, or what came of it."""

    @property
    def id(self) -> str: ...
    @property
    def stage(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def variant(self) -> str: ...


T = TypeVar("T", bound=Named)


def reference(items: Sequence[T]) -> T:
    """Return the artifact that everything is compared with: the float SavedModel of the first model."""
    return next(item for item in items if _float_saved_model(item))


def to_serve(items: Sequence[T]) -> T:
    """Return the SavedModel that is served as the result: the last float one.

    A quantization-aware one imitates int8 in float: it is slower than what it came from.
    """
    return [item for item in items if _float_saved_model(item)][-1]


def _float_saved_model(item: Named) -> bool:
    return item.format == "saved_model" and item.precision == "float32"


def final(items: Sequence[T], chosen: str | None) -> T:
    """Return the main result: the one chosen by id, else the last int8 .tflite, else the last float SavedModel.

    Of the variants of an int8 .tflite the plain one, and the first where that is not exported.
    """
    if chosen:
        return next(item for item in items if item.id == chosen)
    quantized = [item for item in items if item.format == "tflite" and item.precision == "int8"]
    plain = [item for item in quantized if not item.variant]
    return plain[-1] if plain else quantized[0] if quantized else to_serve(items)


def float_twin(items: Sequence[T], of: Named) -> T | None:
    """Return the reference model's float32 artifact for the same runtime, or None where there is none."""
    stage = reference(items).stage
    wanted = Planned(stage, of.format, "float32").id  # type: ignore[arg-type]
    return next((other for other in items if other.id == wanted), None)
