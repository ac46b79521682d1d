"""The section `data.text_file`: where texts and labels stand in a file of lines."""

from __future__ import annotations

from pydantic import Field, model_validator

from pipeline.config import Frozen


class Config(Frozen):
    """Which columns of a .tsv or .csv with a header are the text and its label."""

    text: str | None = Field(
        default=None, description="column with the text; null: of two columns, by their names or the longer one"
    )
    label: str | None = Field(default=None, description="column with the label; null: of two columns, the other one")
    group: str | None = Field(default=None, description="column that says which texts belong together, for data.split")
    delimiter: str | None = Field(
        default=None, min_length=1, max_length=1, description="between cells; null: a tab in a .tsv, else a comma"
    )
    quoted: bool | None = Field(
        default=None, description="whether quotation marks enclose cells, or are part of them; null: in all but a .tsv"
    )

    @model_validator(mode="after")
    def _columns_have_one_use(self) -> Config:
        named = [name for name in (self.text, self.label, self.group) if name is not None]
        if len(set(named)) < len(named):
            raise ValueError(f"a column is named for two uses: {', '.join(named)}")
        return self
