"""`modelmill gc`: removes from the store what no existing run refers to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.artifact import Store

_PARTS = (".partial", ".runs", "")


def collect(store: Store, *, dry_run: bool = False) -> list[tuple[str, int]]:
    """Remove entries, unfinished work and notes that no run's stages/ folder points at.

    A run counts where the entry's list names it, and where it lies beside the store (it may have been renamed).
    An entry whose lock is held is in use and stays.

    Returns:
        (name, bytes) of what was removed, or would be.
    """
    if not store.root.is_dir():
        return []
    removed = []
    names = {_name(path) for path in store.root.iterdir() if "-" in path.name and not path.name.startswith(".")}
    for name in sorted(names):
        # never removed itself: somebody may be waiting for it
        lock = FileLock(store.root / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            paths = [store.root / f"{name}{part}" for part in _PARTS]
            if _referred(store.root / name):
                continue
            size = sum(_size(path) for path in paths)
            if size:
                removed.append((name, size))
            if not dry_run:
                for path in paths:
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        finally:
            lock.release()
    return removed


def _referred(entry: Path) -> bool:
    listed = Path(f"{entry}.runs")
    runs = [Path(line) for line in listed.read_text(encoding="utf-8").splitlines()] if listed.exists() else []
    beside = [path for path in entry.parent.parent.iterdir() if path.is_dir()]
    return entry.resolve() in _linked(iter([*runs, *beside]))


def _name(path: Path) -> str:
    for ending in (".partial", ".runs", ".lock"):
        if path.name.endswith(ending):
            return path.name.removesuffix(ending)
    return path.name


def _linked(runs: Iterator[Path]) -> set[Path]:
    """Return the entries that runs' stages/ folders point at."""
    links = (link for run in runs for link in (run / "stages").glob("*") if link.is_symlink())
    return {(link.parent.resolve() / link.readlink()).resolve() for link in links}


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else 0
