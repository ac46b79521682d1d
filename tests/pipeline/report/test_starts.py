"""What the page says of files that an app opens by itself, and what other numbers of threads leave alone."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from pipeline.gates import gate
from pipeline.report import page, starts, tables
from pipeline.report.document import Artifact, Report, Run
from tests.pipeline.report import shapes

START: dict[str, Any] = {
    "repeats": 3, "batch": 1, "load_ms": 4.25, "first_ms": 0.777, "loads_ms": [4, 4.25, 5],
    "firsts_ms": [0.7, 0.777, 0.9], "memory_mib": 1.23, "mapped_mib": 0.5,
    "delegated": {"operators": 8, "taken": 6, "partitions": 2, "left": {"SOFTMAX": 2}},
}  # fmt: skip


def _artifact(form: str, *threads: int, **changes: Any) -> Artifact:
    """A file with a run at one thread, and one at each of `threads`, ever slower and less right."""
    item = shapes.artifact("train", form, "float32", gzip_bytes=9000, accuracy=0.98, ms=1.0, **changes)
    first = item.runs[0].model_dump(mode="json") | {"startup": START if form != "saved_model" else None}
    others = [
        Run.model_validate(
            first | {
                "threads": count, "metrics": {"accuracy_drop": shapes.around(0.9, 0.01)}, "judged": ["accuracy"],
                "latency": [shapes.latency(1000.0 * count, "slow")],
            }
        )
        for count in threads
    ]  # fmt: skip
    return item.model_copy(update={"runs": [Run.model_validate(first)], "at_other_threads": others})


def _report(*artifacts: Artifact) -> Report:
    return shapes.report(artifacts=list(artifacts), verdict="pass", reference=artifacts[0].id, final=artifacts[-1].id)


def test_files_of_an_app_have_a_row_for_each_number_of_threads_and_what_is_served_has_none() -> None:
    found = starts.files(_report(_artifact("saved_model"), _artifact("tflite", 4, 2), _artifact("onnx")))
    assert [(file.runtime, [run.threads for run in file.runs]) for file in found] == [
        ("LiteRT", [1, 2, 4]), ("ONNX Runtime", [1])
    ]  # fmt: skip


def test_terminal_shows_what_other_threads_do_for_a_file() -> None:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(tables.artifacts(_report(_artifact("saved_model"), _artifact("tflite", 4), _artifact("onnx"))))
    lines = console.export_text().splitlines()
    (place,) = (number for number, line in enumerate(lines) if "litert, 4 threads" in line)
    assert "4400.000" in lines[place - 1]
    assert [line.split(", ")[0].split()[0] for line in lines if "litert" in line] == ["litert", "litert"]
    assert sum("threads" in line and "litert" in line for line in lines) == 1  # those of the recipe go without saying


def test_page_says_whose_start_is_not_known_and_why() -> None:
    item = _artifact("tflite")
    run = item.runs[0].model_copy(update={"startup": None, "unstarted": "killed by SIGABRT"})
    report = _report(item.model_copy(update={"runs": [run]}))
    assert starts.unknown(report) == [f"How {item.id} starts with 1 thread is not known: killed by SIGABRT"]
    assert starts.unknown(report)[0] in page.render(report)
    assert starts.unknown(_report(item)) == []


def test_page_shows_a_file_that_was_only_timed() -> None:
    item = _artifact("tflite", 2)
    timed = [run.model_copy(update={"parity": None}) for run in item.at_other_threads]
    assert "2</td>" in page.render(_report(item.model_copy(update={"at_other_threads": timed})))


def test_page_shows_how_a_file_starts_and_what_is_under_xnnpack() -> None:
    kinds = {"CONV_2D": {"count": 5, "integer": 4}, "SHAPE": {"count": 1}}
    operators = {"integer": 4, "floating": 1, "kinds": kinds, "channels": 8}
    text = page.render(_report(_artifact("tflite", 2, operators=operators)))
    for words in ("4.250<small>4.000 to 5.000</small>", "0.777<small>0.700 to 0.900</small>", "1.23",
                  "which are no 95 % interval", "by XNNPACK 6 of 8 operators in 2 pieces; left: SOFTMAX x2",
                  "medians of 3 fresh processes",
                  "CONV_2D x5, SHAPE; 80.0 % of what computes in integers"):  # fmt: skip
        assert words in text
    assert "took turns, those" in text
    alone = page.render(_report(_artifact("tflite")))
    assert "by XNNPACK 6 of 8" in alone
    assert "took turns, those" not in alone
    assert "Start, memory and threads" not in page.render(_report(_artifact("saved_model")))


@pytest.mark.parametrize(
    ("name", "limit"), [("max_accuracy_drop", 0.05), ("min_speedup", 1.5), ("max_p99_ms", 50.0), ("min_parity", 0.9)]
)
def test_limits_rest_on_the_threads_of_the_recipe_alone(name: str, limit: float) -> None:
    plain = _artifact("tflite").model_copy(update={"id": "prune.tflite.float32"})
    timed = plain.runs[0].model_copy(
        update={"latency": [one.model_copy(update={"speedup": _faster()}) for one in plain.runs[0].latency]}
    )
    plain = plain.model_copy(update={"runs": [timed]})
    with_others = plain.model_copy(update={"at_other_threads": _artifact("tflite", 2, 4).at_other_threads})
    assert gate(name, limit, plain, plain).passed
    assert gate(name, limit, with_others, plain) == gate(name, limit, plain, plain)


def _faster() -> Any:
    found = shapes.artifact("prune", "tflite", "float32", gzip_bytes=1, accuracy=0.9, ms=1.0).runs[0].single_stream()
    assert found is not None
    return found.speedup


def test_memory_that_nobody_tells_is_a_dash() -> None:
    item = _artifact("tflite")
    start = item.runs[0].startup
    assert start is not None
    assert starts.memory(start) == "1.23"
    assert starts.memory(start.model_copy(update={"memory_mib": None})) == "-"
    assert starts.memory(None) == "-"
