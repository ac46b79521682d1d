"""What the terminal and the page say of a small device, in the same words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.report.document import Latency, Report
from pipeline.report.edge import Agreement, Budget, Edge, Npu, OnCpu, Source
from pipeline.report.gate import Gate
from pipeline.report.words import milliseconds, size

_UNKNOWN = "-"
GATES = ("max_flash_bytes", "max_arena_bytes", "max_edge_time_ms")
_KERNELS = {"default": "LiteRT (XNNPACK)", "reference": "LiteRT's reference kernels"}
# what Vela's reasons start with -> the same in plain words
_PLAIN = {
    "Unsupported opType": "Ethos-U has no such operator",
    "Operation has tensor with unsupported DataType Float32": "it has float32 values, and Ethos-U computes in integers",
    "Operation has tensor with unsupported DataType": "it has values of a type that Ethos-U does not compute in",
}


def gates(report: Report) -> list[Gate]:
    """Return the gates that are the device's limits."""
    return [gate for gate in report.gates if gate.name in GATES]


def sentence(edge: Edge) -> str:
    """Return which file goes where."""
    return f"{edge.artifact} for {edge.profile}, in {_runtime(edge)}"


def _runtime(edge: Edge) -> str:
    return {"tflite-micro": "TensorFlow Lite Micro", "litert": "LiteRT"}[edge.runtime]


def lines(report: Report) -> list[str]:
    """Return what was found besides the NPUs, a sentence each; empty where there is no device."""
    edge = report.edge
    if edge is None:
        return []
    if edge.error:
        return [f"Nothing was tried: {edge.error.splitlines()[0]}"]
    found = []
    micro = edge.micro
    if micro and micro.error:
        found.append(f"TensorFlow Lite Micro: {_whole(micro.error)}")
    if micro and micro.arena_bytes is not None:
        kinds = ", ".join(f"{one.kind} x{one.count}" if one.count > 1 else one.kind for one in micro.operators)
        found.append(
            f"TensorFlow Lite Micro needs an arena of {micro.arena_bytes:,} bytes, measured on this machine "
            f"(activations {micro.head_bytes:,}, what stays {micro.tail_bytes:,}; pointers of 8 bytes count, a "
            "microcontroller's have 4)"
        )
        found.append(f"Operators to register: {kinds}")
        found += [agreement(one) for one in micro.parity]
    if edge.source:
        found.append(_source(edge.source))
    if edge.device and edge.device.error:
        found.append(f"On the device: {_whole(edge.device.error)}")
    if edge.device and (timed := _timed(report, edge)):
        found.append(
            f"On the device an answer takes {milliseconds(timed.p50_ms)} ms (95 % {milliseconds(timed.p50_low)} to "
            f"{milliseconds(timed.p50_high)}), 90 % of them at most {milliseconds(timed.p90_ms)} and 99 % "
            f"{milliseconds(timed.p99_ms)}: {timed.queries:,} answers in {edge.device.runs} runs of edge.command"
            + "".join(f"; INVALID: {problem}" for problem in timed.problems)
        )
    if edge.budget.time_ms is None and not edge.npus and edge.device is None:
        found.append("How long an answer takes there is not known, and not judged: edge.command times it on a device")
    if edge.budget == Budget():
        found.append("The recipe has no limit that the device could miss")
    return found


def _whole(error: str) -> str:
    """Return an error as one sentence: what to do is its last line."""
    return "; ".join(line.strip() for line in error.splitlines() if line.strip())


def _source(source: Source) -> str:
    files = f"C source: artifacts/edge/{', '.join(source.files)}, of {source.of}"
    if source.npu is None:
        return files
    return (
        f"{files}: it needs the NPU {source.npu} (AddEthosU), and declares an arena of {source.arena_bytes:,} bytes, "
        "which is an estimate"
    )


def _timed(report: Report, edge: Edge) -> Latency | None:
    runs = [run for item in report.artifacts if item.id == edge.artifact for run in item.runs]
    return next((run.single_stream() for run in runs if run.runtime == "device"), None)


