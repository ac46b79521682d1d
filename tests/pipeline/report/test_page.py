from __future__ import annotations

import html.parser
import io
from typing import Any

import pytest
from rich.console import Console

from pipeline.report import commands, document, page, tables
from pipeline.report.forecast import Forecast
from serving.config import IMAGES
from tests.pipeline.report import shapes
from tests.pipeline.stages.test_judge import FLOAT, INT8, REFERENCE, artifact, latency, run


def measured(**changes: Any) -> dict[str, Any]:
    interval = {"value": 0.99, "low": 0.98, "high": 1.0}
    one = latency(settings={"generator": "mlperf_loadgen 6", "blocks": 5}, **changes)
    return run(metrics={"accuracy": interval}, latency=[one, one | {"scenario": "MultiStream"}])


def report(**changes: Any) -> document.Report:
    facts: dict[str, Any] = {
        "schema": 1, "modelmill": "0", "recipe": "<b>digits</b>", "seed": 0, "verdict": "fail",
        "reference": REFERENCE.id, "final": INT8.id,
        "stages": [{"name": "train", "status": "run", "seconds": 1.5, "reason": "asked for"}],
        "artifacts": [
            artifact(REFERENCE, measured(), gzip_bytes=8000),
            artifact(FLOAT, measured(valid=False, problems=["too few queries"])),
            artifact(INT8, error="the converter died: SIGSEGV", gzip_bytes=None, optional=True),
        ],
        "gates": [{"name": "min_parity", "artifact": INT8.id, "limit": 1, "value": None, "low": None, "high": None,
                   "passed": False, "message": "not measured: the converter died"}],
        "machine": {"cpu": "a cpu", "cores": 2, "memory_mb": 1, "system": "s", "python": "3", "versions": {"a": "2"}},
        "training": {"loss": [1.0, 0.5], "val_loss": [1.0, 0.6], "accuracy": [0.5, 0.9], "val_accuracy": [0.5, 0.8]},
    }  # fmt: skip
    return document.Report.model_validate(facts | changes)


