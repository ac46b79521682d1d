"""What report.json says of a small device: what a file takes there, on a microcontroller, an NPU or a real board."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from pipeline.config import Frozen
from pipeline.files import write_json

_FILE = "edge.json"


class Budget(Frozen):
    """How much of a device one model may take; null: no limit."""

    flash_bytes: int | None = None
    arena_bytes: int | None = None
    time_ms: float | None = None


class OnCpu(Frozen):
    """An operator of the file that an NPU leaves to the CPU, with Vela's reasons; `output` names its output tensor."""

    kind: str
    output: str
    reasons: list[str] = Field(default_factory=list)


class Npu(Frozen):
    """What Vela makes of the file for one Ethos-U.

    `operators` are the file's own, `on_npu` of them run there or were folded into one that does. Bytes: `file` is the
    compiled file, `sram`, `dram` and `flash` what Vela counts of each memory. `cycles` and `time_ms` are Vela's
    estimates for one answer, of the NPU's part alone. `file` is in artifacts/edge/. `error`: why there is none of it;
    `transient`: it may go well another time.
    """

    name: str
    accelerator: str
    system_config: str
    memory_mode: str
    vela: str
    error: str | None = None
    transient: bool = False
    operators: int = 0
    on_npu: int = 0
    on_cpu: list[OnCpu] = Field(default_factory=list)
    file: str | None = None
    file_bytes: int = 0
    sram_bytes: int = 0
    dram_bytes: int = 0
    flash_bytes: int = 0
    clock_mhz: float = 0
    cycles: int = 0
    time_ms: float = 0
    macs: int = 0


class Kernel(Frozen):
    """A kind of operator that a program has to register, by `method` of TFLM's MicroMutableOpResolver."""

    kind: str
    count: int
    method: str


class Agreement(Frozen):
    """How one output differs between TFLM and LiteRT over `samples` test samples.

    `kernels` are LiteRT's: "default" (XNNPACK), which rounds otherwise, or "reference", of which TFLM's are made.
    `equal_share` of the values are equal bit by bit; `max_steps` is the largest difference in quantization steps, null
    of a float output; `top1_agreement` null where it is not one row of two numbers or more.
    """

    kernels: str
    output: str
    samples: int
    values: int
    equal_share: float
    max_steps: int | None
    max_abs_error: float
    top1_agreement: float | None


class Micro(Frozen):
    """The file in TensorFlow Lite for Microcontrollers, on this machine.

    `arena_bytes` is the smallest tensor arena in which it starts and answers; `head_bytes` of it are activations,
    `tail_bytes` what lives as long as the interpreter (less on a microcontroller, whose pointers have 4
    bytes and not 8). Kernels of a port (CMSIS-NN, ESP-NN) may want scratch buffers beside. `error`: why there is
    none of it, or what else failed; `transient`: it may go well another time.
    """

    version: str
    error: str | None = None
    transient: bool = False
    arena_bytes: int | None = None
    head_bytes: int | None = None
    tail_bytes: int | None = None
    operators: list[Kernel] = Field(default_factory=list)
    parity: list[Agreement] = Field(default_factory=list)


class Device(Frozen):
    """What edge.command told of a real device; its latencies are the artifact's run in the runtime "device"."""

    command: list[str]
    runs: int
    error: str | None = None
    transient: bool = False


class Source(Frozen):
    """The C source in artifacts/edge/: `files`, of the file `of`, with an arena of `arena_bytes`.

    That file is the artifact, or where there is an NPU what Vela compiled of it for `npu`; then the arena is an
    estimate.
    """

    files: list[str]
    of: str
    npu: str | None
    arena_bytes: int


class Failure(NamedTuple):
    """What the recipe asked of the device and did not get; `transient`: it may go well another time."""

    what: str
    error: str
    transient: bool


class Edge(Frozen):
    """What the file `artifact` takes of the device of a profile.

    `npus` in the order of edge.npu, the first is what the limits in `budget` are for; the others stand beside it.
    `error`: why there is no file; `transient`: it may go well another time.
    """

    artifact: str
    profile: str
    runtime: str
    file_bytes: int | None = None
    error: str | None = None
    transient: bool = False
    micro: Micro | None = None
    npus: list[Npu] = Field(default_factory=list)
    device: Device | None = None
    source: Source | None = None
    budget: Budget = Budget()

    @property
    def flash_bytes(self) -> int | None:
        """What the file takes of the flash, as Vela compiled it where there is an NPU; None: it is not known."""
        if self.npus:
            return None if self.npus[0].error else self.npus[0].file_bytes
        return self.file_bytes

    @property
    def arena_bytes(self) -> int | None:
        """RAM that the model works in; None: it is not known.

        Measured in TensorFlow Lite Micro; beside an NPU what Vela estimates for it, and what TensorFlow Lite Micro
        keeps as long as it lives. Of what stays on the CPU Vela says nothing: where something does, it is at least what
        was measured with everything there.
        """
        micro = self.micro
        if micro is None or micro.arena_bytes is None or micro.tail_bytes is None:
            return None
        if not self.npus:
            return micro.arena_bytes
        npu = self.npus[0]
        if npu.error:
            return None
        beside = npu.sram_bytes + npu.dram_bytes + micro.tail_bytes
        return max(beside, micro.arena_bytes) if npu.on_cpu else beside

    def failures(self) -> list[Failure]:
        """Return what fails the run; an NPU that only stands beside the first does not."""
        asked = [
            (self.artifact, self), ("TensorFlow Lite Micro", self.micro),
            *((f"Vela for {npu.name}", npu) for npu in self.npus[:1]), ("edge.command", self.device),
        ]  # fmt: skip
        return [Failure(what, one.error, one.transient) for what, one in asked if one is not None and one.error]


def write(found: Edge, folder: Path) -> None:
    """Write it into a stage's folder."""
    write_json(folder / _FILE, found.model_dump(mode="json"))


def read(folder: Path) -> Edge:
    """Return what `write` has written."""
    return Edge.model_validate_json((folder / _FILE).read_bytes())
