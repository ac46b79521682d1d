"""`matrix.json` as types, and what is written of it: every architecture in every format and precision. Keys only ever
get added."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline.config import Frozen
from pipeline.files import write_json
from pipeline.report.model import Interval

JSON, PAGE, MARKDOWN = "matrix.json", "matrix.html", "matrix.md"
# a proven drop above this share marks a cell: the file works, and is clearly worse than what it came from
LOSS = 0.02
FORMATS = {"saved_model": "SavedModel", "tflite": "TFLite", "onnx": "ONNX"}
Mark = Literal["works", "worse", "fails"]


class Column(Frozen):
    """What is tried of every architecture.

    `entry` is as `export.FORMAT` takes it. `learned`: whether it comes from what quantize trained (QAT); false: it is
    quantized after training; null: it is no matter of quantize.
    """

    format: Literal["saved_model", "tflite", "onnx"]
    entry: str
    learned: bool | None = None

    @property
    def title(self) -> str:
        """What it is called within its format."""
        how = {None: "", True: " (trained)", False: " (after training)"}[self.learned]
        return f"{self.entry}{how}"


class Ran(Frozen):
    """A file that was made and answered the whole test split in its runtime.

    `metric` is what the row is judged by, `drop` what of it was lost against the row's float SavedModel as it was
    trained, paired over the same samples; `parity` the agreement with the Keras model that it was made from. `integer`
    and `floating` count the operators that compute in integers and in float, `batch` is the only number of samples
    that it takes; null: any. `in_points`: the drop is a share, or of R2, so that a hundredth of it is a point.
    """

    runtime: str
    metric: Interval
    drop: Interval
    parity: Interval
    bytes: int
    gzip_bytes: int
    integer: int
    floating: int
    batch: int | None = None
    in_points: bool = True


class Cell(Frozen):
    """A file of an architecture: what it was worth, or `reason`, why there is none; one of both is always there.

    `foreseen` is why doctor, who was asked before the run, said that it cannot be made; empty: it said that it can;
    null: nothing was foreseen. `passing`: the reason is one of the moment (a time-out, a killed process), and no word
    on the format: the same command tries again.
    """

    column: Column
    artifact: str | None = None
    ran: Ran | None = None
    reason: str = ""
    foreseen: str | None = None
    passing: bool = False

    @model_validator(mode="after")
    def _not_empty(self) -> Cell:
        if (self.ran is None) == (not self.reason):
            raise ValueError(f"a cell has a result or a reason why not, and {self.column.title} has neither or both")
        return self

    @property
    def mark(self) -> Mark:
        if self.ran is None:
            return "fails"
        return "worse" if self.ran.in_points and self.ran.drop.low > LOSS else "works"

    @property
    def surprising(self) -> bool:
        """Whether doctor foresaw the contrary."""
        return self.foreseen is not None and not self.passing and bool(self.foreseen) != bool(self.reason)


class Row(Frozen):
    """An architecture: the recipe's section `model`, the folder of its run, and a cell for each column.

    `mixed` is what its layers are in a .tflite of that precision; empty where the recipe asks for none.
    `judged` is the metric that its cells tell, `samples` how many were tested. `seconds` are those that its stages took
    when they were made. `unforeseen` is what else came of its run than doctor foresaw: layers, sizes, operators.
    """

    name: str
    architecture: str
    model: dict[str, Any]
    mixed: dict[str, str] = Field(default_factory=dict)
    data: str = ""
    folder: str | None = None
    judged: str | None = None
    samples: int | None = None
    seconds: float = 0.0
    cells: list[Cell]
    unforeseen: list[str] = Field(default_factory=list)


class Matrix(Frozen):
    """The whole of `matrix.json`."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    modelmill: str
    recipe: str
    command: str
    columns: list[Column]
    rows: list[Row]
    settings: dict[str, Any] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> Matrix:
        for row in self.rows:
            if [cell.column for cell in row.cells] != self.columns:
                raise ValueError(f"the row {row.name} has not one cell for each column")
        return self

    def unforeseen(self) -> list[str]:
        """Return where something else came than doctor foresaw, a sentence each; none if doctor is right."""
        return [f"{row.name}: {text}" for row in self.rows for text in (*_surprises(row), *row.unforeseen)]

    def passing(self) -> int:
        """Return how many files failed of the moment."""
        return sum(cell.passing for row in self.rows for cell in row.cells)

    def of(self, form: str) -> list[Column]:
        """Return the columns of a format."""
        return [column for column in self.columns if column.format == form]

    @property
    def seconds(self) -> float:
        return sum(row.seconds for row in self.rows)


def _surprises(row: Row) -> list[str]:
    return [
        f"{FORMATS[cell.column.format]} {cell.column.title}: {cell.reason or 'it was made'}; foreseen was: "
        f"{cell.foreseen or 'it can be made'}"
        for cell in row.cells
        if cell.surprising
    ]


def write(found: Matrix, folder: Path) -> None:
    """Write matrix.md and matrix.html, then matrix.json."""
    from pipeline.report import matrix_words
    from pipeline.report.page import templates

    page = templates().get_template("matrix.html").render(found=found, words=matrix_words)
    for name, text in ((MARKDOWN, matrix_words.markdown(found)), (PAGE, page)):
        beside = folder / f".{name}"
        beside.write_text(text, "utf-8")
        beside.replace(folder / name)
    write_json(folder / JSON, found.model_dump(mode="json", by_alias=True))


def read(folder: Path) -> Matrix:
    """Return what `write` wrote."""
    return Matrix.model_validate_json((folder / JSON).read_bytes())
