"""bench.json as it is read again, the page and the table."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from pipeline.bench import document, figures, page, table, words
from tests.pipeline.bench.example import bench, full
from tests.pipeline.report.test_browser import CHROMIUM, CUT, OVERFLOWING, WIDTHS, Seen, browser

__all__ = ["browser"]  # the fixture


def test_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    page.write(bench(), tmp_path)
    assert document.read(tmp_path) == bench()
    assert {path.name for path in tmp_path.iterdir()} == {"bench.json", "bench.html"}
    assert '"schema": 1' in (tmp_path / "bench.json").read_text("utf-8")
    page.clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_table_says_who_is_faster_what_was_shed_and_what_is_invalid() -> None:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    table.show(bench(), console)
    said = console.export_text()
    assert "SingleStream; 5 blocks each; ratios to a<b>.tflite, with 95 % intervals" in said
    assert "0.50 (0.40 to 0.60) INVALID" in said  # the reference's blocks are: the row's own are valid
    assert "200 (180 to 220)" in said  # of three searches: their interval is wide
    assert "a<b>.tflite, Offline, batch 8, concurrency 4: INVALID: too short; what to do: a longer --duration" in said
    assert "Server, concurrency 4; p99 within 10 ms; 3 searches each" in said
    assert "the client in Python took up to 0.97 cores" in said
    assert "http://h:2: not measured: no <answer>" in said
    assert "tensors as tensor_content, one connection per worker, kept; server: modelmill 0.1.0" in said
    assert "shed" in said
    assert "120" in said
    assert "mlperf_loadgen 6 on A processor, 2 cores" in said


def test_table_breaks_no_number_in_80_columns_and_fits_them() -> None:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    table.show(full(), console)
    said = console.export_text()
    lines = said.splitlines()
    assert all(len(line) <= 80 for line in lines)
    for number, target in enumerate(full().targets, 1):
        assert f"{number}  {target.name}, {target.place}" in said.replace("\n", "")
        rows = [line for line in lines if line.startswith(f"{number}  ")]
        figures = " ".join(rows)
        for cell in ("24,708", "46,236", "0.0067 (0.0060 to 0.0074)", "2.000", "1.200"):
            assert cell in figures


def test_ratio_has_two_or_three_digits() -> None:
    given = (0.0067, 0.05, 0.451, 0.999, 1.42, 12.34, 1234.4)
    assert [words._times(value) for value in given] == ["0.0067", "0.050", "0.45", "1.00", "1.42", "12.3", "1,234"]


def test_nothing_is_said_of_figures_that_there_are_not() -> None:
    (failed,) = [target for target in bench().targets if target.error]
    remarks = words.remarks(bench().model_copy(update={"targets": (failed,)}))
    assert remarks[0] == "http://h:2: not measured: no <answer>"
    assert not any("Measured by" in line or "Each figure" in line for line in remarks)


def test_page_escapes_what_comes_from_outside_and_shows_every_figure() -> None:
    text = page.render(bench())
    assert "a&lt;b&gt;.tflite" in text
    assert "a<b>" not in text
    assert '<strong class="fail">INVALID</strong>' in text
    assert "no &lt;answer&gt;" in text
    assert text.count('class="shape"') == 4
    assert text.count("<circle") == 6
    assert "3 rounds; the highest within 10 ms is 200/s" in text
    assert "network, serialization and client 0.800 ms" in text


def test_bars_add_up_to_what_the_client_waited() -> None:
    (bar,) = figures.bars(bench())
    assert sum(part.ms for part in bar.parts) == pytest.approx(bar.client_ms)
    assert sum(part.width for part in bar.parts) == pytest.approx(100, abs=0.1)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize(("width", "scheme"), [("laptop", "light"), ("phone", "dark")])
def test_page_has_no_barrier_and_nothing_cut_in_a_browser(
    browser: object, tmp_path: Path, width: str, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.write(bench(), tmp_path)
    address = (tmp_path / "bench.html").as_uri()
    with Seen(browser, address, WIDTHS[width], scheme) as seen:  # type: ignore[arg-type]
        assert seen.messages == []
        assert seen.requests == [address]
        assert seen.page.evaluate(OVERFLOWING) == []
        assert seen.page.evaluate(CUT) == []
        assert Axe().run(seen.page).response["violations"] == []


# tables that are wider than their box, so that a part of them is to be scrolled to
SCROLLED = """() => [...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth + 1)
.map(one => one.getAttribute('aria-label') + ' ' + one.scrollWidth + ' > ' + one.clientWidth)"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_whole_tables_are_to_be_seen_on_a_laptop(browser: object, tmp_path: Path) -> None:
    page.write(full(), tmp_path)
    with Seen(browser, (tmp_path / "bench.html").as_uri(), WIDTHS["laptop"], "light") as seen:  # type: ignore[arg-type]
        assert seen.page.evaluate(SCROLLED) == []
