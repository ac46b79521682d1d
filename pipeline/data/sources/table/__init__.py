"""A table: a .csv, .tsv (gzipped or not) or .parquet file, a sample a row.

The columns that go into the model are the one input `features`, float32 [n, columns]; the names of its columns stay
with it. The file is read twice, in chunks: what is in its columns first, then their values into arrays on the disk.

    config    the section `data.table`
    roles     which column is for what
    survey    the first pass
    columns   what the features become
    targets   what the columns to predict become
    checks    what makes a table unfit
"""

from __future__ import annotations

from array import array
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.sources import PATHS, cells, place
from pipeline.data.sources.table.config import Config

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data.config import DataConfig
    from pipeline.data.prepared import Prepare
    from pipeline.data.sources.cells import Cells
    from pipeline.data.sources.source import Source
    from pipeline.data.sources.table.columns import Feature
    from pipeline.data.sources.table.roles import Roles

DECODES = True
PATH = PATHS["table"]
NAME = "features"


def _libraries(config: DataConfig) -> tuple[str, ...]:
    return ("pyarrow",) if Path(str(config.path)).suffix.lower() == ".parquet" else ()


LIBRARIES = _libraries


def load(config: DataConfig, prepare: Prepare) -> Source:
    """Return the rows.

    Returns:
        x float32 [n, columns]; y int64 [n] of classes, float32 [n, labels] of 0 and 1, or float64 [n, values].

    Raises:
        InputError: the file cannot be read, or does not hold what the recipe says.
        MissingError: what reads Parquet is not installed.
    """
    from pipeline.data.sources import stored

    return stored.read(prepare(lambda folder: _write(config, folder)))


def files(config: DataConfig) -> tuple[Path, ...]:
    """Return the file; see `place.file`."""
    return (place.file(config, PATH),)


def input_shapes(config: DataConfig) -> dict[str, tuple[int, ...]] | None:
    """Return the shape of a row where the header alone tells it; None where categories have to be counted for it.

    Raises:
        InputError: the header lacks a column that is named, or cannot be used.
    """
    from pipeline.data.sources.table import roles

    section = _section(config)
    path = Path(str(config.path))
    if not path.is_file():
        return None
    found = roles.of(section, _cells(section, path).header(), path)
    return {config.input_name or NAME: (len(found.features),)} if section.categorical == () else None


def _section(config: DataConfig) -> Config:
    return config.table or Config()


def _cells(section: Config, path: Path) -> Cells:
    return cells.of(path, section.delimiter, section.quoted)


def _write(config: DataConfig, folder: Path) -> None:
    from pipeline.data.sources import stored
    from pipeline.data.sources.table import checks, columns, roles, targets
    from pipeline.data.sources.table.survey import survey

    (path,) = files(config)
    section = _section(config)
    table = _cells(section, path)
    used = roles.of(section, table.header(), path)
    found = survey(table, used, section)
    checks.require_rows(found, path)
    checks.require_splits(found, used, path)
    checks.require_values(found, used, section, table.place, path)
    features, notes = columns.of(section, used, found, table.place, path)
    answers = targets.of(config, used, found, table.place, path)
    rows = found.complete if section.missing == "leave_out" else found.rows
    name = config.input_name or NAME
    names = list(chain.from_iterable(feature.names for feature in features))
    x = stored.samples(folder, name, (rows, len(names)))
    y = None if answers is None else stored.answers(
        folder, (rows, answers.width) if answers.width else (rows,), answers.dtype
    )  # fmt: skip
    given = {"validation": array("q"), "test": array("q")}
    groups = array("q")
    seen: dict[str, int] = {}
    absent = section.absent
    needed = [used.place(one) for one in found.columns] if section.missing == "leave_out" else []
    begin = 0
    for _, chunk in table.chunks():
        kept = [row for row in chunk if absent.isdisjoint(row[at] for at in needed)]
        _fill(x[begin : begin + len(kept)], features, kept, used, absent)
        if answers is not None and y is not None:
            values = [[answers.value(row[used.place(one)]) for one in used.targets] for row in kept]
            y[begin : begin + len(kept)] = values if answers.width else [value for (value,) in values]
        if used.group:
            groups.extend(seen.setdefault(row[used.place(used.group)], len(seen)) for row in kept)
        if used.split:
            at = used.place(used.split)
            for split, positions in given.items():
                positions.extend(begin + number for number, row in enumerate(kept) if row[at] == split)
        begin += len(kept)
    stored.describe(
        folder, [name], {} if answers is None else {"": answers.classes}, given=given,
        groups=groups if used.group else None, notes=notes, columns={name: names},
    )  # fmt: skip


def _fill(x: np.ndarray, features: list[Feature], rows: list[list[str]], used: Roles, absent: frozenset[str]) -> None:
    """Write some rows' features into zeros."""
    for feature in features:
        at = used.place(feature.name)
        if feature.categories is None:
            x[:, feature.begin] = [feature.fill if row[at] in absent else float(row[at]) for row in rows]
        else:
            for number, row in enumerate(rows):
                if row[at] not in absent:
                    x[number, feature.begin + feature.categories[row[at]]] = 1
