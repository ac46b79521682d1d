"""A folder as a version has it, with no model in it: publishing looks at names alone."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "saved_model.pb": b"graph", "variables/variables.index": b"index", "variables/variables.data": b"x" * 100_000,
    "assets.extra/tf_serving_warmup_requests": b"records",
}  # fmt: skip


def make(folder: Path) -> dict[str, Path]:
    """Write the files, read-only as those of a store are, in folders that only their owner may enter."""
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o444)
        path.parent.chmod(0o700)
    return {name: folder / name for name in FILES}
