"""The section `data.table`: what the columns of a table are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from pipeline.config import Frozen

Columns = tuple[str, ...]


class Config(Frozen):
    """Which columns go into the model, and which are to be predicted; numbers stay raw, the model scales each column.

    A categorical column becomes one column a category, 1 where a row has it and else 0: all 0 for a category that the
    file has not.
    """

    target: str | Columns | None = Field(
        default=None,
        description="column to predict: classes, or with data.task regression numbers; several: labels of 0 and 1 "
        "(multilabel) or several numbers; null: none, for a reconstruction",
    )
    features: Columns | None = Field(
        default=None, min_length=1, description="columns that go into the model, in their order; null: all others"
    )
    categorical: Columns | None = Field(
        default=None,
        description="those of them that are categories; null: all in which more than one cell of 20 is no number",
    )
    drop: Columns = Field(default=(), description="columns that are left out, such as a row's id")
    group: str | None = Field(default=None, description="column that says which rows belong together, for data.split")
    split: str | None = Field(
        default=None, description="column with train, validation or test: whose rows are those splits"
    )
    missing: Literal["refuse", "leave_out", "mean"] = Field(
        default="refuse",
        description="cells without a value: refuse the file; leave_out: these rows; mean: that of the column (of all "
        "rows but those of splits that the file has itself), and for a category none",
    )
    missing_values: Columns = Field(
        default=("NA", "N/A", "NaN", "nan", "null", "NULL"),
        description="cells that mean: no value; an empty cell always does",
    )
    max_categories: int = Field(default=100, ge=2, description="most categories of a column; more are refused")
    delimiter: str | None = Field(
        default=None, min_length=1, max_length=1, description="between cells; null: a tab in a .tsv, else a comma"
    )
    quoted: bool | None = Field(
        default=None, description="whether quotation marks enclose cells; null: in all but a .tsv"
    )

    @property
    def absent(self) -> frozenset[str]:
        """Cells that mean no value."""
        return frozenset({"", *self.missing_values})

    @property
    def targets(self) -> Columns:
        """The columns to predict."""
        if self.target is None:
            return ()
        return (self.target,) if isinstance(self.target, str) else self.target

    def named(self) -> Iterator[tuple[str, str]]:
        """Yield (key, column) for each column that is named."""
        for key in ("target", "features", "categorical", "drop", "group", "split"):
            value = self.targets if key == "target" else getattr(self, key)
            for column in (value,) if isinstance(value, str) else value or ():
                yield key, column

    @model_validator(mode="after")
    def _columns_have_one_use(self) -> Config:
        uses: dict[str, list[str]] = {}
        for key, column in self.named():
            if key != "categorical":
                uses.setdefault(column, []).append(key)
        twice = [f"{column} ({', '.join(keys)})" for column, keys in uses.items() if len(keys) > 1]
        if twice:
            raise ValueError(f"columns are named for two uses: {'; '.join(twice)}")
        if self.target is not None and not self.targets:
            raise ValueError("target names no column: give one, or null for a reconstruction")
        return self
