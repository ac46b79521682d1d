"""Which column of a table is for what: by the recipe's names and the file's header."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.sources.table.config import Config
from pipeline.errors import InputError


@dataclass(frozen=True)
class Roles:
    """Names of columns.

    Attributes:
        header: all of them, in the order of the file.
        features: what goes into the model.
        targets: what is predicted.
        group, split: as in the config.
    """

    header: tuple[str, ...]
    features: tuple[str, ...]
    targets: tuple[str, ...]
    group: str | None
    split: str | None

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that each row needs a value in, whatever is done about features."""
        return (*self.targets, *((self.group,) if self.group else ()))

    def place(self, name: str) -> int:
        """Return where a column stands in a row."""
        return self.header.index(name)


def of(config: Config, header: tuple[str, ...], path: Path) -> Roles:
    """Return what the columns of a file are for.

    Raises:
        InputError: a column is named that is not there, or none is left to go into the model.
    """
    absent = [(key, name) for key, name in config.named() if name not in header]
    if absent:
        near = difflib.get_close_matches(absent[0][1], header, n=1)
        raise InputError(
            f"the data file {path} has no column {', '.join(dict.fromkeys(name for _, name in absent))}",
            expected=", ".join(f"{name} (data.table.{key})" for key, name in absent),
            found=f"columns {_listed(header)}",
            todo=f"did you mean {near[0]}?" if near else "correct data.table",
        )  # fmt: skip
    used = {*config.targets, *config.drop, config.group, config.split}
    features = config.features or tuple(name for name in header if name not in used)
    if not features:
        raise InputError(
            f"no column of the data file {path} is left to go into the model", expected="at least one feature",
            found=f"columns {_listed(header)}, all of them for something else", todo="correct data.table",
        )  # fmt: skip
    if stray := [name for name in config.categorical or () if name not in features]:
        raise InputError(
            "data.table.categorical names columns that do not go into the model", expected=_listed(features),
            found=", ".join(stray), todo="correct data.table",
        )  # fmt: skip
    # a category's column is called COLUMN=CATEGORY: with this sign in a name nobody could tell where that ends
    if signed := [name for name in features if "=" in name]:
        raise InputError(
            f"columns of the data file {path} have an = in their names", expected="names without it",
            found=_listed(tuple(signed)), todo="rename them, or name them in data.table.drop",
        )  # fmt: skip
    return Roles(header, features, config.targets, config.group, config.split)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
