"""What the start of a file costs: its load, its first answer and its memory, each time in a fresh process.

On Linux a child that imports the runtimes and loads nothing is forked for each start, as Android does with its zygote:
the fork is as fresh as a new process, and costs milliseconds where importing the runtime costs some hundred. Elsewhere
each start has a child of its own: macOS kills forks of a process whose libraries have threads. TensorFlow is never
imported in there, so nothing of it is in the figures.
"""

from __future__ import annotations

import ctypes
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.ending import describe
from pipeline.errors import RunError
from pipeline.isolate import Child, CrashError

REPEATS = 5
FORKS = sys.platform == "linux"
_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Opening:
    """A file to be started.

    Attributes:
        form: "tflite" or "onnx".
        threads: that its runtime gets.
        inputs: name -> [n, ...], what its first answer is to; n is what the file takes at once, else 1.
    """

    form: str
    path: Path
    threads: int
    inputs: dict[str, np.ndarray]


def start(opening: Opening, fresh: Child) -> dict[str, Any]:
    """Start a file `REPEATS` times, each time in a process that has loaded nothing yet.

    Args:
        fresh: runs nothing but starts.

    Returns:
        the keys of `report.startup.Startup`.

    Raises:
        CrashError, FailedError, RunError: one of these processes died, or could not start the file.
    """
    if FORKS:
        return _together(opening, fresh.call(_in_forks, opening))
    found = []
    for _ in range(REPEATS):
        with fresh:  # which ends its process; the next call starts another
            found.append(fresh.call(_here, opening))
    return _together(opening, found)


def _in_forks(opening: Opening) -> list[dict[str, Any]]:
    opened = _prepared(opening)
    return [_forked(lambda: _timed(opening, opened), opening.path.name) for _ in range(REPEATS)]


def _here(opening: Opening) -> dict[str, Any]:
    return _timed(opening, _prepared(opening))


def _prepared(opening: Opening) -> type[_LiteRT] | type[_OnnxRuntime]:
    """Import the runtime of a file."""
    opened: type[_LiteRT] | type[_OnnxRuntime] = _LiteRT if opening.form == "tflite" else _OnnxRuntime
    for name in opened.MODULES:
        import_module(name)
    _tidy_heap()
    return opened


