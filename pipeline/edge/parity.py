"""Whether two runtimes answer the same, bit by bit: TFLM beside LiteRT.

Both are given the same integers. Where they differ, it is by rounding: LiteRT's default kernels (XNNPACK) requantize
otherwise than the reference kernels that TFLM has, so a step or two of the output's scale is no fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.edge.ends import dequantized, quantized, scales, signature
from pipeline.predictor import Samples, count
from pipeline.signature import End

Kernels = Literal["default", "reference"]
_WORST = 10


@dataclass(frozen=True)
class Parity:
    """How one output of a file in TFLM differs from LiteRT's.

    Attributes:
        output: its name.
        values: how many were compared.
        equal_share: share of the values that are equal bit by bit, 0 to 1.
        max_steps: largest difference in steps of the output's scale: of its integers, or of those that it is
            dequantized from; None: it is made of real numbers.
        max_difference: largest difference between what the values stand for, in the output's unit.
        same_decision_share: share of samples that have their largest value at the same place; None: not one axis of
            two or more values.
        differing: positions of samples that differ, the largest difference first, at most ten.
        differing_samples: how many samples differ in some value.
    """

    output: str
    values: int
    equal_share: float
    max_steps: int | None
    max_difference: float
    same_decision_share: float | None
    differing: tuple[int, ...]
    differing_samples: int


def in_litert(path: Path, samples: Samples, kernels: Kernels = "default") -> dict[str, np.ndarray]:
    """Answer samples in LiteRT, one at a time on one thread, as `micro.run` does in TFLM.

    Args:
        path: the .tflite.
        samples: as `micro.run` takes them.
        kernels: those that LiteRT takes by default (XNNPACK), or its reference kernels, of which TFLM's are made.

    Returns:
        output name -> [n, ...] in the file's own type.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = {"default": OpResolverType.AUTO, "reference": OpResolverType.BUILTIN_REF}[kernels]
    interpreter = Interpreter(model_path=str(path), num_threads=1, experimental_op_resolver_type=resolver)
    ends = signature(path)
    takes = [about["index"] for about in interpreter.get_input_details()]
    gives = [about["index"] for about in interpreter.get_output_details()]
    interpreter.allocate_tensors()
    given = ends.named(samples)
    inputs = [quantized(given[end.name], end) for end in ends.takes]
    found: list[list[np.ndarray]] = [[] for _ in gives]
    for place in range(count(samples)):
        interpreter.reset_all_variables()
        for index, values in zip(takes, inputs, strict=True):
            interpreter.set_tensor(index, values[place : place + 1])
        interpreter.invoke()
        for answers, index in zip(found, gives, strict=True):
            answers.append(interpreter.get_tensor(index))
    return {end.name: np.concatenate(answers) for end, answers in zip(ends.gives, found, strict=True)}


def compare(path: Path, micro: Mapping[str, np.ndarray], litert: Mapping[str, np.ndarray]) -> tuple[Parity, ...]:
    """Compare every output of a file, value by value.

    Args:
        path: the .tflite, for the scales of its outputs.
        micro: `micro.Run.raw`.
        litert: what `in_litert` returned for the same samples.
    """
    steps = scales(path)
    return tuple(_of(end, steps.get(end.name), micro[end.name], litert[end.name]) for end in signature(path).gives)


def _of(end: End, step: float | None, micro: np.ndarray, litert: np.ndarray) -> Parity:
    equal = (micro == litert) | (np.isnan(micro) & np.isnan(litert) if micro.dtype.kind == "f" else False)
    samples = len(micro)
    distance = np.abs(dequantized(micro, end).astype(np.float64) - dequantized(litert, end).astype(np.float64))
    # what is no number differs most of all
    of_sample = np.where(equal, 0.0, np.nan_to_num(distance, nan=np.inf)).reshape(samples, -1).max(axis=1)
    different = np.flatnonzero(~equal.reshape(samples, -1).all(axis=1))
    worst = different[np.argsort(-of_sample[different], kind="stable")][:_WORST]
    largest = float(of_sample.max())
    decides = micro.ndim == 2 and micro.shape[1] > 1
    return Parity(
        output=end.name, values=micro.size, equal_share=float(equal.mean()), max_difference=largest,
        max_steps=round(largest / step) if step is not None and np.isfinite(largest) else None,
        same_decision_share=float((micro.argmax(axis=1) == litert.argmax(axis=1)).mean()) if decides else None,
        differing=tuple(int(place) for place in worst), differing_samples=len(different),
    )  # fmt: skip
