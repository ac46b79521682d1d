"""What there is to compute on: looked at in the system, without TensorFlow, or as TensorFlow sees it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline import machine
from pipeline.compute.config import Compute
from pipeline.legacy_keras import load as load_keras

Kind = Literal["cpu", "gpu", "tpu"]

_DRIVER = Path("/proc/driver/nvidia/gpus")
_NODES = Path("/dev")
# instructions that multiply bfloat16 numbers, by their names in /proc/cpuinfo
_BFLOAT16 = ("amx_bf16", "avx512_bf16")


@dataclass(frozen=True)
class Device:
    """One device.

    Attributes:
        name: what it is called by its maker.
        place: its name in TensorFlow, such as "GPU:0".
        memory_mb: its memory in MiB; None: unknown.
        capability: CUDA's compute capability, such as (8, 0); None: it is no CUDA device.
    """

    kind: Kind
    name: str
    place: str
    memory_mb: int | None = None
    capability: tuple[int, int] | None = None


@dataclass(frozen=True)
class Found:
    """All devices of this machine.

    Attributes:
        bfloat16: the processor's instructions for bfloat16, by name; empty: it has none.
        evidence: what the system says of accelerators; see `evidence`.
    """

    cpu: Device
    gpus: tuple[Device, ...] = ()
    tpus: tuple[Device, ...] = ()
    bfloat16: tuple[str, ...] = ()
    evidence: Mapping[str, Any] | None = None


def evidence() -> dict[str, Any]:
    """Return what the system says of accelerators, without TensorFlow: enough to know whether it would be another one.

    Returns:
        {"gpus": [model, ...], "visible": CUDA_VISIBLE_DEVICES or None, "tpus": [...]}.
    """
    gpus = []
    for folder in sorted(_DRIVER.glob("*")) if _DRIVER.is_dir() else ():
        try:
            lines = (folder / "information").read_text(encoding="utf-8").splitlines()
        except OSError:
            lines = []
        gpus += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")] or ["NVIDIA"]
    if not gpus:  # a container may have the nodes alone
        gpus = ["NVIDIA"] * sum(node.name.removeprefix("nvidia").isdigit() for node in _NODES.glob("nvidia[0-9]*"))
    if not gpus and (_NODES / "kfd").exists():
        gpus = ["AMD"]
    tpus = [node.name for node in sorted(_NODES.glob("accel[0-9]*"))]
    if os.environ.get("TPU_NAME"):
        tpus.append(os.environ["TPU_NAME"])
    return {"gpus": gpus, "visible": os.environ.get("CUDA_VISIBLE_DEVICES"), "tpus": tpus}


def decisive(compute: Compute) -> dict[str, Any]:
    """Return what the system says of devices as far as it decides what a stage makes, without TensorFlow.

    Which of a machine's GPUs a scheduler gives, and by what name a TPU is reached, decides nothing.

    Returns:
        {"gpus": [model, ...] of those that CUDA_VISIBLE_DEVICES leaves, "tpus": number}, neither where the recipe asks
        for the CPU; {"bfloat16": [...]}, the processor's instructions, where the precision depends on them.
    """
    found: dict[str, Any] = {}
    if compute.accelerator != "cpu":
        seen = evidence()
        found = {"gpus": visible(seen["gpus"], seen["visible"]), "tpus": len(seen["tpus"])}
    if compute.mixed_precision == "auto":
        found["bfloat16"] = list(bfloat16())
    return found


def visible(models: Sequence[str], wanted: str | None) -> list[str]:
    """Return the models of the GPUs that CUDA_VISIBLE_DEVICES leaves, in its order.

    Args:
        models: of all that are there.
        wanted: the variable's value; None: it is not set. As CUDA does it, what is behind an index that is not there
            counts for nothing; UUIDs are counted, each of the model that all have, or else without a name.
    """
    if wanted is None:
        return list(models)
    found = []
    for name in (one.strip() for one in wanted.split(",")):
        if name.isdecimal() and int(name) < len(models):
            found.append(models[int(name)])
        elif name.startswith(("GPU-", "MIG-")) and models:
            alike = models[0] if len(set(models)) == 1 else "one of several models"
            found.append(f"{alike}, a part of it" if name.startswith("MIG-") else alike)
        else:
            break
    return found


def look() -> Found:
    """Return the devices that TensorFlow sees; it is imported, and its runtime not started."""
    load_keras()
    import tensorflow as tf

    gpus = []
    for place, device in enumerate(tf.config.list_physical_devices("GPU")):
        details = tf.config.experimental.get_device_details(device)
        gpus.append(
            Device("gpu", details.get("device_name", "GPU"), f"GPU:{place}", _memory_mb(place),
                   details.get("compute_capability"))
        )  # fmt: skip
    seen = evidence()
    # TensorFlow sees a TPU only once its system has been started; see `scope`
    tpus = tuple(Device("tpu", name, f"TPU:{place}") for place, name in enumerate(seen["tpus"]))
    return Found(cpu(), tuple(gpus), tpus, bfloat16(), seen)


def cpu() -> Device:
    """Return the processor, with the memory of the machine."""
    return Device("cpu", machine.cpu(), "CPU:0", machine.memory_mb())


def bfloat16() -> tuple[str, ...]:
    """Return the names of the processor's instructions for bfloat16, by its flags."""
    try:
        listed = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ()
    flags = next((line.partition(":")[2].split() for line in listed.splitlines() if line.startswith("flags")), [])
    return tuple(name for name in _BFLOAT16 if name in flags)


def _memory_mb(place: int) -> int | None:
    """Return a GPU's memory, of which TensorFlow says nothing before it has taken it; None: nobody can say."""
    import shutil
    import subprocess

    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    asked = [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True)
        sizes = [int(line) for line in done.stdout.split()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    visible = (os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(len(sizes))))).split(",")
    try:
        return sizes[int(visible[place])]
    except (IndexError, ValueError):  # named by UUID
        return None
