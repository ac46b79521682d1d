"""Batching parameters from a file: checked before anything is built, and kept to by what is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.batching import found_with
from pipeline.errors import InputError
from pipeline.events import Emit, Note

if TYPE_CHECKING:
    from pipeline.measuring.measure_config import Config


def fitted(config: Config, file: Path, emit: Emit) -> Config:
    """Return how to measure a server that refuses more samples than its largest batch."""
    size, latency = most(file), config.latency
    if config.batch_size <= size and latency.batch_size <= size:
        return config
    emit(Note("image", f"{file.name} has max_batch_size {size}: nothing larger is asked for"))
    smaller = latency.model_copy(update={"batch_size": min(latency.batch_size, size)})
    return config.model_copy(update={"batch_size": min(config.batch_size, size), "latency": smaller})


def compare_flags(file: Path, flags: Sequence[str], emit: Emit) -> None:
    """Warn where a file was found behind a server with other flags than `flags`, which the image has."""
    if text := found_with.other_flags(file, flags):
        emit(Note("image", text, "warning"))


def most(file: Path) -> int:
    """Return max_batch_size of a file with TensorFlow Serving's batching parameters.

    Raises:
        InputError: it cannot be read, or parsed, or no queue can follow it.
    """
    from contextlib import redirect_stderr
    from io import StringIO

    from serving.server.batching import parameters
    from serving.server.status import StatusError

    said = StringIO()
    try:
        with redirect_stderr(said):
            found = parameters.read(file)
        found.check()
    except StatusError as error:
        raise InputError(
            f"--batching {file} cannot be used", found=said.getvalue().strip() or str(error),
            expected="TensorFlow Serving's batching parameters, such as max_batch_size { value: 32 }",
            todo="correct the file, or leave --batching out",
        ) from None  # fmt: skip
    if found.max_batch_size < 2:
        raise InputError(
            f"--batching {file}: nothing would be batched", expected="max_batch_size of at least 2",
            found=str(found.max_batch_size), todo="raise it, or leave --batching out",
        )  # fmt: skip
    return found.max_batch_size
