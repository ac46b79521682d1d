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
print("Failed to start server. Error: UNKNOWN: no")
sys.exit(255)
"""
_ABORTS = """
import os
print("check failed", flush=True)
os.abort()
"""
SOURCES = {"waits": _WAITS, "stubborn": _STUBBORN, "leaves": _LEAVES, "aborts": _ABORTS}
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
