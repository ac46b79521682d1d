"""Data larger than the memory that it may take, trained in a process of its own whose memory is watched."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.data import larger


def _trained(folder: Path, megabytes: int, memory_mb: int) -> dict[str, Any]:
    (folder / "data").mkdir()
    larger.write(folder / "data", megabytes)
    command = [sys.executable, "-m", larger.__name__, str(folder / "data"), str(memory_mb), str(folder / "work")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert math.isfinite(found["loss"])
    return found


def test_data_larger_than_its_memory_trains_in_less_than_itself(tmp_path: Path) -> None:
    # 256 MB of bytes are 1 GB of float32
    found = _trained(tmp_path, 256, memory_mb=64)
    assert found["on_disk"]
    assert found["memory_mb"] < 512


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_three_gigabytes_train_in_less_than_one(tmp_path: Path) -> None:
    found = _trained(tmp_path, 3 * 1024, memory_mb=1024)
    assert found["on_disk"]
    assert found["samples"] > 150_000
    assert found["memory_mb"] < 1024
