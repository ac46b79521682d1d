"""The machine and the versions that a figure was measured with."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path


def cpu() -> str:
    """Return the processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux; platform knows less
    return platform.processor() or platform.machine()


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_mb() -> int:
    """Return the machine's memory in MiB."""
    import psutil

    return int(psutil.virtual_memory().total // 2**20)


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Return the installed version of each distribution, without importing it; "absent" where there is none."""
    import importlib.metadata

    found = {}
    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def describe(distributions: Iterable[str]) -> dict[str, object]:
    """Return the report's `machine`."""
    return {
        "cpu": cpu(),
        "cores": cores(),
        "memory_mb": memory_mb(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": versions(distributions),
    }
