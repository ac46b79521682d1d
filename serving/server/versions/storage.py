"""Versions on disk, and which of them a policy wants (rules 5.1 and 5.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Policy:
    """Which versions of a model are served.

    Attributes:
        kind: "latest": the `count` highest; "all"; "specific": those in `versions`.
    """

    kind: Literal["latest", "all", "specific"] = "latest"
    count: int = 1
    versions: frozenset[int] = field(default_factory=frozenset)


def versions(base_path: Path) -> dict[int, Path]:
    """Return version -> folder: every child whose name is an integer, leading zeros allowed; others do not count.

    Raises:
        OSError: the base path cannot be listed.
    """
    found = {}
    for child in sorted(base_path.iterdir()):
        if re.fullmatch(r"[0-9]+", child.name) and int(child.name) <= _LARGEST:
            found[int(child.name)] = child
    return found


def wanted(policy: Policy, found: Mapping[int, Path]) -> dict[int, Path]:
    """Return the versions that the policy wants and that are there, the highest first."""
    descending = sorted(found, reverse=True)
    if policy.kind == "latest":
        chosen = descending[: policy.count]
    elif policy.kind == "specific":
        chosen = [version for version in descending if version in policy.versions]
    else:
        chosen = descending
    return {version: found[version] for version in chosen}
