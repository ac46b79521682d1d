"""What a matrix says of its runs: a result or a reason in every cell, beside what doctor had said."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from rich.console import Console

from pipeline import recipe as recipes
from pipeline.errors import InputError, RunError
from pipeline.matrix import cells, rows
from pipeline.matrix.cells import Made
from pipeline.report import matrix as document
from pipeline.report import matrix_table, matrix_words
from tests.pipeline.matrix.made import report

BASE = recipes.load(
    "matrix", ["export={tflite: [float32, float16, int8], onnx: [float32, int8], after_training: true}"]
)
DIED = "the converter died: signal 11 (SIGSEGV)"
LOOP = "the model cannot be converted to tflite int8: the loop"
NAMES = ("mlp", "rnn_gru_loop", "text_rnn")


def together(*made: Made) -> document.Matrix:
    return cells.together(BASE, "modelmill matrix", made, [])


def made(name: str, **more: Any) -> Made:
    (row,) = rows.chosen([name])
    recipe = rows.of_row(BASE, row, Path())
    return Made(row, recipe, report(recipe, **more))


@pytest.fixture(scope="module")
def matrix() -> document.Matrix:
    """All of mlp works, float16 worse; a loop's int8 was refused, as foreseen; its float16 died; texts are absent."""
    loop = dict.fromkeys(("prune.tflite.int8", "prune.onnx.int8"), LOOP)
    unforeseen = (
        f"prune.tflite.float16: {DIED}; foreseen was: it can be made", "prune: 9 parameters, foreseen were 8",
    )  # fmt: skip
    return together(
        made("mlp", lost={"prune.tflite.float16": 0.05}),
        made("rnn_gru_loop", errors={"prune.tflite.float16": DIED, **loop}, refused=loop, unforeseen=unforeseen),
        Made(rows.chosen(["text_rnn"])[0], error=InputError("'text_rnn' takes texts", found="numbers")),
    )


def cell(found: document.Matrix, name: str, form: str, entry: str, *, learned: bool | None = None) -> document.Cell:
    (row,) = (one for one in found.rows if one.name == name)
    (one,) = (c for c in row.cells if (c.column.format, c.column.entry, c.column.learned) == (form, entry, learned))
    return one


def test_no_cell_is_empty(matrix: document.Matrix) -> None:
    assert [row.name for row in matrix.rows] == list(NAMES)
    for row in matrix.rows:
        assert [one.column for one in row.cells] == matrix.columns
        assert all((one.ran is None) == bool(one.reason) for one in row.cells)
    column = matrix.columns[0]
    with pytest.raises(ValidationError, match="a cell has a result or a reason why not"):
        document.Cell(column=column)
    with pytest.raises(ValidationError, match="the row mlp has not one cell for each column"):
        document.Matrix.model_validate(
            matrix.model_dump(by_alias=True)
            | {"rows": [matrix.rows[0].model_copy(update={"cells": []}).model_dump(mode="json")]}
        )


def test_cell_has_what_its_file_was_worth(matrix: document.Matrix) -> None:
    worse = cell(matrix, "mlp", "tflite", "float16")
    assert worse.ran is not None
    assert (worse.artifact, worse.mark) == ("prune.tflite.float16", "worse")
    assert (worse.ran.metric.value, worse.ran.drop.value) == (pytest.approx(0.925), 0.05)
    assert (worse.ran.parity.value, worse.ran.bytes, worse.ran.gzip_bytes) == (0.99, 12_345, 6_789)
    assert cell(matrix, "mlp", "tflite", "float32").mark == "works"
    assert matrix.rows[0].seconds == 4
    assert matrix.rows[0].samples == 359


def test_int8_is_there_as_it_was_trained_and_as_it_was_quantized_afterwards(matrix: document.Matrix) -> None:
    trained = cell(matrix, "rnn_gru_loop", "tflite", "int8", learned=True)
    after = cell(matrix, "rnn_gru_loop", "tflite", "int8", learned=False)
    assert (trained.artifact, trained.mark) == ("quantize.tflite.int8", "works")
    assert (after.artifact, after.mark, after.reason) == ("prune.tflite.int8", "fails", LOOP)
    assert cell(matrix, "mlp", "saved_model", "fake-quant").artifact == "quantize.saved_model.fake-quant"
    assert cell(matrix, "mlp", "saved_model", "float32").artifact == "prune.saved_model.float32"


def test_what_doctor_did_not_say_is_told_once(matrix: document.Matrix) -> None:
    assert not cell(matrix, "rnn_gru_loop", "tflite", "int8", learned=False).surprising
    assert cell(matrix, "rnn_gru_loop", "tflite", "float16").surprising
    assert matrix.unforeseen() == [
        f"rnn_gru_loop: TFLite float16: {DIED}; foreseen was: it can be made",
        "rnn_gru_loop: prune: 9 parameters, foreseen were 8",
    ]
    assert matrix_words.said_before(matrix) == (
        "Of 12 files that are not there doctor, asked before each run, had said so of 2; 2 things came otherwise than "
        "it had said."
    )
    summary = matrix_words.markdown(matrix).partition("## Summary")[2].partition("\n## ")[0]
    assert f"- rnn_gru_loop: TFLite float16: {DIED}; foreseen was: it can be made\n- rnn_gru_loop: prune: 9" in summary


