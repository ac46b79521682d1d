"""Scikit-learn's digits as texts, for architectures that read, so that nothing has to be downloaded.

A digit is sixteen words: half a row of pixels each, from the top, the left half first. A word is the letter of its
place, a to p, and a 0 or 1 for each of its four pixels: "a0011 b1000 ...". So what is learned is what words mean, as in
any text, and the task is as hard as the images.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from pipeline.data import DataConfig

LENGTH = 16
_HALF = 4  # pixels of a word
_DARK = 8  # of 16


def write(path: Path) -> None:
    """Write a .tsv with the columns text and label, a row for each of the 1,797 digits; the same bytes each time."""
    import numpy as np

    from pipeline.data.sources import bundled

    (pixels,) = bundled.files(DataConfig(source="digits"))
    table = np.loadtxt(pixels, delimiter=",")
    beside = path.with_name(f".{path.name}")
    with beside.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter="\t", lineterminator="\n")
        rows.writerow(("text", "label"))
        rows.writerows((text(values[:-1]), int(values[-1])) for values in table)
    beside.replace(path)


def text(pixels: Any) -> str:
    """Return a digit of 64 pixels, 0 to 16, as words."""
    halves = [pixels[start : start + _HALF] for start in range(0, len(pixels), _HALF)]
    return " ".join(
        chr(ord("a") + place) + "".join("1" if pixel >= _DARK else "0" for pixel in half)
        for place, half in enumerate(halves)
    )


def section(path: Path, split: Any, split_seed: int) -> dict[str, Any]:
    """Return the recipe's section `data` for what `write` wrote.

    Args:
        split, split_seed: as the digits are divided.
    """
    return {
        "source": "text", "path": str(path), "split": split, "split_seed": split_seed,
        "text": {"vocabulary": LENGTH * 2**_HALF + 2, "length": LENGTH},
    }  # fmt: skip
