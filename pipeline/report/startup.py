"""How a file starts in its runtime, as a type of report.json."""

from __future__ import annotations

from pydantic import Field

from pipeline.config import Frozen


class Delegated(Frozen):
    """Which operators of a .tflite's main graph XNNPACK computes, as LiteRT says once it has loaded the file.

    `taken` of `operators` are in `partitions` pieces; `left` are the kinds that LiteRT's own kernels compute, with
    their counts. Of operators in the bodies of loops and branches LiteRT tells nothing: they are not counted.
    """

    operators: int
    taken: int
    partitions: int
    left: dict[str, int] = Field(default_factory=dict)


class Startup(Frozen):
    """What the start of a file costs, each time in a fresh process that has its runtime imported and nothing loaded.

    Medians of `repeats` processes, each of which is in `loads_ms` and `firsts_ms`. `load_ms` is from the path to a
    model that is ready for input, `first_ms` its first answer to `batch` samples: setting the input, computing and
    reading the output. The file is in the system's cache, and importing the runtime is not in it.

    `memory_mib` is the memory (2^20 bytes) that both add at their peak: private pages of the process (weights as the
    kernels want them, tensors, the runtime's own objects) and the pages of the file that are mapped; not the runtime's
    code, which every model shares. `mapped_mib` is the latter part. Both are null where the system does not tell them.

    `delegated` is null but for LiteRT.
    """

    repeats: int
    batch: int
    load_ms: float
    first_ms: float
    loads_ms: list[float]
    firsts_ms: list[float]
    memory_mib: float | None = None
    mapped_mib: float | None = None
    delegated: Delegated | None = None
