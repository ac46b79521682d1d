"""Why a stage runs again is said in the words of the recipe."""

from __future__ import annotations

from typing import Any

from pipeline.artifact import Damaged, Manifest
from pipeline.reason import reason

BASIS: dict[str, Any] = {
    "settings": {"shrink": {"macs": 0.5, "layers": {"stem": None}}}, "inputs": {"train": "a"}, "code": {"a.py": "1"},
    "versions": {"numpy": "1"}, "surroundings": {"cpu": "one"},
}  # fmt: skip


def before(**changed: Any) -> Manifest:
    return Manifest(stage="shrink", fingerprint="0", basis=BASIS | changed, files={}, seconds=0, metrics={})


def test_reason_names_what_changed_and_counts_the_rest() -> None:
    other = before(settings={"shrink": {"macs": 0.4, "layers": {"stem": None}}})
    assert reason(other, BASIS, None) == "shrink.macs is 0.5 and was 0.4"
    many = before(inputs={"train": "b"}, code={"a.py": "2"}, versions={"numpy": "2"}, surroundings={"cpu": "two"})
    assert reason(many, BASIS, None) == ("a.py changed, its input train changed, cpu is one and was two and 1 more")


def test_reason_names_what_surrounds_it_now_where_nothing_did() -> None:
    assert reason(before(surroundings={}), BASIS, None) == "cpu is one and was None"


def test_reason_is_that_nothing_is_there_where_nothing_changed() -> None:
    assert reason(before(), BASIS, None) == "its stored result was removed"
    assert reason(None, BASIS, None) == "nothing is stored for it yet"
    assert reason(before(), BASIS, Damaged("model is missing")) == (
        "the stored result cannot be used: model is missing"
    )
