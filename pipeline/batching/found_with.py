"""Whether a server has the flags that a file of batching parameters was found with. Imports nothing of weight."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


def other_flags(file: Path, flags: Sequence[str]) -> str:
    """Return in a sentence how a server's flags differ from those of the search, by the .json beside the file.

    Empty: they are the same, or nothing tells what they were, as of a file that was written by hand.

    Args:
        flags: of the server, as `serving.flags` has them: --name=value.
    """
    beside = file.with_suffix(".json")
    found = None
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = [str(one) for one in json.loads(beside.read_text(encoding="utf-8"))["flags"]]
    if found is None or set(found) == set(flags):
        return ""
    missing = [one for one in found if one not in flags]
    more = [one for one in flags if one not in found]
    parts = [f"with {' '.join(missing)}, which this server lacks"] if missing else []
    parts += [f"without {' '.join(more)}, which this server has"] if more else []
    return (
        f"{file} was found {', and '.join(parts)} ({beside}): what batching buys may not be what was measured; set "
        "serving.flags alike, or search again"
    )
