"""Whose container it is: what a run that was killed leaves behind is removed by the next one, and nothing else is."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

LABEL = "modelmill.owner"

_PROC = Path("/proc")


def label() -> dict[str, str]:
    """Return the label that names this process as the owner of a container."""
    return {LABEL: json.dumps(_namespace() | {"pid": os.getpid(), "started": _started(os.getpid())})}


def sweep(api: Any) -> None:
    """Remove the containers whose owner is gone, with their volumes.

    Args:
        api: the engine.
    """
    from docker.errors import APIError

    for container in api.containers(all=True, filters={"label": LABEL}):
        if _is_stale(container["Labels"][LABEL], running=container["State"] in ("running", "paused", "restarting")):
            with contextlib.suppress(APIError):  # somebody else removes it at the same time
                api.remove_container(container["Id"], v=True, force=True)


def _is_stale(text: str, *, running: bool) -> bool:
    """Return whether the owner is gone for sure; where that cannot be seen from here, it is not."""
    try:
        owner = json.loads(text)
        here = _namespace()
        if owner["boot"] != here["boot"]:
            return not running
        return owner["pidns"] == here["pidns"] and not _is_alive(int(owner["pid"]), owner["started"])
    except (ValueError, TypeError, KeyError):
        return False


def _namespace() -> dict[str, str | int | None]:
    """Return where a process id means something: this start of this machine, and this container of it."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return {"boot": boot, "pidns": (_PROC / "self/ns/pid").stat().st_ino}
    except OSError:
        return {"boot": None, "pidns": None}  # not Linux: the time at which a process started tells as much


def _is_alive(pid: int, started: float) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    now = _started(pid)
    return now is None or now == started


def _started(pid: int) -> float | None:
    """Return when a process started, 0 for one that has ended, or None where that is hidden.

    Linux counts from its boot. The time of day that psutil makes of it changes whenever the clock is set.
    """
    if _namespace()["boot"] is None:
        import psutil

        try:
            return float(psutil.Process(pid).create_time())
        except psutil.Error:
            return None
    try:
        # the name in brackets may hold anything; state is the third field, the start the twenty-second
        state, *fields = (
            (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return None
    return 0.0 if state in ("Z", "X") else float(fields[18])