@dataclass(frozen=True)
class Need:
    """What the file takes of one of the device's resources.

    Attributes:
        figure: with its unit; "-": it is not known.
        said: what it is of.
        gate: of its limit; None: there is none.
    """

    question: str
    figure: str
    said: str
    gate: Gate | None

    @property
    def verdict(self) -> tuple[Literal["yes", "no", "open"], str]:
        """Whether it is there, and in words how that compares with the limit."""
        gate = self.gate
        if gate is None:
            return "open", "no limit"
        limit = f"{gate.limit:,.10g}{gate.unit}"
        if gate.passed:
            return "yes", f"within {limit}"
        if gate.value is None:
            return "no", f"not known, and may be no more than {limit}"
        if gate.low is not None and gate.low > gate.limit:
            return "no", f"more than {limit}"
        return "no", "not proven: the measurement is INVALID"


def needs(report: Report) -> list[Need]:
    """Return what the device has to have for the file: RAM, flash and time, of those that are known or limited."""
    edge = report.edge
    if edge is None:
        return []
    limits = {gate.name: gate for gate in gates(report)}
    (ram, arena), (flash, file), (time, took) = _arena(edge), _flash(edge), _time(report, edge)
    found = [
        Need("RAM?", ram, arena, limits.get("max_arena_bytes")),
        Need("Flash?", flash, file, limits.get("max_flash_bytes")),
        Need("Time?", time, took, limits.get("max_edge_time_ms")),
    ]
    return [one for one in found if one.gate or one.figure != _UNKNOWN]


def _arena(edge: Edge) -> tuple[str, str]:
    found = edge.arena_bytes
    if found is None:
        return _UNKNOWN, "the tensor arena"
    exact = f"{found:,} bytes, the tensor arena"
    if not edge.npus:
        return size(found), f"{exact}, measured in TensorFlow Lite Micro"
    if edge.micro and found == edge.micro.arena_bytes:
        return size(found), f"{exact}, measured with all operators on the CPU"
    return size(found), f"{exact}: Vela's estimate for {edge.npus[0].name}, and what TensorFlow Lite Micro keeps"


def _flash(edge: Edge) -> tuple[str, str]:
    found = edge.flash_bytes
    what = f"the file that Vela compiled for {edge.npus[0].name}" if edge.npus else "the .tflite"
    if found is None:
        return _UNKNOWN, what
    return size(found), f"{found:,} bytes, {what}, without the program's code"


def _time(report: Report, edge: Edge) -> tuple[str, str]:
    """Return what an answer takes on the device, else on the NPU."""
    if timed := _timed(report, edge):
        interval = f"95 % {milliseconds(timed.p50_low)} to {milliseconds(timed.p50_high)}"
        return f"{milliseconds(timed.p50_ms)} ms", f"median of an answer on the device, {interval}"
    if edge.device or not edge.npus or edge.npus[0].error:
        return _UNKNOWN, "an answer on the device"
    npu = edge.npus[0]
    part = f", of the NPU's part alone, {placed(npu)} operators" if npu.on_cpu else ""
    return f"{milliseconds(npu.time_ms)} ms", f"Vela's estimate for {npu.name} at {npu.clock_mhz:g} MHz{part}"


def agreement(one: Agreement) -> str:
    """Return in a sentence how alike TFLM and LiteRT answer."""
    steps = "" if not one.max_steps else f", at most {one.max_steps} step{'' if one.max_steps == 1 else 's'} apart"
    same = "" if one.top1_agreement is None else f", the same class for {100 * one.top1_agreement:.4g} %"
    return (
        f"{one.output} over {one.samples:,} test samples: {100 * one.equal_share:.4g} % of the values as in "
        f"{_KERNELS[one.kernels]}{steps}{same}"
    )


def reason(one: OnCpu) -> str:
    """Return why an operator stays on the CPU: in plain words, then in Vela's."""
    if not one.reasons:
        return "Vela does not say why"
    quoted = "; ".join(one.reasons)
    plain = next((words for start, words in _PLAIN.items() if one.reasons[0].startswith(start)), None)
    return f"{plain} (Vela: {quoted})" if plain else f"Vela: {quoted}"


def placed(npu: Npu) -> str:
    """Return how many of the file's operators run on the NPU."""
    return f"all {npu.operators}" if not npu.on_cpu else f"{npu.on_npu} of {npu.operators}"


def ends(npu: Npu) -> str:
    """Return what to do about float32 inputs and outputs; empty where there are none."""
    kinds = {one.kind for one in npu.on_cpu}
    if kinds and kinds <= {"QUANTIZE", "DEQUANTIZE"}:
        return "Only the float32 inputs and outputs stay on the CPU: the file int8.int8-ends.batch1 has none"
    return ""