def test_failure_of_the_moment_is_said_to_be_one_and_surprises_nobody() -> None:
    found = together(made("mlp", errors={"prune.tflite.float16": "it took longer than 240 s"}, passing=True))
    one = cell(found, "mlp", "tflite", "float16")
    assert (one.reason, one.passing, one.surprising) == ("this time: it took longer than 240 s", True, False)
    assert (found.passing(), found.unforeseen()) == (1, [])
    assert matrix_words.said_before(found).startswith("Of 0 files that are not there")


def test_failed_reference_is_the_reason_in_each_cell_that_ran_and_costs_nothing_else() -> None:
    mlp, cnn = made("mlp", errors={"train.saved_model.float32": DIED}, undropped=True), made("cnn")
    found = together(mlp, cnn)
    reasons = {one.reason for one in found.rows[0].cells}
    assert reasons == {f"it cannot be compared, because train.saved_model.float32 failed: {DIED}"}
    assert (found.rows[0].judged, found.rows[1].judged) == ("accuracy", "accuracy")
    assert all(one.ran for one in found.rows[1].cells)
    assert f"no (1) | {97.5}" in matrix_words.markdown(found)


def test_words_are_those_of_the_metric_that_the_rows_are_judged_by() -> None:
    found = together(made("mlp", judged="mae", lost={"prune.tflite.float16": 5.0}), made("cnn"))
    whole = " ".join(matrix_words.legend(found))
    assert "A cell is the model's mean absolute error or accuracy in per cent (cnn). It has a !" in whole
    assert cell(found, "mlp", "tflite", "float16").mark == "works"  # 5 of what the data are in, and no points
    alone = together(made("mlp", judged="mae"))
    assert "A cell is the model's mean absolute error. It says no, " in " ".join(matrix_words.legend(alone))
    assert matrix_words.title(alone).endswith("9 of 9 files work")
    assert "time steps" not in whole and "loop" not in whole


def test_row_that_could_not_begin_says_why_in_each_cell(matrix: document.Matrix) -> None:
    row = matrix.rows[2]
    assert {one.reason for one in row.cells} == {"'text_rnn' takes texts; found: numbers"}
    assert (row.folder, row.samples) == (None, None)
    assert not any(one.surprising for one in row.cells)


def test_run_that_ended_in_error_costs_its_row_and_no_other() -> None:
    mlp, failed = made("mlp"), made("cnn")
    found = together(mlp, Made(failed.row, failed.recipe, error=RunError("train: loss is not finite")))
    assert {one.reason for one in found.rows[0].cells} == {""}
    assert {one.reason for one in found.rows[1].cells} == {"train: loss is not finite"}


def test_what_the_recipe_of_a_row_does_not_ask_for_is_said() -> None:
    fewer, (row,) = recipes.load("matrix", ["export={tflite: [float32], onnx: []}"]), rows.chosen(["cnn"])
    recipe = rows.of_row(fewer, row, Path())
    found = together(made("mlp"), Made(row, recipe, report(recipe)))
    assert cell(found, "cnn", "onnx", "float32").reason == "the recipe does not ask for it"
    assert cell(found, "cnn", "tflite", "float32").ran is not None


def test_result_is_equal_after_write_and_read(matrix: document.Matrix, tmp_path: Path) -> None:
    document.write(matrix, tmp_path)
    assert document.read(tmp_path) == matrix
    page = (tmp_path / document.PAGE).read_text("utf-8")
    assert "rnn_gru_loop/report.html" in page
    assert "signal 11 (SIGSEGV)" in page


def test_summary_counts_the_files_of_each_format(matrix: document.Matrix) -> None:
    header, lines = matrix_words.summary(matrix)
    assert header[:4] == ("model", "SavedModel", "TFLite", "ONNX")
    assert lines[0] == ("mlp", "2 of 2", "4 of 4", "3 of 3", "worse: TFLite float16 (5.0 points lost)")
    assert lines[1] == ("rnn_gru_loop", "2 of 2", "2 of 4", "2 of 3",
                        "no TFLite float16, int8 (after training); no ONNX int8 (after training)")  # fmt: skip


def test_page_of_markdown_has_every_table_and_each_reason_once(matrix: document.Matrix) -> None:
    text = matrix_words.markdown(matrix)
    assert text.startswith("# 3 models in every format and precision\n")
    tables = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert all(part for line in tables for part in line)
    assert text.count(DIED) == 3  # why not, not foreseen, and beside the file
    assert "| TFLite float16 | 92.5! | no (" in text
    assert "| TFLite float16 | 92.5 % | 90.0 to 94.0 | +5.0 points | 99.0 % | 12.3 | 6.8 | 3 of 4 | worse |" in text


def test_terminal_shows_the_table_the_reasons_and_what_was_not_foreseen(matrix: document.Matrix) -> None:
    console = Console(width=300, file=io.StringIO(), record=True)
    matrix_table.show(matrix, console)
    shown = console.export_text()
    assert "3 models in 9 formats and precisions: 15 of 27 files work, 1 of them clearly worse" in shown
    assert f"{DIED}: rnn_gru_loop TFLite float16" in shown
    assert "2 things came otherwise than it had said" in shown
