"""The recipe's section `edge`: for which small device a .tflite is tried, and how much of it the model may take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipeline.config import NEUTRAL, Frozen
from pipeline.edge.npu import Accelerator, Npu
from pipeline.edge.profiles import PROFILES, ProfileName, Runtime
from pipeline.formats.precisions import Variant
from pipeline.plan import Planned, final
from pipeline.report.edge import Budget

MICRO_ENTRY = "int8.int8-ends.batch1"
MODEL = "{model}"
_UNLIMITED = "unlimited"


def _limit_of(said: float | str | None) -> float | str | None:
    if said is not None and said != _UNLIMITED and (isinstance(said, str) or said <= 0):
        raise ValueError(f"expected a number above 0, or {_UNLIMITED}, found {said!r}")
    return said


def _no_switch(said: object) -> object:
    """Refuse true and false, which Python counts as numbers."""
    if isinstance(said, bool):
        raise ValueError(f"expected a number above 0, or {_UNLIMITED}, found {str(said).lower()}")
    return said


Limit = Annotated[float | str | None, BeforeValidator(_no_switch), AfterValidator(_limit_of)]


class Config(Frozen):
    """The device that a .tflite is for: what it takes there, and the limits on that, which are gates."""

    profile: ProfileName = Field(
        description="the device, which says all that is null below: cortex-m55-ethos-u55-128 (Corstone-300), "
        "android-arm64, raspberry-pi-4, esp32-s3; custom: none, runtime and the three limits are to be said",
    )
    artifact: str | None = Field(
        default=None,
        description="id of the .tflite that goes there; null: for tflite-micro the last "
        f"{MICRO_ENTRY}, which export.tflite then has, for litert the last int8",
    )
    runtime: Runtime | None = Field(default=None, description="that runs it there: tflite-micro or litert")
    npu: tuple[Accelerator | Npu, ...] | None = Field(
        default=None,
        description="Arm Ethos-U configurations that Vela compiles the file for, by name (ethos-u55-128) or as "
        "{accelerator, system_config, memory_mode}; the limits are for the first, the others stand beside it. []: none",
    )
    flash_kb: Annotated[Limit, NEUTRAL] = Field(
        default=None,
        description="most KiB of flash, or storage, for the model, the runtime's code not counted; or unlimited",
    )
    arena_kb: Annotated[Limit, NEUTRAL] = Field(
        default=None, description="most KiB of RAM that the model works in (the tensor arena); or unlimited"
    )
    time_ms: Annotated[Limit, NEUTRAL] = Field(
        default=None,
        description="most milliseconds for one answer, by command or by Vela's estimate (a profile's is only judged "
        "where there is one of them); or unlimited",
    )
    command: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="a program that times the file on a real device, as a list of words of which one has {model}, the "
        "path of the .tflite ([./time-on-phone.sh, '{model}']); it prints the milliseconds of one answer a line. Only "
        "with --trust, or said with --set",
    )
    command_runs: int = Field(
        default=5, ge=2, le=1000, description="how often command is run: each run is a block, and 2 give an interval"
    )
    deadline_s: Annotated[float, NEUTRAL] = Field(
        default=900,
        gt=0,
        description="longest time for the test split in TensorFlow Lite Micro, for it in LiteRT with each of its two "
        "kinds of kernels, for one compilation and for one command",
    )

    @model_validator(mode="after")
    def _complete(self) -> Config:
        if self.profile == "custom":
            wanted = ["runtime", "flash_kb", "arena_kb", "time_ms"]
            if missing := [name for name in wanted if getattr(self, name) is None]:
                raise ValueError(
                    f"profile custom says nothing of {', '.join(missing)}: say them (a limit may be unlimited)"
                )
        if self.device_runtime == "litert" and self.npus:
            raise ValueError("npu is for the runtime tflite-micro: on an Ethos-U, a file that Vela compiled runs in it")
        if self.device_runtime == "litert" and isinstance(self.arena_kb, float):
            raise ValueError("arena_kb is for the runtime tflite-micro: LiteRT has no arena of a fixed size")
        for problem in filter(None, (npu.problem() for npu in self.npus)):
            raise ValueError(f"npu: {problem}")
        names = [npu.name for npu in self.npus]
        if len(set(names)) != len(names):
            raise ValueError(f"npu names a configuration twice: {', '.join(names)}")
        if self.command is not None and not any(MODEL in word for word in self.command):
            raise ValueError(
                f"command: expected a word with {MODEL}, which becomes the file's path, found {list(self.command)}"
            )
        if isinstance(self.time_ms, float) and not self.timed:
            raise ValueError(
                "time_ms needs command, which times the file on the device, or npu, whose time Vela estimates"
            )
        return self

    @property
    def device_runtime(self) -> Runtime:
        """The runtime that is meant."""
        return self.runtime or PROFILES[self.profile].runtime

    @property
    def npus(self) -> tuple[Npu, ...]:
        """The NPU configurations that are meant."""
        known = PROFILES.get(self.profile)
        names = self.npu if self.npu is not None else (known.npu,) if known and known.npu else ()
        return tuple(one if isinstance(one, Npu) else Npu(accelerator=one) for one in names)

    @property
    def timed(self) -> bool:
        """Whether anything tells how long an answer takes on the device."""
        return self.command is not None or bool(self.npus)

    @property
    def budget(self) -> Budget:
        """The limits that are meant; LiteRT has no arena."""
        known = PROFILES.get(self.profile)
        arena = known.arena_bytes if known and self.device_runtime == "tflite-micro" else None
        return Budget(
            flash_bytes=_bytes(self.flash_kb, known.flash_bytes if known else None),
            arena_bytes=_bytes(self.arena_kb, arena),
            time_ms=_limit(self.time_ms, known.time_ms if known and self.timed else None),
        )

    @property
    def unjudged(self) -> str:
        """What of the profile's limits is not judged, and why; empty: all are."""
        known, said = PROFILES.get(self.profile), []
        if known and known.time_ms is not None and self.time_ms is None and not self.timed:
            estimate = ", edge.npu has Vela estimate it" if self.device_runtime == "tflite-micro" else ""
            said.append(
                f"the {known.time_ms:g} ms that {self.profile} has for an answer are not judged, because nothing tells "
                f"how long one takes there: edge.command times it{estimate}"
            )
        if self.budget == Budget():
            said.append("there is no limit left that the device could miss: nothing about it can fail")
        return "; ".join(said)


