"""`modelmill gc`: removes from the store what no existing run refers to."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.artifact import Store

_PARTS = (".partial", ".runs", "")
_NAME = re.compile(r"([a-z_]+)-([0-9a-f]{24})(\.partial|\.runs|\.lock)?")
_WORKER = re.compile(r"worker-[0-9]+")


def collect(store: Store, *, dry_run: bool = False) -> list[tuple[str, int]]:
    """Remove entries, unfinished work and notes that no run's stages/ folder points at.

    A run counts where the entry's list names it, and where it lies beside the store (it may have been renamed).
    An entry that somebody makes or uses stays, and so does everything whose name is not an entry's. The parts of the
    store that further workers have are gone through, too.

    Returns:
        (name, bytes) of what was removed, or would be; a name of a worker's part is worker-K/NAME.
    """
    if not store.root.is_dir():
        return []
    runs = store.root.parent
    removed = _collect(store, runs, dry_run)
    for path in sorted(store.root.iterdir()):
        if _WORKER.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            removed += [(f"{path.name}/{name}", size) for name, size in _collect(Store(path), runs, dry_run)]
    return removed


def _collect(store: Store, runs: Path, dry_run: bool) -> list[tuple[str, int]]:
    removed = []
    found = {match.group(1, 2) for path in store.root.iterdir() if (match := _NAME.fullmatch(path.name))}
    for stage, key in sorted(found):
        entry = store.entry(stage, key)
        with store.lock(stage, key) as lock:
            try:
                lock.own()
            except BlockingIOError:
                continue
            if _referred(entry, runs):
                continue
            paths = [Path(f"{entry}{part}") for part in _PARTS]
            if size := sum(_size(path) for path in paths):
                removed.append((entry.name, size))
            if not dry_run:
                for path in paths:
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return removed


def _referred(entry: Path, runs: Path) -> bool:
    listed = Path(f"{entry}.runs")
    named = [Path(line) for line in listed.read_text(encoding="utf-8").splitlines()] if listed.exists() else []
    beside = [path for path in runs.iterdir() if path.is_dir()]
    return entry.resolve() in _linked(iter([*named, *beside]))


def _linked(runs: Iterator[Path]) -> set[Path]:
    """Return the entries that runs' stages/ folders point at."""
    links = (link for run in runs for link in (run / "stages").glob("*") if link.is_symlink())
    return {(link.parent.resolve() / link.readlink()).resolve() for link in links}


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else 0
