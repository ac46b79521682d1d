"""The limits of a device as gates: what a model takes of its flash, its RAM and its time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.report.document import Artifact, Latency
from pipeline.report.edge import Edge
from pipeline.report.gate import Gate

_SMALLER = "a smaller model (shrink.macs, fewer distill.student.filters)"
_BY_VELA = "Vela's estimate"


@dataclass(frozen=True)
class _Found:
    """A figure to hold against a limit.

    Attributes:
        value: None: there is none.
        said: what it is of, or why there is none.
        low, high: of its 95 % interval; None: it has none.
        problem: why it proves nothing; empty: it does.
        todo: what to do where there is no value.
    """

    value: float | None
    said: str
    low: float | None = None
    high: float | None = None
    problem: str = ""
    todo: str = ""


def gates(edge: Edge, artifact: Artifact) -> list[Gate]:
    """Compare what a file takes of a device with the limits there are.

    Args:
        artifact: the one that `edge` is of, with its runs.
    """
    return list(_gates(edge, artifact))


def _gates(edge: Edge, artifact: Artifact) -> Iterator[Gate]:
    budget = edge.budget
    if budget.flash_bytes is not None:
        todo = f"{_SMALLER}, or edge.flash_kb for a device with more flash"
        yield _gate("max_flash_bytes", edge, budget.flash_bytes, _flash(edge), todo, "bytes")
    if budget.arena_bytes is not None:
        todo = (
            "smaller activations: fewer channels in the first layers (shrink.macs, model.filters), smaller images; or "
            "edge.arena_kb for a device with more RAM"
        )
        yield _gate("max_arena_bytes", edge, budget.arena_bytes, _arena(edge), todo, "bytes")
    if budget.time_ms is not None:
        todo = f"{_SMALLER}, a larger NPU in edge.npu, or edge.time_ms if an answer may take longer"
        yield _gate("max_edge_time_ms", edge, budget.time_ms, _time(edge, artifact), todo, "ms")


def _flash(edge: Edge) -> _Found:
    if edge.npus:
        npu = edge.npus[0]
        if npu.error:
            return _failed("Vela", npu.error)
        return _Found(npu.file_bytes, f"the file that Vela compiled for {npu.name}; the program's code is not in it")
    if edge.file_bytes is None:
        return _failed(edge.artifact, edge.error or "there is no file")
    return _Found(edge.file_bytes, "the .tflite; the program's code is not in it")


def _arena(edge: Edge) -> _Found:
    micro = edge.micro
    if micro is None:
        return _failed(edge.artifact, edge.error or "TensorFlow Lite Micro did not run it")
    if micro.arena_bytes is None:
        return _failed("TensorFlow Lite Micro", micro.error or "it did not run it")
    if not edge.npus:
        return _Found(micro.arena_bytes, "measured in TensorFlow Lite Micro on this machine")
    npu = edge.npus[0]
    if npu.error:
        return _failed("Vela", npu.error)
    # a memory of the NPU's own leaves all else to DRAM
    weights = ", weights among it" if npu.memory_mode.startswith("Dedicated") else ""
    ram = f"{npu.sram_bytes:,}" + (f" of SRAM and {npu.dram_bytes:,} of DRAM{weights}" if npu.dram_bytes else "")
    if edge.arena_bytes == micro.arena_bytes:
        stay = f"{len(npu.on_cpu)} of its {npu.operators} operators stay on the CPU beside {npu.name}"
        return _Found(edge.arena_bytes, f"measured with all operators on the CPU, where {stay}; more than {_BY_VELA}")
    return _Found(
        edge.arena_bytes,
        f"{_BY_VELA} for {npu.name}, {ram}, and {micro.tail_bytes or 0:,} that TensorFlow Lite Micro keeps, "
        "measured on the file before Vela",
    )


def _time(edge: Edge, artifact: Artifact) -> _Found:
    if edge.device is not None:
        timed = next((one for run in artifact.runs if run.runtime == "device" and (one := run.single_stream())), None)
        return _on_device(timed) if timed else _failed("edge.command", edge.device.error or "it was not timed")
    if edge.error:
        return _failed(edge.artifact, edge.error)
    npu = edge.npus[0]
    if npu.error:
        return _failed("Vela", npu.error)
    said = f"{_BY_VELA} for {npu.name} at {npu.clock_mhz:g} MHz, {npu.cycles:,} cycles"
    limit = edge.budget.time_ms
    if npu.on_cpu and (limit is None or npu.time_ms <= limit):
        kinds = ", ".join(dict.fromkeys(one.kind for one in npu.on_cpu))
        count = f"{len(npu.on_cpu)} of the file's {npu.operators} operators"
        return _Found(
            None, f"{said}, is of the NPU's part alone, {npu.time_ms:.3g} ms: {count} stay on the CPU ({kinds}), "
            "and of these it says nothing",
            todo="a file whose operators the NPU has (int8.int8-ends.batch1), edge.command, which times it on the "
            "device, or edge.time_ms unlimited",
        )  # fmt: skip
    return _Found(npu.time_ms, said)


def _failed(what: str, error: str) -> _Found:
    return _Found(None, error, todo=f"what the error of {what} says")


def _on_device(timed: Latency) -> _Found:
    said = f"median of {timed.queries:,} answers on the device"
    return _Found(timed.p50_ms, said, timed.p50_low, timed.p50_high, "" if timed.valid else "; ".join(timed.problems))


def _gate(name: str, edge: Edge, limit: float, found: _Found, todo: str, unit: str) -> Gate:
    if found.value is None:
        return Gate(
            name=name, artifact=edge.artifact, limit=limit, value=None, low=None, high=None, passed=False,
            message=f"not measured: {found.said.splitlines()[0]}; try {found.todo}", upper=True, unit=f" {unit}",
            todo=found.todo,
        )  # fmt: skip
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    form = ",.0f" if unit == "bytes" else ".4g"
    value = f"{found.value:{form}} {unit}"
    if low != high:
        value += f" (95 % interval {low:{form}} to {high:{form}})"
    message = f"{value} ({found.said}), limit at most {limit:{form}} {unit}"
    missed = low > limit
    said = ""
    if missed:
        said = todo
        message += f": {'the whole interval misses it' if low != high else 'missed'}; try {todo}"
    elif found.problem:
        said = "more answers in each run of edge.command"
        message += f": but the measurement is INVALID ({found.problem}); try {said}"
    elif found.value > limit:
        message += ": within the interval, so not shown to be missed"
    return Gate(
        name=name, artifact=edge.artifact, limit=limit, value=found.value, low=low, high=high,
        passed=not missed and not found.problem, message=message, upper=True, unit=f" {unit}", todo=said,
    )  # fmt: skip
