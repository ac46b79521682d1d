"""Memory of a process and of what it starts."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.benchmarks.memory import Memory

# 60 MB in this process, and 60 MB in one that it starts
HOLDS = "import time; held = b'1' * 60_000_000; time.sleep(2)"
PARENT = f'import subprocess, sys; child = subprocess.Popen([sys.executable, "-c", "{HOLDS}"]); {HOLDS}; child.wait()'


def test_memory_counts_a_process_and_what_it_starts() -> None:
    process = subprocess.Popen([sys.executable, "-c", PARENT])
    with Memory(process.pid) as memory:
        process.wait()

    assert 120 < memory.peak_mb() < 200


def test_peak_is_of_the_time_that_is_asked_for() -> None:
    process = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep(2); {HOLDS}"])
    with Memory(process.pid) as memory:
        begin = time.monotonic()
        process.wait()

    assert memory.peak_mb((begin, begin + 1.6)) < 60 < memory.peak_mb()
    assert memory.peak_mb((begin - 2, begin - 1)) == 0