def chosen(config: Config, plan: Sequence[Planned]) -> Planned | None:
    """Return the artifact that goes to the device; None where no such file is exported."""
    if config.artifact is not None:
        return next((item for item in plan if item.id == config.artifact), None)
    lite = [item for item in plan if item.format == "tflite"]
    if config.device_runtime == "tflite-micro":
        return next((item for item in reversed(lite) if f"{item.precision}.{item.variant}" == MICRO_ENTRY), None)
    return final(lite, None) if any(item.precision == "int8" for item in lite) else None


def conflicts(config: Config, plan: Sequence[Planned]) -> Iterator[str]:
    """Yield what the section asks of files that are not exported."""
    found = chosen(config, plan)
    lite = ", ".join(item.id for item in plan if item.format == "tflite") or "no .tflite"
    if config.artifact is not None and (found is None or found.format != "tflite"):
        yield f"edge.artifact: expected a .tflite that is exported ({lite}), found {config.artifact!r}"
    elif found is None:
        entry = MICRO_ENTRY if config.device_runtime == "tflite-micro" else "int8"
        yield (
            f"edge: no file for {config.profile}: add {entry} to export.tflite, or name one of {lite} as edge.artifact"
        )
    elif config.device_runtime == "tflite-micro" and Variant.of(found.variant).batch not in (None, 1):
        yield (
            f"edge.artifact: expected a file with a batch of one, or a dynamic one, as {MICRO_ENTRY}, because a "
            f"microcontroller has one sample at a time; found {found.id}"
        )


def _bytes(said: float | str | None, known: int | None) -> int | None:
    limit = _limit(said, None if known is None else known / 1024)
    return None if limit is None else round(limit * 1024)


def _limit(said: float | str | None, known: float | None) -> float | None:
    if said == _UNLIMITED:
        return None
    return known if said is None else float(said)
