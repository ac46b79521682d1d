"""What runs inside the measuring process while layers are timed: copies of an operation, in turns with the whole model.

A copy's time is what a program with more copies takes more, so that calls and the ends of a graph do not count. The
whole model takes a turn in each round: a machine that is slower for a while is slower for both. Of an operation with
many weights, which cannot be in memory at all its widths, some widths take their turns, then others.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.measuring.layer_operations import Operation
from pipeline.measuring.layer_times_config import TimedIn

if TYPE_CHECKING:
    from pipeline.predictor import Samples, Spec

ROUNDS = 7
_BLOCK_S = 0.001
_CALLS = 3  # at least so many in a block
_COPIES = 4  # besides the first
_HEAVY = 256_000  # weights of which one copy besides the first is enough to stand out
_WARM_UP = 3
_HELD_BYTES = 2**31  # of weights, in programs that take turns

_whole: dict[Path, Callable[[], object]] = {}


def convert(model: Path, target: TimedIn, samples: Samples, folder: Path) -> None:
    """Write a stage's model, in the folder `model`, as the target's runtime takes it, into `folder`, and load it.

    Args:
        samples: raw, n >= 1; the first is what the model is timed with, all fix the ranges of int8.

    Raises:
        ConversionError: a converter refuses the model.
    """
    from pipeline.formats import keras_file, onnx, saved_model, tflite
    from pipeline.predictor import Predictor, rows

    saved_model.pin_threads(target.threads)
    network, spec = keras_file.read(model)
    path = folder / f"whole-{target.runtime}"
    predictor: Predictor
    match target.runtime:
        case "litert":
            tflite.write(network, path, spec, target.precision, samples)
            predictor = tflite.load(path, spec, target.threads)
        case "onnxruntime":
            onnx.write(network, path, spec)
            predictor = onnx.load(path, spec, target.threads)
        case "tensorflow":
            saved_model.write(network, path, spec)
            predictor = saved_model.load(path, spec, target.threads)
    # all but a SavedModel take token ids
    first = _texts(spec, rows(samples, slice(1))) if target.runtime == "tensorflow" else rows(samples, slice(1))
    _whole[model] = lambda: predictor.predict(first)


def _texts(spec: Spec, samples: Samples) -> Samples:
    """Return samples with texts in place of token ids: the words that the ids stand for."""
    import numpy as np

    found = spec.named(samples)
    for one in spec.inputs:
        if one.vectorizer is not None and found[one.name].dtype.kind in "iu":
            words = one.vectorizer.vocabulary
            found[one.name] = np.array([" ".join(words[place] for place in row) for row in found[one.name]], object)
    return found


def time_wholes(models: Sequence[Path], times: int = 1) -> list[list[float]]:
    """Return for each converted model the milliseconds for one sample in each round, in which all take their turn."""
    found: list[list[float]] = [[] for _ in models]
    for _ in range(times):
        for place, some in enumerate(_rounds([_whole[model] for model in models])):
            found[place] += some
    return found


def time_operation(
    model: Path, operation: Operation, points: Sequence[tuple[int, int]], target: TimedIn
) -> tuple[list[float], float]:
    """Return the milliseconds of an operation at widths (inputs, outputs), and of the whole model in turns with it."""
    found, wholes = list[list[float]](), list[float]()
    for batch in batches(operation, points, target):
        # a function of its own: the programs of a batch are gone before those of the next are made
        ms, whole = _time_batch(model, operation, batch, target)
        found.append(ms)
        wholes.append(whole)
    usual = statistics.median(wholes)
    return [usual / whole * each for ms, whole in zip(found, wholes, strict=True) for each in ms], usual


def batches(operation: Operation, points: Sequence[tuple[int, int]], target: TimedIn) -> list[list[tuple[int, int]]]:
    """Return the widths in their order, in batches whose programs hold few enough weights, or of one pair of widths."""
    found, held = list[list[tuple[int, int]]](), 0
    for point in points:
        more = held_bytes(operation, *point, target)
        if not found or held + more > _HELD_BYTES:
            found.append([])
            held = 0
        found[-1].append(point)
        held += more
    return found


def held_bytes(operation: Operation, inputs: int, outputs: int, target: TimedIn) -> int:
    """Return the most bytes of weights that the programs at these widths hold: each copy's, and packed once more."""
    each = 1 if target.precision == "int8" else 4
    return 2 * each * operation.weights(inputs, outputs) * sum(_numbers(operation, inputs, outputs))


def _time_batch(
    model: Path, operation: Operation, points: Sequence[tuple[int, int]], target: TimedIn
) -> tuple[list[float], float]:
    programs = [_whole[model]]
    for inputs, outputs in points:
        programs += _programs(operation, inputs, outputs, target)
    times = _rounds(programs)
    found = []
    for place, (inputs, outputs) in enumerate(points):
        few, many = _numbers(operation, inputs, outputs)
        one, more = times[1 + 2 * place], times[2 + 2 * place]
        extra = [(long - short) / (many - few) for short, long in zip(one, more, strict=True)]
        found.append(max(statistics.median(extra), 0.0))
    return found, statistics.median(times[0])


def _numbers(operation: Operation, inputs: int, outputs: int) -> tuple[int, int]:
    """Return how many copies are in the two programs that are compared."""
    return 1, 1 + (1 if operation.weights(inputs, outputs) > _HEAVY else _COPIES)


def _programs(operation: Operation, inputs: int, outputs: int, target: TimedIn) -> list[Callable[[], object]]:
    from pipeline.measuring.layer_programs import litert, onnx, tensorflow

    numbers, how = _numbers(operation, inputs, outputs), {"threads": target.threads}
    match target.runtime:
        case "litert":
            integer = target.precision == "int8"
            return [litert.program(operation, inputs, outputs, n, integer=integer, **how) for n in numbers]
        case "onnxruntime":
            return [onnx.program(operation, inputs, outputs, n, **how) for n in numbers]
        case "tensorflow":
            return tensorflow.programs(operation, inputs, outputs, numbers, **how)


def _rounds(programs: Sequence[Callable[[], object]]) -> list[list[float]]:
    """Return for each program the milliseconds of a call in each round, in which all take their turn."""
    calls = []
    for program in programs:
        for _ in range(_WARM_UP):
            program()
        calls.append(max(_CALLS, round(_BLOCK_S / max(_block(program, _CALLS), 1e-7))))
    times: list[list[float]] = [[] for _ in programs]
    for _ in range(ROUNDS):
        for place, program in enumerate(programs):
            times[place].append(1e3 * _block(program, calls[place]))
    return times


def _block(program: Callable[[], Any], calls: int) -> float:
    """Return the seconds of the fastest of so many calls: what else the machine does only ever adds."""
    clock, least = time.perf_counter, float("inf")
    for _ in range(calls):
        start = clock()
        program()
        least = min(least, clock() - start)
    return least
