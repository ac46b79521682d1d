"""The servers that are measured, each a process on ports of its own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.models import SHAPES
from tests.serving.server.running import OURS, Running

BINARY = "tensorflow_model_server"
BATCHING = """max_batch_size {{ value: 32 }} batch_timeout_micros {{ value: {timeout_us} }}
num_batch_threads {{ value: 2 }} max_enqueued_batches {{ value: 100 }}
"""


def programs() -> dict[str, Sequence[str]]:
    """Return name -> command: this server, and TensorFlow Serving's where it is on PATH."""
    found: dict[str, Sequence[str]] = {"modelmill": OURS}
    if binary := shutil.which(BINARY):
        found[BINARY] = [binary]
    return found


@contextmanager
def serving(
    program: Sequence[str], models: Path, folder: Path, batch_timeout_us: int | None = None
) -> Iterator[Running]:
    """Run a program with all models of the benchmark until the block ends.

    Args:
        folder: an empty one, for its config and its output.
        batch_timeout_us: of --enable_batching; None: no batching.
    """
    folder.mkdir(parents=True)
    config = folder / "models.config"
    models_text = "".join(
        f'config {{ name: "{name}" base_path: "{models / name}" model_platform: "tensorflow" }} ' for name in SHAPES
    )
    config.write_text(f"model_config_list {{ {models_text} }}")
    flags = [f"--model_config_file={config}", "--max_num_load_retries=0"]
    if batch_timeout_us is not None:
        parameters = folder / "batching.config"
        parameters.write_text(BATCHING.format(timeout_us=batch_timeout_us))
        flags += ["--enable_batching", f"--batching_parameters_file={parameters}"]
    with _until_ready(Running(folder, flags, program)) as running:
        yield running


@contextmanager
def echoing(folder: Path) -> Iterator[Running]:
    """Run the plain echo server until the block ends."""
    with _until_ready(Running(folder, [], [sys.executable, "-m", "tests.benchmarks.echo"])) as running:
        yield running


@contextmanager
def _until_ready(running: Running) -> Iterator[Running]:
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.process.kill()
        running.process.wait()
