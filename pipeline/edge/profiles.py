"""Devices by name: the runtime that they have, their NPU, and how much of their memory and time a model may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.edge.npu import Accelerator

Runtime = Literal["tflite-micro", "litert"]
ProfileName = Literal["cortex-m55-ethos-u55-128", "android-arm64", "raspberry-pi-4", "esp32-s3", "custom"]
_KIB, _MIB = 1024, 1024 * 1024


@dataclass(frozen=True)
class Profile:
    """A kind of device.

    Attributes:
        runtime: that runs a .tflite there.
        npu: that Vela compiles for; None: it has no Ethos-U.
        flash_bytes: that the model's file may take; None: no limit of the device's own.
        arena_bytes: of RAM that the model may work in; None: no limit of the device's own.
        time_ms: that one answer may take. The application decides that, so it is a rule of thumb: override it.
        words: the device, for people.
    """

    runtime: Runtime
    npu: Accelerator | None
    flash_bytes: int | None
    arena_bytes: int | None
    time_ms: float | None
    words: str


CORTEX_M55_ETHOS_U55_128 = Profile("tflite-micro", "ethos-u55-128", 8 * _MIB, 2 * _MIB, 100, "Cortex-M55, Ethos-U55")
"""Arm Corstone-300, as its virtual platform has it: an Ethos-U55 of 128 MACs, in Vela's terms
Ethos_U55_High_End_Embedded and Shared_Sram (CMSIS-Ethos-U, "FVP Ethos setup", SSE-300-U55). Arena: the 2 MiB that Arm's
BufAttributes.hpp takes for activations where nothing else is said (ACTIVATION_BUF_SZ 0x00200000). Flash and time: rules
of thumb."""

ESP32_S3 = Profile("tflite-micro", None, 1024 * _KIB, 256 * _KIB, 100, "ESP32-S3")
"""Espressif ESP32-S3, without PSRAM. Flash: the app partition of ESP-IDF's default partition table
(partitions_singleapp.csv) has 1 MiB, program and model together. Arena: a rule of thumb, half of the 512 KiB of SRAM on
the chip, of which the program, its stacks, drivers and Wi-Fi take a part. Time: a rule of thumb."""

RASPBERRY_PI_4 = Profile("litert", None, None, None, 33, "Raspberry Pi 4")
"""Raspberry Pi 4 model B: LiteRT on Linux, where files and RAM are counted in gigabytes, so only time is short. A rule
of thumb: 33 ms are a camera's 30 pictures a second."""

ANDROID_ARM64 = Profile("litert", None, 200_000_000, None, 16, "Android, arm64")
"""A phone: LiteRT in an app. File: the 200 MB that Google Play allows the compressed download of an app's base module
(Play Console help, "Optimize your app's size and stay within Google Play app size limits"). Time: a rule of thumb, the
16 ms that an app has for a frame at 60 a second (Android developers, "Slow rendering")."""

PROFILES: Mapping[str, Profile] = {
    "cortex-m55-ethos-u55-128": CORTEX_M55_ETHOS_U55_128, "android-arm64": ANDROID_ARM64,
    "raspberry-pi-4": RASPBERRY_PI_4, "esp32-s3": ESP32_S3,
}  # fmt: skip
