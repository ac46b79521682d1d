"""What removed channels bought beside what zeros bought: the figure, the words, and when it is shown."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.report import channels_or_zeros, page
from pipeline.report.channels_or_zeros import Cell, Comparison
from pipeline.report.document import Bought
from tests.pipeline.report import shapes
from tests.pipeline.report.test_page import terminal


def compared() -> Comparison:
    found = channels_or_zeros.comparison(shapes.shrunk())
    assert found is not None
    return found


def cells(row: int) -> tuple[Cell, Cell]:
    first, second = compared().rows[row].cells
    assert first is not None
    assert second is not None
    return first, second


def test_every_place_and_ratio_is_a_row() -> None:
    assert [row.name for row in compared().rows] == [
        "MACs", "parameters", "size, gzipped", "latency, LiteRT", "latency, served over gRPC",
        "latency, served over REST", "latency, ONNX Runtime",
    ]  # fmt: skip
    assert compared().against == ("distill", "shrink")


def test_better_is_only_what_the_whole_interval_shows() -> None:
    assert [(cell.text, cell.interval, cell.proven) for cell in cells(0)] == [
        ("2.13x", "", "better"), ("1.00x", "", "")
    ]  # fmt: skip
    removed, zeros = cells(4)
    assert removed.proven == "better"
    assert zeros.proven == ""
    assert removed.low_at > compared().one > zeros.low_at
    assert removed.low_at < removed.at < removed.high_at


def test_accuracy_is_shown_as_its_change_with_the_sign_of_what_happened() -> None:
    assert compared().quality == (
        "accuracy",
        (Cell("-0.6 points", "-1.0 to -0.2", "worse", 0, 0, 0), Cell("-0.1 points", "-0.4 to +0.2", "", 0, 0, 0)),
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "2.0x fewer MACs, the same size, latency not compared"),
        ({"sizes": ("weights", "weights")}, "2.0x fewer MACs, the same size, latency not compared, since not both have "
         "files (export.stages: all makes them)"),
        ({"macs_ratio": 1.0, "size_ratio": 2.5}, "as many MACs, 2.5x smaller, latency not compared"),
        ({"macs_ratio": 0.5, "size_ratio": 0.8}, "2.0x more MACs, 1.25x larger, latency not compared"),
        ({"size_ratio": None}, "2.0x fewer MACs, latency not compared"),
        ({"faster": [(1.9, 1.8, 2.0), (1.0, 0.9, 1.1), (0.8, 0.7, 0.9)]},
         "2.0x fewer MACs, the same size, faster: LiteRT 1.90x, slower: served over REST 0.80x, "
         "no difference proven: served over gRPC 1.00x"),
        ({"faster": [(0.8, 0.7, 0.9)]},
         "2.0x fewer MACs, the same size, nowhere proven faster, slower: LiteRT 0.80x"),
    ],
)  # fmt: skip
def test_line_says_work_size_and_where_it_is_faster(changes: dict[str, Any], said: str) -> None:
    places = [("litert", None), ("served", "grpc"), ("served", "rest")]
    faster = [
        {"runtime": runtime, "protocol": protocol, "artifact": "a", "against": "b", "value": value, "low": low,
         "high": high, "pairs": 5}
        for (runtime, protocol), (value, low, high) in zip(places, changes.get("faster", []), strict=False)
    ]  # fmt: skip
    facts = {
        "stage": "shrink", "against": "distill", "parameters_ratio": 2, "macs_ratio": 2, "size_ratio": 1.0,
        "verdict": "",
    }  # fmt: skip
    one = Bought.model_validate(facts | changes | {"faster": faster})
    assert channels_or_zeros.line(one) == f"shrink (channels out, against distill): {said}"


def test_page_and_terminal_show_both_side_by_side() -> None:
    text = page.render(shapes.shrunk())
    assert "<h3>Channels out against zeros in</h3>" in text
    for said in (text, " ".join(terminal(shapes.shrunk(), 200).split())):
        assert (
            "prune (zeros in, against shrink, on top of what the channels left): as many MACs, 2.2x smaller, nowhere "
            "proven faster"
        ) in said
        assert (
            "shrink (channels out, against distill): 2.1x fewer MACs, 2.1x smaller, faster: LiteRT 2.0x, served over "
            "gRPC 1.25x"
        ) in said


def test_nothing_is_compared_when_the_recipe_has_only_one_of_them() -> None:
    assert channels_or_zeros.comparison(shapes.whole()) is None
    assert "against zeros in" not in page.render(shapes.whole())
    report = shapes.shrunk()
    alone = report.model_copy(update={"bought": [one for one in report.bought if one.stage != "prune"]})
    assert channels_or_zeros.comparison(alone) is None
    assert "Channels removed" in page.render(alone)


def test_models_without_files_and_accuracy_are_compared_by_what_is_known() -> None:
    report = shapes.shrunk()
    made = [model.model_copy(update={"metrics": {}}) for model in report.models]
    bought = [one.model_copy(update={"faster": []}) for one in report.bought]
    found = channels_or_zeros.comparison(report.model_copy(update={"models": made, "bought": bought}))
    assert found is not None
    assert [row.name for row in found.rows] == ["MACs", "parameters", "size, gzipped"]
    assert found.quality is None
