"""Paths of the REST API: which model they mean, and what is asked of it (rule 4.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

_WHICH = r"(?:(?:/versions/(?P<version>[0-9]+))|(?:/labels/(?P<label>[^/:]+)))?"
_ROUTES = {
    "POST": re.compile(rf"/v1/models/(?P<name>[^/:]+){_WHICH}:(?P<verb>classify|regress|predict)", re.IGNORECASE),
    "GET": re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_WHICH}(?:/(?P<verb>metadata))?", re.IGNORECASE),
}
LARGEST_VERSION = 2**63 - 1


@dataclass(frozen=True)
class Route:
    """A path.

    Attributes:
        name: the model's, empty where none is named.
        version: the number that is written; it may be larger than `LARGEST_VERSION`.
        verb: as it is written, empty where none is.
    """

    name: str = ""
    version: int | None = None
    label: str | None = None
    verb: str = ""


NOWHERE = Route()
_LONGEST_KNOWN = 256  # characters


def find(method: str, path: str) -> Route:
    """Return the route of a request, NOWHERE if it has none."""
    return _known(method, path) if len(path) <= _LONGEST_KNOWN else _find(method, path)


def _find(method: str, path: str) -> Route:
    pattern = _ROUTES.get(method)
    match = pattern.fullmatch(path) if pattern else None
    if not match:
        return NOWHERE
    name, version, label, verb = match["name"], match["version"], match["label"], match["verb"]
    return Route(
        unquote(name or "", errors="surrogateescape"),
        # more digits are too large without being read
        int(version) if version and len(version) < 1000 else LARGEST_VERSION + 1 if version else None,
        unquote(label, errors="surrogateescape") if label else None,
        verb or "",
    )


_known = lru_cache(maxsize=1024)(_find)
