"""The table of what is fastest when served, in the terminal and on the page."""

from __future__ import annotations

import re

from pipeline.fastest import fastest
from pipeline.report import page
from pipeline.report.document import Report
from tests.pipeline.report import shapes
from tests.pipeline.report.test_page import terminal
from tests.pipeline.test_fastest import FAKE, INT8, REFERENCE, usual


def report() -> Report:
    return shapes.whole(fastest=fastest(usual(), REFERENCE))


def test_terminal_shows_the_served_files_fastest_first_and_says_why() -> None:
    shown = terminal(report(), width=200)
    table = shown[shown.index("Fastest when served") :]
    table = table[: table.index("Gates")]
    assert table.index(INT8) < table.index(REFERENCE) < table.index(FAKE)
    assert re.search(r"quantize.tflite.int8 +0.500 +1.000 +64,000 +2.00x", table)
    assert "uantize.tflite.int8 is proven faster than train.saved_model.float32, 0.500 ms against 1.000 ms" in table
    assert "13 fake-quant operations in the graph compute in float what int8 kernels would do" in table


def test_ratio_says_so_where_the_reference_is_invalid_and_the_row_is_not() -> None:
    good = report()
    assert good.fastest is not None
    rows = [
        row.model_copy(update={"speedup": row.speedup and row.speedup.model_copy(update={"valid": False})})
        for row in good.fastest.rows
    ]
    doubtful = good.model_copy(update={"fastest": good.fastest.model_copy(update={"rows": rows})})
    assert all(row.valid for row in rows)
    ratios = sum(row.speedup is not None for row in rows)
    for whole, times in ((good, 0), (doubtful, ratios)):
        shown = terminal(whole, width=160)
        assert shown[shown.index("Fastest when served") : shown.index("Gates")].count("INVALID") == times
        section = page.render(whole)
        section = section[section.index('<section id="fastest"') :]
        assert section[: section.index("</section>")].count('<strong class="fail">INVALID</strong>') == times


def test_page_has_the_table_with_the_server_that_the_figures_are_of() -> None:
    shown = page.render(report())
    section = shown[shown.index('<section id="fastest"') :]
    section = section[: section.index("</section>")]
    assert "<h3>Over gRPC</h3>" in section
    assert "Quantize.tflite.int8 is proven faster than" in section
    assert "Served by embedded: modelmill 0.1.0;" in section
    assert section.count("<tr>") == 5
    assert '<td class="n">2.00x<small>1.90 to 2.10</small></td>' in section
    assert '<a href="#fastest">Fastest when served</a>' in shown


def test_page_and_terminal_leave_the_table_out_where_nothing_was_served_beside_something() -> None:
    assert 'id="fastest"' not in page.render(shapes.whole())
    assert "Fastest when served" not in terminal(shapes.whole())


def test_command_serves_the_int8_file_as_int8() -> None:
    shown = page.render(report())
    assert "/models/shape/1/model.tflite:ro" in shown
    assert "--prefer_tflite_model=true" in shown
    assert "--prefer_tflite_model" not in page.render(shapes.whole())
