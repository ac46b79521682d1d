"""The times by which shrink chose widths, on the page and in report.json."""

from __future__ import annotations

import json

from pipeline.measuring.layer_times import Entry, LayerTimes
from pipeline.report import layer_times, page
from tests.pipeline.report import shapes

ENTRY = Entry(
    operation="conv 3x3 on 8x8", layers=[f"block_{i}" for i in range(6)], inputs=[8, 16], outputs=[8, 32],
    ms=[[0.001, 0.002], [0.003, 0.0125]],
)  # fmt: skip
DEPTHWISE = Entry(operation="depthwise 3x3 on 8x8", layers=["deep"], inputs=[], outputs=[8, 16], ms=[[0.5, 1.0]])
TABLE = LayerTimes(
    runtime="litert", precision="float32", threads=1, whole_ms=1.25, sum_ms=1.075, entries=[ENTRY, DEPTHWISE],
    untimed={"up": "Conv2DTranspose is not <timed>"},
)  # fmt: skip


def test_page_shows_operations_at_their_least_and_full_widths() -> None:
    html = page.render(shapes.report(verdict="pass", layer_times=TABLE))
    for words in ("Layer times by width", "8 → 8", "16 → 32", "12.5", "1000.0",
                  "block_0, block_1, block_2, block_3 and 2 more", "Conv2DTranspose is not &lt;timed&gt;"):  # fmt: skip
        assert words in html, words


def test_page_has_no_such_section_when_no_times_were_measured() -> None:
    assert "Layer times by width" not in page.render(shapes.report(verdict="pass"))


def test_sentence_says_where_times_were_measured_and_what_they_explain() -> None:
    assert layer_times.sentence(TABLE) == (
        "2 operations were timed at 6 widths in litert float32 with 1 thread. The model took 1.25 ms for one sample, "
        "its layers one by one 1.07 ms."
    )


def test_operations_that_take_most_of_the_model_come_first() -> None:
    assert layer_times.slowest(TABLE) == [DEPTHWISE, ENTRY]  # 1.0 ms, and 6 times 0.0125 ms
    assert layer_times.widths(DEPTHWISE, -1) == "16"


def test_report_has_the_whole_table() -> None:
    report = shapes.report(verdict="pass", layer_times=TABLE)
    assert json.loads(report.model_dump_json())["layer_times"] == TABLE.model_dump(mode="json")
