"""Whose container or image it is: what a killed run leaves behind is removed by the next one, and nothing else is."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LABEL = "modelmill.owner"

_PROC = Path("/proc")
_OLD_S = 24 * 3600.0  # no build and no judging of an image takes as long


def label() -> dict[str, str]:
    """Return the label that names this process as the owner of a container."""
    return {LABEL: json.dumps(_me())}


def mark() -> str:
    """Return a text that names this process as the owner of an image, another one each time, and fits into a tag.

    Not `LABEL`: containers inherit the labels of their image, and those that users start of it are their own.
    """
    return "_".join([*(str(value) for value in _me().values()), secrets.token_hex(4)])


def is_stale(text: str, idle_s: float) -> bool:
    """Return whether the owner that a mark names is gone for sure.

    Args:
        idle_s: how long nothing has been done with what has the mark, seconds; 0: it is in use. Several machines may
            share an engine, and an owner on another one cannot be seen: what is old enough is left over.
    """
    try:
        boot, pidns, pid, started, _ = text.split("_")
        owner = {
            "boot": None if boot == "None" else boot, "pidns": None if pidns == "None" else int(pidns),
            "pid": int(pid), "started": float(started),
        }  # fmt: skip
    except ValueError:
        return False
    return _is_stale(json.dumps(owner), elsewhere=idle_s > _OLD_S)


def sweep(api: Any) -> None:
    """Remove the containers whose owner is gone, with their volumes.

    Args:
        api: the engine.
    """
    from docker.errors import APIError

    for container in api.containers(all=True, filters={"label": LABEL}):
        if _is_stale(container["Labels"][LABEL], elsewhere=not is_running(container)):
            with contextlib.suppress(APIError):  # somebody else removes it at the same time
                api.remove_container(container["Id"], v=True, force=True)


def is_running(container: Mapping[str, Any]) -> bool:
    """Return whether a container, as the engine lists it, has a process."""
    return container["State"] in ("running", "paused", "restarting")


def _is_stale(text: str, *, elsewhere: bool) -> bool:
    """Return whether the owner is gone for sure; where that cannot be seen from here, it is not.

    Args:
        elsewhere: what is answered of an owner on another machine, or on this one before it was restarted.
    """
    try:
        owner = json.loads(text)
        here = _namespace()
        if owner["boot"] != here["boot"]:
            return elsewhere
        return owner["pidns"] == here["pidns"] and not _is_alive(int(owner["pid"]), owner["started"])
    except (ValueError, TypeError, KeyError):
        return False


def _me() -> dict[str, Any]:
    return _namespace() | {"pid": os.getpid(), "started": _started(os.getpid())}


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
