"""Functions for the child process of a stage that end it for real."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Any

from pipeline.measuring import runtimes
from pipeline.stages import export


def convert_but_crash_in_float16(item: Any, *arguments: Any) -> Any:
    if item.precision == "float16":
        ctypes.string_at(0)
    return export.convert(item, *arguments)


def convert_but_be_killed_in_float16(item: Any, *arguments: Any) -> Any:
    if item.precision == "float16":
        os.kill(os.getpid(), signal.SIGKILL)
    return export.convert(item, *arguments)


def answer_but_crash_in_onnx(form: str, *arguments: Any) -> Any:
    if form == "onnx":
        ctypes.string_at(0)
    return runtimes.answer(form, *arguments)


def time_but_crash_with_int8(form: str, files: Any, *arguments: Any) -> Any:
    if any("int8" in name for name in files):
        ctypes.string_at(0)
    return runtimes.time(form, files, *arguments)
