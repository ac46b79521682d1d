"""Why a stage runs again: what differs from what its last result rests on."""

from __future__ import annotations

from typing import Any

from pipeline.artifact import Basis, Damaged, Manifest


def reason(before: Manifest | None, basis: Basis, found: Damaged | None) -> str:
    """Say why a stage has to run.

    Args:
        before: of its last result in this folder.
        basis: what decides its result now.
        found: what is stored for that, where it cannot be used.
    """
    if found is not None:
        return f"the stored result cannot be used: {found.reason}"
    if before is None:
        return "nothing is stored for it yet"
    old, new = _flat(before.basis), _flat(basis)
    changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    lines = []
    for key in changed:
        room, *path = key.split("\0")
        match room:
            case "settings":
                lines.append(f"{'.'.join(path)} is {new.get(key)} and was {old.get(key)}")
            case "surroundings" if not path:
                pass  # there were none, or are none now: what came or went is told by its name
            case "versions" | "surroundings":
                lines.append(f"{' '.join(path)} is {new.get(key)} and was {old.get(key)}")
            case "inputs":
                lines.append(f"its input {path[0]} changed")
            case _:
                lines.append(f"{'/'.join(path)} changed")
    more = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
    return ", ".join(lines[:3]) + more if lines else "its stored result was removed"


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {key: leaf for name, inner in value.items() for key, leaf in _flat(inner, f"{prefix}{name}\0").items()}
    return {prefix.rstrip("\0"): value}
