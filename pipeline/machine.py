"""The machine and the versions that a figure was measured with."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path


def cpu() -> str:
    """Return the processor's name."""
    try:
        listed = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        listed = ""  # not Linux; platform knows less
    return name_in(listed, platform.machine()) or platform.processor() or platform.machine()


def name_in(listed: str, architecture: str) -> str:
    """Return the processor's name by the text of /proc/cpuinfo; empty where it has none.

    Linux on ARM gives no name, or one that many share, but numbers of who made the cores and of what they are.
    """
    found: dict[str, list[str]] = {}
    for line in listed.splitlines():
        key, _, value = line.partition(":")
        if value.strip() not in found.setdefault(key.strip(), []):
            found[key.strip()].append(value.strip())
    names = found.get("model name", [])[:1]
    if "CPU implementer" not in found:
        return names[0] if names else ""
    makers, parts = found["CPU implementer"], found.get("CPU part", [])
    return " ".join([*(names or [architecture]), "implementer", *makers, *(["part", *parts] if parts else [])])


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
