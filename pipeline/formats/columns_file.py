"""What the numbers of a row are, in a file beside the models that take them: INPUT.columns.json, for tables."""

from __future__ import annotations

from pathlib import Path

from pipeline.files import write_json
from pipeline.predictor import Input, Spec


def write(spec: Spec, folder: Path) -> list[str]:
    """Write a file for each input whose columns have names, none where none has; return the names."""
    names = []
    for one in spec.inputs:
        if one.columns:
            name = f"{one.name}.columns.json"
            write_json(folder / name, _described(one))
            names.append(name)
    return names


def _described(one: Input) -> dict[str, object]:
    columns: list[dict[str, object]] = []
    for place, name in enumerate(one.columns):
        column, is_category, category = name.partition("=")
        said: dict[str, object] = {"index": place, "name": name, "column": column}
        if is_category:
            said["category"] = category
        if one.column_ranges:
            said["range"] = list(one.column_ranges[place])
        columns.append(said)
    return {
        "input": one.name,
        "dtype": "float32",
        "shape": ["batch", len(one.columns)],
        "steps": [
            "a row has the numbers of these columns, in this order, as they are in the data: nothing is scaled",
            "a column with a category is 1 where the row's value in `column` is that category, else 0",
            "a category that is not listed, or no value, is 0 in all columns of its `column`",
            "range: of the training samples; values beyond it are possible",
        ],
        "columns": columns,
    }
