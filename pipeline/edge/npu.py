"""Arm Ethos-U configurations as Vela names them: accelerators, what surrounds them, and where memory lies."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from pipeline.config import Frozen

Accelerator = Literal[
    "ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512",
    "ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048",
]  # fmt: skip
ACCELERATORS: tuple[Accelerator, ...] = get_args(Accelerator)
MEMORY_MODES = (
    "Sram_Only", "Shared_Sram", "Dedicated_Sram", "Dedicated_Sram_256KB", "Dedicated_Sram_384KB",
    "Dedicated_Sram_512KB",
)  # fmt: skip
# family -> the systems in the vela.ini that comes with Vela 5.2; the first is Vela's own default
SYSTEMS = {
    "ethos-u55": ("Ethos_U55_High_End_Embedded", "Ethos_U55_Deep_Embedded"),
    "ethos-u65": ("Ethos_U65_Client_Server", "Ethos_U65_Embedded", "Ethos_U65_Mid_End", "Ethos_U65_High_End"),
    "ethos-u85": (
        "Ethos_U85_SYS_DRAM_Mid", "Ethos_U85_SYS_DRAM_Low", "Ethos_U85_SYS_DRAM_High", "Ethos_U85_SYS_Flash_Low",
        "Ethos_U85_SYS_Flash_High",
    ),
}  # fmt: skip
# family -> Vela's own default
_MODES = {"ethos-u55": "Shared_Sram", "ethos-u65": "Dedicated_Sram_384KB", "ethos-u85": "Dedicated_Sram_384KB"}


class Npu(Frozen):
    """One configuration that Vela compiles for."""

    accelerator: Accelerator = Field(description=f"one of {', '.join(ACCELERATORS)}: the number is of MACs a cycle")
    system_config: str | None = Field(
        default=None,
        description="clock and memories around it, as Vela's vela.ini names them; null: "
        + ", ".join(f"{names[0]} ({family})" for family, names in SYSTEMS.items()),
    )
    memory_mode: str | None = Field(
        default=None,
        description="where weights and activations lie; null: "
        + ", ".join(f"{mode} ({family})" for family, mode in _MODES.items()),
    )

    def problem(self) -> str:
        """Return what its family does not have of what it names; empty: it has all."""
        systems = SYSTEMS[self.family]
        modes = [mode for mode in MEMORY_MODES if self.family != "ethos-u55" or not mode.startswith("Dedicated")]
        for key, chosen, known in (
            ("system_config", self.system_config, systems), ("memory_mode", self.memory_mode, modes)
        ):  # fmt: skip
            if chosen is not None and chosen not in known:
                return f"{key} of {self.accelerator}: expected one of {', '.join(known)}, found {chosen!r}"
        return ""

    @property
    def family(self) -> str:
        """ethos-u55, ethos-u65 or ethos-u85."""
        return self.accelerator.rpartition("-")[0]

    @property
    def system(self) -> str:
        """The system configuration that is meant."""
        return self.system_config or SYSTEMS[self.family][0]

    @property
    def memory(self) -> str:
        """The memory mode that is meant."""
        return self.memory_mode or _MODES[self.family]

    @property
    def name(self) -> str:
        """What tells it from others, as part of a file's name."""
        chosen = [part for part in (self.system_config, self.memory_mode) if part]
        return ".".join([self.accelerator, *chosen])
