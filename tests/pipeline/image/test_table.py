"""What the command shows of an image that was not, or not wholly, measured."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.image import table
from pipeline.image.document import Image
from pipeline.report import page, words
from pipeline.report.document import Gate
from tests.pipeline.report import shapes

WHY = "the docker server ended before the model was loaded: the container ended with exit status 1"


def image(verdict: str, gates: list[Gate], error: str | None) -> Image:
    found = shapes.artifact("prune", "saved_model", "float32", gzip_bytes=9000, accuracy=0.99, ms=1.0)
    facts = shapes.shipped(verdict=verdict, tag=None, gates=gates).model_dump()
    base = {"name": "modelmill-test/base", "id": "sha256:0", "bytes": 330}
    rest: dict[str, Any] = {
        "modelmill": "0.1.0", "run": "runs/digits", "recipe": "digits", "name": "digits", "version": 1, "labels": {},
        "flags": [], "files": {}, "reference": "train.saved_model.float32", "notes": [], "machine": {}, "base": base,
        "artifact": found.model_copy(update={"error": error, "runs": [] if error else found.runs}),
    }  # fmt: skip
    return Image.model_validate(facts | rest)


def gate(value: float | None) -> Gate:
    return Gate(
        name="min_parity", artifact="prune.saved_model.float32", limit=0.98, value=value, low=value, high=value,
        passed=False, message=f"not measured: {WHY}" if value is None else "0.5, limit at least 0.98",
    )  # fmt: skip


def shown(found: Image) -> str:
    into = io.StringIO()
    table.show(found, Path("image.json"), Console(file=into, width=200, highlight=False))
    return into.getvalue()


def test_reason_is_told_once_and_no_gate_is_called_failed_when_the_container_did_not_serve() -> None:
    text = shown(image("fail", [gate(None), gate(None)], f"{WHY}\n  found: ModuleNotFoundError"))
    assert text.count(WHY) == 1
    assert text.count("not measured") == 2
    assert "of the moment" not in text
    assert "p50 ms" not in text  # no table of figures without a figure
    assert f"not tagged shop/digits:7: {WHY}; it is removed\n" in text
    assert "ModuleNotFoundError" not in text  # the words of the server were told when it ended
    assert "modelmill-test/base, 330 bytes" in text


def test_missed_gate_is_named_when_it_was_measured() -> None:
    text = shown(image("fail", [gate(0.5), gate(None)], None))
    assert "it failed min_parity; it is removed" in text
    assert "0.5, limit at least 0.98" in text
    assert "p50 ms" in text


def test_same_command_is_advised_when_it_was_of_the_moment() -> None:
    assert f"{WHY}; it is removed; the same command tries again" in shown(image("error", [gate(None)], WHY))


def test_page_calls_a_gate_without_a_value_not_measured() -> None:
    text = page.render(shapes.whole(image=shapes.shipped(verdict="fail", tag=None, gates=[gate(None)])))
    section = text[text.index('<section id="image"') :]
    section = section[: section.index("</section>")]
    assert "not measured</span>" in section
    assert "before it could be measured" in section
    assert "fail</span>" not in section


def test_sizes_have_the_unit_that_shows_them() -> None:
    assert [words.size(count) for count in (330, 94_802, 12_345_678)] == ["330 bytes", "94.8 kB", "12.3 MB"]
