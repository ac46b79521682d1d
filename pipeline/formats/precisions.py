"""The precisions in which files are exported, and the variants of a file: how a recipe writes them, and what they mean.

An entry is PRECISION or PRECISION.VARIANT. A .tflite's variant names its ends, its fixed batch, or both: int8-ends,
uint8-ends, batch1, int8-ends.batch1. An .onnx's is who quantized it: int8 is made from the int8 .tflite, int8.ort by
ONNX Runtime's static quantization.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

TFLITE = (
    "float32", "sparse-float32", "float16", "dynamic-int8", "dynamic-int4", "weight-int8", "weight-int4", "mixed",
    "int16x8", "int8",
)  # fmt: skip
ONNX = ("float32", "float16", "int8")
ORT = "ort"
# what has its activations quantized with the calibration split
STATIC = ("int8", "int16x8")
# what ai-edge-quantizer makes of the float32 file, because TensorFlow's converter cannot
MIXED = "mixed"
BY_QUANTIZER = ("dynamic-int4", "weight-int8", "weight-int4", MIXED)

_VARIANT = re.compile(r"(?:(?P<ends>int8|uint8)-ends)?(?:(?:^|(?<!^)\.)batch(?P<batch>[1-9][0-9]{0,4}))?")


@dataclass(frozen=True)
class Variant:
    """What is special about a file among those of its precision.

    Attributes:
        ends: type of its inputs and outputs, but for token ids.
        batch: the only number of samples that it takes; None: any.
        by_ort: ONNX Runtime quantized it.
    """

    ends: Literal["float32", "int8", "uint8"] = "float32"
    batch: int | None = None
    by_ort: bool = False

    @staticmethod
    def of(text: str) -> Variant:
        """Read the part of an artifact's id behind its precision; empty: nothing is special.

        Raises:
            ValueError: it is not one.
        """
        if text == ORT:
            return Variant(by_ort=True)
        match = _VARIANT.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no variant of a file")
        batch = match["batch"]
        return Variant(match["ends"] or "float32", int(batch) if batch else None)  # type: ignore[arg-type]


PLAIN = Variant()


def split(entry: str) -> tuple[str, str]:
    """Return the precision and the variant of an entry."""
    precision, _, variant = entry.partition(".")
    return precision, variant


def tflite_entry(entry: str) -> str:
    """Return an entry of `export.tflite`.

    Raises:
        ValueError: it is none; with what it could be.
    """
    precision, variant = split(entry)
    try:
        meant = Variant.of(variant)
    except ValueError:
        meant = Variant(by_ort=True)
    if precision not in TFLITE or meant.by_ort or (entry.endswith(".") and not variant):
        raise ValueError(
            f"expected one of {', '.join(TFLITE)}, or one with a variant (int8.int8-ends, int8.uint8-ends, "
            f"float32.batch1, int8.int8-ends.batch1), found {entry!r}"
        )
    if meant.ends != "float32" and precision != "int8":
        raise ValueError(f"only int8 files can have integer ends, found {entry!r}; write int8.{variant}")
    return entry


def onnx_entry(entry: str) -> str:
    """Return an entry of `export.onnx`.

    Raises:
        ValueError: it is none; with what it could be.
    """
    known = (*ONNX, f"int8.{ORT}")
    if entry not in known:
        raise ValueError(f"expected one of {', '.join(known)}, found {entry!r}")
    return entry
