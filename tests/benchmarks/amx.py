"""Runs without AMX on a CPU that has it: x86-64 Linux gives its tiles only to a process that asks (arch_prctl(2)).

With it, LiteRT's int8 convolutions took the same time from 3 to 64 input and from 8 to 64 output channels when they
were timed one by one (`python -m tests.benchmarks.layer_times`): what is narrower than a tile is filled up. So channels
that leave a small network save its int8 file nothing on such a CPU, and without the tiles they do.
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM = 158, 0x1023
_ALLOW, _REFUSE_EINVAL = 0x7FFF0000, 0x00050000 | 22


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def present() -> bool:
    """Return whether the CPU multiplies tiles of int8."""
    cpu = Path("/proc/cpuinfo")
    return cpu.exists() and "amx_int8" in cpu.read_text(encoding="utf-8").split()


def deny() -> None:
    """Refuse this process the tiles, for good: a seccomp filter answers EINVAL to that one question.

    Raises:
        OSError: the kernel does not take the filter.
    """
    steps = (
        (0x20, 0, 0, 0),  # the system call's number
        (0x15, 0, 3, _ARCH_PRCTL),
        (0x20, 0, 0, 16),  # its first argument
        (0x15, 0, 1, _ARCH_REQ_XCOMP_PERM),
        (0x06, 0, 0, _REFUSE_EINVAL),
        (0x06, 0, 0, _ALLOW),
    )
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(steps), ctypes.cast(ctypes.create_string_buffer(code, len(code)), ctypes.c_char_p))
    refused = libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program)
    )
    if refused:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
