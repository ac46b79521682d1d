"""Which file the report says to serve, and how."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.fastest import fastest
from pipeline.report import page, to_serve
from pipeline.report.document import Artifact, Gate, Report
from tests.pipeline.report import shapes
from tests.pipeline.report.test_page import terminal
from tests.pipeline.test_fastest import FAKE, INT8, PRUNED, REFERENCE, served, usual


def report(files: list[Artifact], **changes: Any) -> Report:
    facts = {"artifacts": files, "fastest": fastest(files, REFERENCE), "to_serve": PRUNED, "gates": []}
    return shapes.one_step().model_copy(update={"verdict": "pass", **facts, **changes})


def text(found: Report) -> str | None:
    advised = to_serve.advice(found)
    return advised.text if advised else None


def limit(artifact: str, *, passed: bool) -> Gate:
    return Gate(
        name="min_parity", artifact=artifact, limit=0.98, value=0.9, low=0.9, high=0.9, passed=passed, message="found"
    )


def test_fastest_file_that_is_proven_so_is_to_be_served_and_it_is_said_how() -> None:
    assert text(report(usual())) == (
        f"Serve {INT8} as model.tflite with --prefer_tflite_model: fastest here, proven 2.0x over gRPC (95 % 1.90 to "
        f"2.10); push and image take it with --artifact {INT8}, and {PRUNED} without"
    )


def test_smallest_float_saved_model_is_to_be_served_when_nothing_is_proven_faster() -> None:
    files = [served(REFERENCE, 1.0), served(PRUNED, 0.9, (1.1, 0.9, 1.3), gzip_bytes=400)]
    expected = f"Serve {PRUNED} (the smallest float SavedModel): nothing is proven faster here"
    assert text(report(files)) == expected
    slow = [files[0], served(PRUNED, 1.2, (0.8, 0.7, 0.9), gzip_bytes=400)]
    assert text(report(slow)) == f"{expected}, and it is slower than {REFERENCE}"


def test_file_that_misses_a_limit_is_not_to_be_served() -> None:
    assert "nothing is proven faster" in str(text(report(usual(), gates=[limit(INT8, passed=False)])))
    assert INT8 in str(text(report(usual(), gates=[limit(INT8, passed=True)])))


def test_fake_quantization_is_not_to_be_served_even_when_it_is_fastest() -> None:
    files = [served(REFERENCE, 1.0), served(PRUNED, 1.0, (1.0, 0.9, 1.1)), served(FAKE, 0.5, (2.0, 1.9, 2.1))]
    assert FAKE not in str(text(report(files)))


@pytest.mark.parametrize("changes", [{"verdict": "fail"}, {"fastest": None}], ids=str)
def test_nothing_is_advised_when_the_run_failed_or_nothing_was_compared(changes: dict[str, Any]) -> None:
    assert text(report(usual(), **changes)) is None


def test_page_says_it_in_the_verdict_and_before_the_tables_and_the_terminal_once() -> None:
    found = shapes.whole(fastest=fastest(usual(), REFERENCE))
    shown = page.render(found)
    verdict, section = shown.index("<b>What to serve</b>: Serve quantize"), shown.index("<strong>Serve quantize")
    assert verdict < shown.index('<section id="fastest"') < section < shown.index("<h3>Over gRPC</h3>")
    assert "Where it is served" not in shown  # of another file
    assert terminal(found, width=400).count(f"Serve {INT8} as model.tflite") == 1


def test_figure_of_the_imitation_is_called_so_in_what_each_stage_bought() -> None:
    shown = page.render(shapes.whole())
    assert "(fake-quant)</span>" in shown
    assert "<small>(fake-quant)</small>" in shown
    assert "(fake-quant)" in terminal(shapes.whole(), width=200)