def _together(opening: Opening, found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what several starts make together."""
    loads, firsts = ([one[key] for one in found] for key in ("load_ms", "first_ms"))
    memory = {
        key: statistics.median(one[key] for one in found) if all(one[key] is not None for one in found) else None
        for key in ("memory_mib", "mapped_mib")
    }
    return {
        "repeats": REPEATS, "batch": len(next(iter(opening.inputs.values()))), "load_ms": statistics.median(loads),
        "first_ms": statistics.median(firsts), "loads_ms": loads, "firsts_ms": firsts, **memory, **found[0]["told"],
    }  # fmt: skip


def _timed(opening: Opening, opened: type[_LiteRT] | type[_OnnxRuntime]) -> dict[str, Any]:
    before = _resident()
    started = time.perf_counter()
    model = opened(opening)
    load_ms = 1e3 * (time.perf_counter() - started)
    model.prepare()
    started = time.perf_counter()
    kept = model.answer()
    first_ms = 1e3 * (time.perf_counter() - started)
    memory = _added(before, _resident(), opening.path)
    del kept  # until here its memory is in use
    return {"load_ms": load_ms, "first_ms": first_ms, **memory, "told": model.told()}


class _LiteRT:
    """A .tflite as an app loads it, ready for input."""

    MODULES = ("ai_edge_litert.interpreter", "pipeline.formats.tflite.delegated")

    def __init__(self, opening: Opening) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter: Any = Interpreter(model_path=str(opening.path), num_threads=opening.threads)
        # a runner of the signature, which is public, allocates by itself and keeps views that forbid to do it again
        ends = self._interpreter._get_full_signature_list()[_SIGNATURE]
        self._given = {index: opening.inputs[name] for name, index in ends["inputs"].items()}
        self._details = {detail["index"]: detail for detail in self._interpreter.get_input_details()}
        for index, values in self._given.items():
            if tuple(self._details[index]["shape"]) != values.shape:
                self._interpreter.resize_tensor_input(index, values.shape)
        self._interpreter.allocate_tensors()
        self._outputs = list(ends["outputs"].values())

    def prepare(self) -> None:
        """Make of raw values what the inputs hold: that is an app's own work, and not the file's."""
        self._given = {index: _as_taken(values, self._details[index]) for index, values in self._given.items()}

    def answer(self) -> object:
        for index, values in self._given.items():
            self._interpreter.set_tensor(index, values)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]

    def told(self) -> dict[str, Any]:
        from pipeline.formats.tflite.delegated import delegated

        return {"delegated": vars(delegated(self._interpreter))}


class _OnnxRuntime:
    """An .onnx as an app loads it, ready for input."""

    MODULES = ("onnxruntime", "pipeline.formats.onnx")

    def __init__(self, opening: Opening) -> None:
        from pipeline.formats import onnx

        self._predictor = onnx.load(opening.path, None, opening.threads)
        self._given = opening.inputs

    def prepare(self) -> None:
        """Do nothing: the inputs are as they are given."""

    def answer(self) -> object:
        return self._predictor.predict(self._given)

    def told(self) -> dict[str, Any]:
        return {}


def _as_taken(values: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    """Return values in the numbers of an input: a file with integer ends has a scale and a zero point for them."""
    dtype, (scale, zero) = np.dtype(detail["dtype"]), detail["quantization"]
    if values.dtype.kind != "f" or dtype.kind == "f" or not scale:
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    found: np.ndarray = np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(dtype)
    return found


def _tidy_heap() -> None:
    """Give free memory back to the system, where the C library can: a start that got it would seem to need none."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _resident() -> dict[str, int] | None:
    """Return the kernel's counters of this process's resident memory in KiB; None where there are none (not Linux)."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    found = {key: int(value.split()[0]) for key, value in pairs if key in ("VmHWM", "RssAnon", "RssFile", "RssShmem")}
    return found if len(found) == 4 else None


def _added(before: dict[str, int] | None, after: dict[str, int] | None, path: Path) -> dict[str, float | None]:
    """Return `memory_mib` and `mapped_mib`.

    The kernel keeps the peak of all resident pages together (VmHWM). Those of files only ever grow while one is loaded,
    so what is left without them is the peak of the private pages.
    """
    if before is None or after is None:
        return {"memory_mib": None, "mapped_mib": None}
    peak = max(after["VmHWM"] - after["RssFile"] - after["RssShmem"], after["RssAnon"])
    mapped = _mapped(path)
    return {"memory_mib": (max(peak - before["RssAnon"], 0) + mapped) / 1024, "mapped_mib": mapped / 1024}


def _mapped(path: Path) -> int:
    """Return how many KiB of a file's pages are mapped and resident."""
    total, inside, name = 0, False, os.path.realpath(path)
    with Path("/proc/self/smaps").open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            first, _, rest = line.partition(" ")
            if not first.endswith(":"):
                inside = rest.rstrip("\n").endswith(f" {name}")
            elif inside and first == "Rss:":
                total += int(rest.split()[0])
    return total


def _forked(function: Callable[[], dict[str, Any]], name: str) -> dict[str, Any]:
    """Return what a function returns in a fork of this process, which ends with it.

    Raises:
        CrashError: a signal ended the fork.
        RunError: the function raised there; the traceback is in standard error.
    """
    receiving, sending = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            with os.fdopen(sending, "w", encoding="utf-8") as pipe:
                json.dump(function(), pipe)
            status = 0
        except BaseException:  # noqa: BLE001 - nothing may leave the fork but its status
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(sending)
    with os.fdopen(receiving, encoding="utf-8") as pipe:
        answer = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        raise CrashError(*describe(status))
    if status:
        raise RunError(
            f"{name} does not start in a process of its own", expected="a first answer", found="an exception",
            todo="see the log for its traceback",
        )  # fmt: skip
    found: dict[str, Any] = json.loads(answer)
    return found
