"""The table of what is translated, in docs/keras3.md, and its layers, in README.md; made from what translation reads.

python -m tests.pipeline.formats.model_file.keras3 --write
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipeline.formats.model_file.keras3 import operations, tables

ROOT = Path(__file__).parents[5]
PAGE, README = ROOT / "docs" / "keras3.md", ROOT / "README.md"
START, END = "<!-- made by python -m tests.pipeline.formats.model_file.keras3 --write -->", "<!-- end -->"


def table() -> str:
    """Return what stands between the marks."""
    options = [
        f"{name}: {', '.join(limits)}"
        for name, rule in sorted(tables.LAYERS.items())
        if (limits := [
            *(f"`{option}={values[0]}`" for option, values in rule.only.items() if values != tables.ANY),
            *(f"`{option}` in the file's configuration" for option in rule.needs),
        ])
    ]  # fmt: skip
    rows = [
        ("layers", _names(tables.LAYERS)),
        ("only with these options", "; ".join(options)),
        ("any layer only with", ", ".join(
            f"`{option}={values[0]}`" for option, values in tables.EVERYWHERE.items() if values != tables.ANY)),
        ("activations", _names({*tables.ACTIVATIONS, *tables.SAME_ACTIVATIONS})),
        ("activations of Dense, EinsumDense, convolutions and Activation", _names(tables.COMPOSED_ACTIVATIONS)),
        ("operations (`x + y`, `x[:, 1:]`, `keras.ops`; in .keras files)", _names(operations.OPERATIONS)),
        ("not translated, though both have them", "; ".join(
            f"{name} ({why})" for name, why in sorted(tables.REFUSED.items()))),
    ]  # fmt: skip
    return "\n".join(["| what | which |", "|---|---|", *(f"| {what} | {which} |" for what, which in rows)])


def _names(names: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in sorted(names))


def layers() -> str:
    """Return the table of layers alone: what stands between the marks in the README."""
    return f"| layers of Keras 3 that are translated |\n|---|\n| {_names(tables.LAYERS)} |"


def page(text: str, content: str) -> str:
    """Return a page with the table that it is to have."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{content}\n\n{END}{after}"
