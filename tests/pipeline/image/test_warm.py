"""Whether an image starts warm."""

from __future__ import annotations

from typing import Any

from pipeline.image import warm
from pipeline.report.document import Artifact
from pipeline.report.shipped import FirstRequest
from pipeline.stages import judge
from tests.pipeline.report import shapes

ITEM = Artifact(id="a", stage="train", format="saved_model", precision="float32")


def first(*tries_ms: float, protocol: str = "grpc") -> FirstRequest:
    return FirstRequest.model_validate({"protocol": protocol, "tries_ms": tries_ms, "p50_ms": 1.0, "p99_ms": 2.0})


def test_gate_shows_the_worse_protocol_and_counts_the_fastest_container() -> None:
    gate = warm.gate(ITEM, [first(30.0, 3.0), first(3.5, protocol="rest")])
    assert gate.passed
    assert gate.value == 1.75
    assert gate.message == (
        "first request over rest 3.5 ms, p99 of later ones 2 ms: 1.75x (3.5x of their p50), limit at most 2x"
    )


def test_gate_is_missed_with_what_to_do_when_the_first_request_is_slow() -> None:
    gate = warm.gate(ITEM, [first(4.1, 5.0, 9.0)])
    assert not gate.passed
    assert "in the fastest of 3 fresh containers; try warm-up records in the SavedModel" in gate.message
    assert not warm.gate(ITEM, []).passed


def test_another_container_is_started_only_when_it_could_change_the_verdict() -> None:
    assert warm.is_known(first(3.0))
    assert not warm.is_known(first(9.0))
    assert not warm.is_known(first(9.0, 8.0))
    assert warm.is_known(first(9.0, 8.0, 7.0))
    assert warm.is_known(first(400.0))  # cold, on whatever machine


def invalid(**run: Any) -> Artifact:
    """An artifact as the image answered it, its latencies not valid."""
    item = shapes.artifact("train", "saved_model", "float32", gzip_bytes=9000, accuracy=0.99, ms=1.0)
    runs = [one.model_copy(update={"latency": [x.model_copy(update=run) for x in one.latency]}) for one in item.runs]
    return item.model_copy(update={"runs": runs})


def test_nothing_is_said_of_a_start_when_the_p99_is_not_valid() -> None:
    item = warm.unjudged(invalid(valid=False, problems=["a busy machine"]))
    assert item.error is not None
    assert "INVALID" in item.error
    assert "grpc: a busy machine" in item.error
    gate = warm.gate(item, [first(3.0)])
    assert (gate.passed, gate.value) == (False, None)
    assert gate.message.startswith("not measured: the latency of single requests is INVALID")
    assert judge.verdict([item], [gate]) == "error"  # of the moment: nothing is held against the model
    assert warm.unjudged(invalid()).error is None
