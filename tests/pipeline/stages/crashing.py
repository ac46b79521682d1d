"""Functions for the child process of a stage that end it for real."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path
from typing import Any
from unittest import mock

from pipeline import legacy_keras
from pipeline.errors import PromiseError
from pipeline.formats import keras_file, saved_model
from pipeline.formats.onnx import external
from pipeline.measuring import runtimes
from pipeline.measuring.guard import Guard
from pipeline.stages import export


def convert_but_crash_in_float16(item: Any, *arguments: Any) -> Any:
    if item.precision == "float16":
        ctypes.string_at(0)
    return export.convert(item, *arguments)


def convert_but_be_killed_in_float16(item: Any, *arguments: Any) -> Any:
    if item.precision == "float16":
        os.kill(os.getpid(), signal.SIGKILL)
    return export.convert(item, *arguments)


def answer_but_crash_in_onnx(sources: Any, **arguments: Any) -> Any:
    if any(getattr(source, "form", None) == "onnx" for source in sources.values()):
        ctypes.string_at(0)
    return runtimes.answer(sources, **arguments)


def answer_but_be_killed_in_onnx(sources: Any, **arguments: Any) -> Any:
    if any(getattr(source, "form", None) == "onnx" for source in sources.values()):
        os.kill(os.getpid(), signal.SIGKILL)
    return runtimes.answer(sources, **arguments)


def time_but_crash_with_int8(sources: Any, **arguments: Any) -> Any:
    if any("int8" in name for name in sources):
        ctypes.string_at(0)
    return runtimes.time(sources, **arguments)


def survive_but_not_as_a_tflite(sources: Any, **arguments: Any) -> Any:
    """Say of a .tflite what TensorFlow Serving, which compares no shapes, may do with it."""
    found = runtimes.survive(sources, **arguments)
    if "train.tflite.int8" in found:
        found["train.tflite.int8"] = Guard(1, ("a request of shape [2] (rank 1) was answered",), died=False)
    return found


def write_unguarded(trained: Path, folder: Path) -> None:
    """Write the trained model as `folder/1/` with a serving function that does not check shapes."""
    legacy_keras.load()
    import tensorflow as tf

    network, spec = keras_file.read(trained)
    module = tf.Module()
    module.weights_ = network.variables
    function = saved_model.serving_function(network, spec, guarded=False).get_concrete_function()
    tf.saved_model.save(module, str(folder / "1"), signatures={saved_model.SIGNATURE: function})


def convert_but_break_a_promise_of_onnx(item: Any, model: Path, folder: Path, *arguments: Any) -> Any:
    """Leave an .onnx with its weights beside it, as where zeros are missed in what was written."""
    if item.format == "onnx":
        convert_as_if_messages_were_short(item, model, folder, *arguments)
        raise PromiseError(f"{item.id} lost its zeros")
    return export.convert(item, model, folder, *arguments)


def convert_as_if_messages_were_short(item: Any, *arguments: Any) -> Any:
    """Convert with the weights of an .onnx beside it (`formats/onnx/external.py`), as one of 2 GiB has them."""
    with mock.patch.object(external, "LIMIT", 2000):
        return export.convert(item, *arguments)
