"""Programs that stand where a model server stands: they take its flags and end in different ways."""

from __future__ import annotations

import sys
from pathlib import Path

_WAITS = """
import signal, sys, time
print("serving with", *sys.argv[1:], flush=True)
time.sleep(600)
"""
_STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("not listening", flush=True)
time.sleep(600)
"""
_LEAVES = """
import sys
print("Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: {{name: m version: 1} due to}")
sys.exit(255)
"""
_CANNOT_LISTEN = """
import sys
print("Failed to start server. Error: UNKNOWN: cannot listen")
sys.exit(255)
"""
_OBEYS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("up", flush=True)
time.sleep(600)
"""
_MUTE = """
import socket, sys, time
port = next(word.partition("=")[2] for word in sys.argv if word.startswith("--port="))
listening = socket.create_server(("127.0.0.1", int(port)))
print("listening", flush=True)
time.sleep(600)
"""
_ABORTS = """
import os
print("check failed", flush=True)
os.abort()
"""
SOURCES = {
    "waits": _WAITS, "stubborn": _STUBBORN, "leaves": _LEAVES, "cannot_listen": _CANNOT_LISTEN, "aborts": _ABORTS,
    "obeys": _OBEYS, "mute": _MUTE,
}  # fmt: skip
_VERSION = """
if "--version" in sys.argv:
    print("TensorFlow ModelServer: 9.9.9-rc0\\nTensorFlow Library: 9.9.9")
    sys.exit(0)
"""


def program(folder: Path, name: str) -> Path:
    """Write an executable of that name and behaviour, which also answers --version."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport sys\n{_VERSION}{SOURCES[name]}")
    path.chmod(0o755)
    return path


def wrapper(folder: Path, name: str) -> Path:
    """Write a shell script around a program, which passes neither signals nor its process on."""
    inner = program(folder, name)
    path = folder / f"{name}.sh"
    path.write_text(f'#!/bin/sh\n{inner} "$@"\nexit $?\n')
    path.chmod(0o755)
    return path
