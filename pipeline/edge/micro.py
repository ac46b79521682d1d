"""A .tflite in TensorFlow Lite for Microcontrollers (TFLM): its answers, the memory it needs, what it refuses.

The package `tflite-micro` is the real runtime, compiled for this machine with its reference kernels. It answers one
sample at a time and never resizes: of a file with a dynamic batch it takes the shapes that are stored, a batch of one.
What it does not expect can end the process: call `run` in a `pipeline.isolate.Child`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.edge import resolver
from pipeline.edge.ends import dequantized, quantized, signature
from pipeline.edge.resolver import MicroError as MicroError
from pipeline.errors import MissingError
from pipeline.isolate import Child, CrashError
from pipeline.predictor import Samples, count
from pipeline.signature import Signature

_PACKAGE, _EXTRA = "tflite-micro", "micro"
_LARGEST = 2**28  # bytes; only what is used of an arena becomes memory, and no microcontroller has as much
_ALIGNMENT = 16
_TRIAL_S = 120.0
_ALLOCATED = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")
_NODE = re.compile(r"Node (\S+) \(number (\d+)f?\) failed to (prepare|invoke)")
_UNKNOWN = re.compile(r"Didn't find op for builtin opcode '([^']+)'")
_NOISE = re.compile(r"^Failed to get registration|^Node \S+ \(number|^\s*$|^INFO:")


@dataclass(frozen=True)
class Arena:
    """Bytes of the tensor arena, the one block of RAM that TFLM works in, as measured on this machine.

    What a device needs is less, with the same kernels: here a pointer has 8 bytes, on a 32-bit microcontroller 4, and
    the tail is mostly structs of pointers; the recorder that counts it is in it, too (about 200 bytes). But a port with
    kernels of its own (CMSIS-NN, ESP-NN) asks for scratch buffers that the reference kernels do without, in the head.
    So declare `size`, and let the device print `interpreter.arena_used_bytes()`.

    Attributes:
        size: the smallest arena, a multiple of 16, in which the model starts and answers. It can be more than head and
            tail, because the planner that lays out the head works in the arena before: in small models it decides.
        head: activations and scratch buffers, whose places are used again by later operators.
        tail: what lives as long as the interpreter: its structs, the kernels' data, variable tensors.
    """

    size: int
    head: int
    tail: int


@dataclass(frozen=True)
class Run:
    """What a file answered in TFLM.

    Attributes:
        answers: output name -> float32 [n, ...]; integers are dequantized: (integer - zero point) * scale.
        raw: output name -> [n, ...] in the file's own type (int8, uint8, int16, float32).
        arena: the memory it needs.
    """

    answers: dict[str, np.ndarray]
    raw: dict[str, np.ndarray]
    arena: Arena


def require() -> None:
    """Check that the runtime is there.

    Raises:
        MissingError: the extra `micro` is not installed.
    """
    if importlib.util.find_spec("tflite_micro") is None:
        raise MissingError(
            f"TensorFlow Lite for Microcontrollers needs {_PACKAGE}, which is not installed", expected=_PACKAGE,
            found="no such package in this Python environment", todo=f"pip install 'modelmill[{_EXTRA}]'",
        )  # fmt: skip


def run(path: Path, samples: Samples) -> Run:
    """Answer samples one by one; state (an LSTM's) is reset before each.

    Args:
        path: the .tflite, with a batch of one or a dynamic one; float32 or integer ends.
        samples: float32 [n, *shape] of the one input or of each by name (int32 token ids), n >= 1; raw values, which
            are quantized where the file's inputs are integers.

    Raises:
        MissingError: the extra `micro` is not installed.
        MicroError: TFLM has no kernel for an operator, or not for its types, or is known to compute it wrongly; or the
            file takes another fixed batch than one.
    """
    require()
    ends = signature(path)
    _require_single(path, ends)
    resolver.require(path)
    _require_no_npu(path)
    interpreter, head, tail = _started(path, _LARGEST)
    raw = _answers(path, interpreter, ends, samples)
    answers = {end.name: dequantized(raw[end.name], end) for end in ends.gives}
    return Run(answers, raw, Arena(_smallest(path, head + tail), head, tail))


def _answers(path: Path, interpreter: Any, ends: Signature, samples: Samples) -> dict[str, np.ndarray]:
    given = ends.named(samples)
    inputs = [quantized(given[end.name], end) for end in ends.takes]
    shapes = [tuple(interpreter.get_input_details(place)["shape"].tolist()) for place in range(len(inputs))]
    found: list[list[np.ndarray]] = [[] for _ in ends.gives]
    with _told(path):
        for place in range(count(samples)):
            interpreter.reset()
            for index, (values, shape) in enumerate(zip(inputs, shapes, strict=True)):
                interpreter.set_input(values[place].reshape(shape), index)
            interpreter.invoke()
            for index, answers in enumerate(found):
                answers.append(interpreter.get_output(index))
    return {end.name: np.concatenate(answers) for end, answers in zip(ends.gives, found, strict=True)}


def _started(path: Path, arena: int) -> tuple[Any, int, int]:
    """Return the interpreter, and the bytes of its head and of its tail."""
    from tflite_micro.python.tflite_micro.runtime import Interpreter

    with _told(path) as written:
        interpreter = Interpreter.from_bytes(path.read_bytes(), arena_size=arena)
        interpreter.print_allocations()
        used = {name: int(size) for name, size in _ALLOCATED.findall(written())}
    return interpreter, used["head"], used["tail"]


def _smallest(path: Path, used: int) -> int:
    """Return the bytes of the smallest arena that a file starts and answers in; each is tried in a child.

    In one that is too small TFLM says so, or crashes.
    """
    least = -(-used // _ALIGNMENT)  # from here on in units of the alignment
    with Child(deadline_s=_TRIAL_S, memory_mb=None, threads=1, log=Path(os.devnull)) as child:

        def enough(units: int) -> bool:
            try:
                return child.call(suffices, path, units * _ALIGNMENT)
            except CrashError as crash:
                if crash.transient:
                    raise
                return False

        if enough(least):
            return least * _ALIGNMENT
        low, high = least, 2 * least
        while not enough(high):
            if high * _ALIGNMENT >= _LARGEST:
                raise MicroError(
                    f"TFLM answers samples with {path.name}, but fails with zeros in every arena that was tried",
                    expected=f"an answer in at most {_LARGEST // 2**20} MiB, as to the samples",
                    found="a failure that more memory does not end, so the smallest arena cannot be found",
                    todo="look for an operator that zeros make fail (a division), or choose another edge.artifact",
                )  # fmt: skip
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
    return high * _ALIGNMENT


def suffices(path: Path, arena: int) -> bool:
    """Return whether a file starts and answers in an arena of this size; it may crash instead."""
    try:
        interpreter, _, _ = _started(path, arena)
        ends = signature(path)
        for index in range(len(ends.takes)):
            about = interpreter.get_input_details(index)
            interpreter.set_input(np.zeros(about["shape"], about["dtype"]), index)
        interpreter.invoke()
    except (MicroError, RuntimeError):
        return False
    return True


def _require_single(path: Path, ends: Signature) -> None:
    fixed = sorted({end.shape[0] for end in ends.takes if end.shape and end.shape[0] not in (None, 1)})
    if fixed:
        raise MicroError(
            f"{path.name} takes {fixed[0]} samples at once, which a microcontroller does not have",
            expected="a batch of one, or a dynamic one", found=f"a batch of {fixed[0]}",
            todo="export it with a batch of one, as int8.int8-ends.batch1",
        )  # fmt: skip


def _require_no_npu(path: Path) -> None:
    if any(one.kind == resolver.ETHOS_U for one in resolver.operators(path)):
        raise MicroError(
            f"{path.name} is compiled for an Arm Ethos-U, which this machine does not have",
            expected="a file whose operators TFLM computes itself", found=f"the operator {resolver.ETHOS_U}",
            todo="run the file that Vela compiled it from",
        )  # fmt: skip


@contextlib.contextmanager
def _told(path: Path) -> Iterator[Any]:
    """Yield a function that returns what TFLM has written so far, and turn its exceptions into a MicroError.

    It raises "TFLM failed to allocate tensors" and writes the reason to the standard error of the process.
    """
    with tempfile.TemporaryFile() as file:

        def written() -> str:
            sys.stderr.flush()
            file.seek(0)
            return file.read().decode(errors="replace")

        sys.stderr.flush()
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield written
        except RuntimeError as error:
            raise _refusal(path, written(), error) from error
        finally:
            os.dup2(before, 2)
            os.close(before)


def _refusal(path: Path, written: str, error: Exception) -> MicroError:
    if unknown := _UNKNOWN.search(written):
        return resolver.no_kernel(path, unknown[1])
    reasons = [line.strip() for line in written.splitlines() if not _NOISE.search(line)]
    reason = "; ".join(dict.fromkeys(reasons)) or str(error)
    if node := _NODE.search(written):
        kind, number, _ = node.groups()
        return MicroError(
            f"TFLM refuses {kind}, operator {number} of {path.name}",
            expected="types and shapes that its kernel takes: int8, int16x8 or float32 throughout",
            found=reason, todo="export the file as int8, or leave this layer out of the model",
        )  # fmt: skip
    return MicroError(
        f"TFLM does not start {path.name}", expected=f"a model that fits an arena of {_LARGEST // 2**20} MiB",
        found=reason, todo="take a smaller model, or one of int8",
    )  # fmt: skip