def terminal(shown: document.Report, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    tables.show(shown, console)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


class Balance(html.parser.HTMLParser):
    """Fails where a tag is closed that is not open."""

    VOID = frozenset({"meta", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, _attributes: Any) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_well_formed_and_escapes_what_comes_from_outside() -> None:
    text = page.render(report())
    balance = Balance()
    balance.feed(text)
    assert balance.open == []
    assert "<b>digits</b>" not in text
    assert "&lt;b&gt;digits&lt;/b&gt;" in text


def test_page_shows_errors_invalid_measurements_gates_and_curves() -> None:
    text = page.render(report())
    for words in ("the converter died: SIGSEGV", "INVALID", "too few queries", "not measured: the converter died",
                  "98.0 to 100.0", "mlperf_loadgen 6",
                  '<polyline class="training" points="0.0,140.0 256.0,0.0"/>'):  # fmt: skip
        assert words in text


def test_page_shows_the_curve_of_a_single_epoch() -> None:
    assert 'points="0.0,70.0"' in page.render(report(training={"loss": [0.5]}))


def test_page_of_a_failed_run_tells_what_went_wrong_and_where() -> None:
    failure = {"stage": "export", "message": "cannot write <x>", "exit_code": 4}
    text = page.render(report(verdict="error", failure=failure, artifacts=[], gates=[], training={}))
    assert "The run failed in export. The same command goes on from there." in text
    assert "It happened in the stage <strong>export</strong>; the command left with exit code 4." in text
    assert "cannot write &lt;x&gt;" in text


def test_terminal_shows_errors_invalid_measurements_and_gates_within_80_columns() -> None:
    text = terminal(report())
    assert max(len(line) for line in text.splitlines()) <= 80
    for words in ("train.tflite.int8 (optional): the converter died: SIGSEGV", "INVALID", "98.0..100.0", "8.0x",
                  "verdict: fail"):  # fmt: skip
        assert words in text


@pytest.mark.parametrize("verdict", ["pass", "fail", "error", "incomplete"])
def test_every_verdict_has_a_colour(verdict: str) -> None:
    assert f"verdict: {verdict}" in terminal(report(verdict=verdict))


def test_report_is_equal_after_dump_and_load() -> None:
    shown = report()
    assert document.Report.model_validate_json(shown.model_dump_json(by_alias=True)) == shown


SERVER = {"implementation": "tensorflow_model_server", "version": "2.20.0", "image": "tensorflow/serving:2.20.0"}
CHECK = {"name": "malformed-requests", "requests": 32, "problems": []}


def served(**changes: Any) -> document.Report:
    """A report of a SavedModel behind a container, over both protocols."""
    runs = [
        measured() | {"runtime": "served", "protocol": protocol, "target": "docker", "server": SERVER,
                      "encoding": encoding, "checks": [CHECK]}
        for protocol, encoding in (("grpc", "tensor_content"), ("rest", "JSON rows"))
    ]  # fmt: skip
    serving = {"asked": "auto", "target": "docker", "passed_over": {"binary": "there is <none>"}}
    return report(serving=serving, artifacts=[artifact(REFERENCE, *runs, gzip_bytes=8000, **changes)], final=None)


def test_serving_is_told_with_the_server_the_encodings_and_why_not_others() -> None:
    for text in (page.render(served()), " ".join(terminal(served(), 200).split())):
        for words in ("Served by docker: tensorflow_model_server 2.20.0 in tensorflow/serving:2.20.0, over "
                      "grpc (tensor_content) and rest (JSON rows)", "Malformed requests (32 over grpc, 32 over rest): ",
                      "docker"):  # fmt: skip
            assert words in text
    assert '<td class="place">REST<small>docker</small></td>' in page.render(served())
    assert "rest, docker" in terminal(served(), 200)
    assert "Not binary: there is &lt;none&gt;" in page.render(served())
    assert "Not binary: there is <none>" in terminal(served(), 200)


def test_error_of_an_artifact_is_shown_beside_the_runs_that_it_has() -> None:
    failed = served(error="it does not survive malformed requests")
    for text in (page.render(failed), terminal(failed, 200)):
        assert "it does not survive malformed requests" in text
    assert '<td class="place">gRPC<small>docker</small></td>' in page.render(failed)
    assert "grpc, docker" in terminal(failed, 200)
    balance = Balance()
    balance.feed(page.render(failed))
    assert balance.open == []


def test_forecast_is_told_with_what_the_run_decided_of_it() -> None:
    layer = {"name": "conv", "kind": "Conv2D", "parameters": 1, "macs": 1, "how": "yes"}
    stages = [{"stage": "prune", "parameters": 1, "layers": [layer | {"decided_by": ["sensitivity"]}]}]
    forecast = Forecast.model_validate({"lines": [{"stages": stages}]})
    html = page.render(shapes.report(verdict="pass", forecast=forecast, decided=["prune: conv is left out: why"]))
    assert "what becomes of 1 of the layers was left to be decided by what is measured and trained" in html
    assert "Nothing else came of what was said for certain." in html
    assert "<li>prune: conv is left out: why</li>" in html
    assert "Nothing else came of it." in page.render(shapes.report(verdict="pass", forecast=forecast))


def test_image_is_shown_with_its_tag_or_with_what_it_missed() -> None:
    passed, failed = page.render(shapes.whole()), page.render(shapes.failed())
    assert "is in the image <code>shop/digits:7</code>" in passed
    assert "90.0 kB above its base <code>tensorflow/serving:2.20.0</code> of 600 MB" in passed
    assert "2.200 ms, against a p99 of 1.900 ms and a p50 of 1.100 ms" in passed
    assert "docker run --rm --init" in passed
    assert "that image has no tag" in failed
    assert "What to try:</strong> warm-up records." in failed
    assert "docker run --rm --init" not in failed
    assert 'id="image"' not in page.render(shapes.error())


def test_commands_name_the_image_that_a_run_serves_with() -> None:
    (line,) = [one.line for one in commands.commands(served_by_hand()) if "docker run" in one.line]
    assert line.endswith(IMAGES["cpu"])


def served_by_hand() -> document.Report:
    return report(
        folder="runs/digits", to_serve=REFERENCE.id, artifacts=[artifact(REFERENCE, measured(), path="artifacts/it")]
    )
