"""Which devices a recipe's stages train on, of those that are there, and why: a pure function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pipeline.compute.config import Compute
from pipeline.compute.devices import Device, Found, Kind
from pipeline.errors import InputError, MissingError

Chosen = Literal["one_device", "mirrored", "multi_worker", "tpu"]
Policy = Literal["float32", "mixed_float16", "mixed_bfloat16"]

# GPUs from here on have units for float16: Volta
_TENSOR_CORES = (7, 0)


@dataclass(frozen=True)
class Choice:
    """What models are trained on.

    Attributes:
        devices: one for each replica on this machine.
        policy: Keras' name for what layers compute in and their weights are.
        reasons: why, a sentence for each of the things that were chosen.
        workers: how many processes train together, each with such devices of its own.
    """

    accelerator: Kind
    strategy: Chosen
    devices: tuple[Device, ...]
    policy: Policy
    reasons: tuple[str, ...]
    workers: int = 1

    @property
    def said(self) -> str:
        """The choice in a line."""
        count = len(self.devices)
        names = ", ".join(dict.fromkeys(device.name for device in self.devices))
        what = f"{count} x {self.accelerator.upper()}" if count > 1 else self.accelerator.upper()
        precision = "" if self.policy == "float32" else f", {self.policy}"
        each = f" on each of {self.workers} workers" if self.workers > 1 else ""
        return f"trains on {what} ({names}){each}, {self.strategy}{precision}: {'; '.join(self.reasons)}"

    def to_json(self) -> dict[str, Any]:
        """Return what the report says of it."""
        return {
            "accelerator": self.accelerator, "strategy": self.strategy, "replicas": len(self.devices) * self.workers,
            "devices": [{"place": one.place, "name": one.name} for one in self.devices], "workers": self.workers,
            "mixed_precision": self.policy.removeprefix("mixed_") if self.policy != "float32" else "off",
            "reason": "; ".join(self.reasons),
        }  # fmt: skip


def choose(compute: Compute, found: Found, workers: int = 1) -> Choice:
    """Return what a recipe's stages are trained on.

    Args:
        workers: how many processes train together: with more than one the strategy is multi_worker.

    Raises:
        InputError: several workers, and a TPU; or XLA for several replicas on processors.
        MissingError: a device that was asked for by name, or by number, is not there.
    """
    if workers > 1:
        compute = compute.model_copy(update={"strategy": "multi_worker"})
    kind, why = _accelerator(compute, found)
    if workers > 1 and kind == "tpu":
        raise InputError(
            "several workers train on processors or GPUs, and here is a TPU", expected="accelerator: cpu or gpu",
            found="tpu", todo="--set accelerator=cpu; or one process without workers, which uses all of the TPU",
        )  # fmt: skip
    devices, strategy, how = _devices(compute, found, kind)
    if compute.performance.xla == "on" and kind == "cpu" and (len(devices) > 1 or workers > 1):
        raise InputError(
            "XLA cannot compile steps that several replicas on processors share (performance.xla: on)",
            expected="performance.xla: off, auto; or one device", found=f"{max(workers, len(devices))} replicas",
            todo="--set performance.xla=off on every process",
        )  # fmt: skip
    policy, precise = _policy(compute, found, kind, devices)
    return Choice(kind, strategy, devices, policy, tuple(one for one in (why, how, precise) if one), workers)


def _accelerator(compute: Compute, found: Found) -> tuple[Kind, str]:
    asked, strategy = compute.accelerator, compute.strategy
    if asked == "gpu" and not found.gpus:
        raise MissingError(
            "the recipe asks for a GPU (accelerator: gpu), and there is none that TensorFlow can use",
            expected="a GPU with its driver, and a TensorFlow with CUDA", found=_no_gpu(found),
            todo="install tensorflow[and-cuda] on a machine with a GPU; or accelerator: auto, which takes what is "
            "there",
        )  # fmt: skip
    if (asked == "tpu" or strategy == "tpu") and not found.tpus:
        key = "accelerator" if asked == "tpu" else "strategy"
        raise MissingError(
            f"the recipe asks for a TPU ({key}: tpu), and there is none",
            expected="a Cloud TPU VM, or TPU_NAME in the environment", found="neither /dev/accel* nor TPU_NAME",
            todo=f"run on a TPU VM; or {key}: auto, which takes what is there",
        )  # fmt: skip
    if asked in ("gpu", "tpu", "cpu"):
        return asked, f"the recipe asks for accelerator {asked}"
    if strategy == "tpu" or (found.tpus and strategy == "auto"):
        return "tpu", "a TPU is there"
    if found.gpus:
        count = len(found.gpus)
        return "gpu", f"{count} GPUs are there" if count > 1 else "a GPU is there"
    return "cpu", _no_gpu(found)


def _no_gpu(found: Found) -> str:
    seen = (found.evidence or {}).get("gpus", [])
    if not seen:
        return "no GPU and no TPU is there"
    if (found.evidence or {}).get("visible") in ("", "-1"):
        return f"a GPU is there ({', '.join(seen)}), and CUDA_VISIBLE_DEVICES hides it"
    return f"a GPU is there ({', '.join(seen)}), and this TensorFlow cannot use it (driver, or no CUDA)"


def _devices(compute: Compute, found: Found, kind: Kind) -> tuple[tuple[Device, ...], Chosen, str]:
    strategy, wanted = compute.strategy, compute.devices
    if kind == "tpu":
        return found.tpus, "tpu", ""
    if kind == "cpu":
        if wanted and wanted > 1 and strategy != "mirrored":
            raise MissingError(
                f"the recipe asks for {wanted} devices, and there is the processor alone", expected=f"{wanted} GPUs",
                found=_no_gpu(found), todo="leave devices out; or strategy: mirrored, which cuts the processor into "
                "logical devices",
            )  # fmt: skip
        count = (wanted or 1) if strategy == "mirrored" else 1
        cpus = tuple(Device("cpu", found.cpu.name, f"CPU:{place}", found.cpu.memory_mb) for place in range(count))
        if strategy == "mirrored":
            return cpus, "mirrored", f"the recipe asks for mirrored, with {count} logical CPU device{'s' * (count > 1)}"
        return cpus, "multi_worker" if strategy == "multi_worker" else "one_device", ""
    if wanted and wanted > len(found.gpus):
        raise MissingError(
            f"the recipe asks for {wanted} devices, and there are fewer GPUs", expected=f"{wanted} GPUs",
            found=f"{len(found.gpus)}: {', '.join(one.name for one in found.gpus)}",
            todo=f"devices: {len(found.gpus)}, or leave it out: all there are",
        )  # fmt: skip
    if strategy == "one_device":
        return found.gpus[:1], "one_device", "the recipe asks for one_device"
    gpus = found.gpus[: wanted or len(found.gpus)]
    if strategy in ("mirrored", "multi_worker"):
        return gpus, strategy, f"the recipe asks for {strategy}" if strategy == "mirrored" else ""
    return gpus, "mirrored" if len(gpus) > 1 else "one_device", ""


def _policy(compute: Compute, found: Found, kind: Kind, devices: tuple[Device, ...]) -> tuple[Policy, str]:
    asked = compute.mixed_precision
    if asked == "off":
        return "float32", ""
    if asked == "float16" and kind != "gpu":
        raise MissingError(
            "mixed_precision float16 needs a GPU", expected="a GPU with units for float16",
            found=f"training on the {kind.upper()}", todo="mixed_precision: bfloat16, or auto: what the devices are "
            "fast in",
        )  # fmt: skip
    if asked == "bfloat16" and kind == "gpu":
        raise MissingError(
            "mixed_precision bfloat16 is for the CPU and TPUs", expected="training on one of these",
            found="training on a GPU", todo="mixed_precision: float16, or auto",
        )  # fmt: skip
    if asked == "float16":
        return "mixed_float16", "the recipe asks for mixed_precision float16"
    if asked == "bfloat16":
        return "mixed_bfloat16", "the recipe asks for mixed_precision bfloat16"
    if kind == "tpu":
        return "mixed_bfloat16", "TPUs multiply in bfloat16"
    if kind == "gpu":
        slow = [one.name for one in devices if (one.capability or (0, 0)) < _TENSOR_CORES]
        if slow:
            return "float32", f"no mixed precision: {', '.join(slow)} has no units for float16"
        return "mixed_float16", "the GPUs have units for float16"
    if not found.bfloat16:
        return "float32", "no mixed precision: this processor has no instructions for bfloat16"
    return "mixed_bfloat16", f"the processor has {', '.join(found.bfloat16)}"
