"""The arithmetic of the page's figures: axes, Pareto points, labels, histograms, steps of the waterfall, gauges."""

from __future__ import annotations

import itertools
import random
import re
from typing import Any

import pytest

from pipeline.report import axis, distribution, figures, gauge, tradeoff
from pipeline.report.document import Gate
from pipeline.report.waterfall import waterfall
from tests.pipeline.report import shapes


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.0, 1.0], ["0", "0.25", "0.5", "0.75", "1"]),
        ([0.36, 0.99], ["0.2", "0.4", "0.6", "0.8", "1"]),
        ([-3.0, 7.0], ["-5", "-2.5", "0", "2.5", "5", "7.5"]),
        ([2.0, 2.0], ["1.8", "1.9", "2", "2.1", "2.2"]),
        ([0.0], ["-1", "-0.5", "0", "0.5", "1"]),
    ],
)
def test_linear_axis_ends_on_round_numbers_and_holds_all_values(values: list[float], labels: list[str]) -> None:
    found = axis.linear(values)
    assert [tick.label for tick in found.ticks] == labels
    assert found.low <= min(values) <= max(values) <= found.high
    assert (found.ticks[0].at, found.ticks[-1].at) == (0, pytest.approx(1))


def test_linear_axis_of_shares_ends_at_1_at_the_latest() -> None:
    found = axis.linear([0.97, 1.0], most=1.0)
    assert found.high == 1.0
    assert found.at(1.0) == 1.0


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([5.1, 250], ["10", "20", "50", "100", "200"]),
        ([0.01, 1000], ["0.01", "0.1", "1", "10", "100", "1000"]),
        ([1.2, 1.9], ["1.2", "1.4", "1.6", "1.8"]),
        ([2, 2], ["1.6", "1.8", "2", "2.2", "2.4"]),
    ],
)
def test_logarithmic_axis_has_a_few_round_ticks_in_equal_ratios(values: list[float], labels: list[str]) -> None:
    found = axis.logarithmic(values)
    assert [tick.label for tick in found.ticks] == labels
    middle = (found.low * found.high) ** 0.5
    assert found.at(middle) == pytest.approx(0.5)
    assert all(0 <= tick.at <= 1 for tick in found.ticks)


def test_what_is_outside_of_an_axis_is_put_on_its_edge() -> None:
    found = axis.logarithmic([1, 100])
    assert (found.at(0.001), found.at(1e9)) == (0, 1)


def test_pareto_points_are_those_that_no_other_beats() -> None:
    points = [(5, 0.98), (10, 0.99), (10, 0.97), (20, 0.99), (3, 0.90), (50, 0.995)]
    assert tradeoff.pareto(points) == [4, 0, 1, 5]
    assert tradeoff.pareto([]) == []


def test_equal_points_are_both_on_the_pareto_front() -> None:
    assert tradeoff.pareto([(1, 1.0), (1, 1.0), (2, 1.0)]) == [0, 1]


def test_pareto_front_is_what_its_definition_says_of_random_points() -> None:
    chance = random.Random(0)
    for _ in range(50):
        points = [(chance.randrange(8), chance.randrange(8)) for _ in range(12)]
        beaten = {
            i
            for i, one in enumerate(points)
            for other in points
            if other[0] <= one[0] and other[1] >= one[1] and other != one
        }
        assert sorted(tradeoff.pareto(points)) == sorted(set(range(12)) - beaten)


def overlaps(spots: list[tuple[float, float]], labels: list[tuple[float, float]]) -> int:
    """Count how many labels lie on each other or on a mark, for labels of two digits."""
    boxes = [(x - 8, y - 6, x + 8, y + 6) for x, y in labels]
    marks = [(x - 5, y - 5, x + 5, y + 5) for x, y in spots]
    pairs = [*itertools.combinations(boxes, 2), *itertools.product(boxes, marks)]
    return sum(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for a, b in pairs)


@pytest.mark.parametrize(
    "spots",
    [
        [(100.0, 80.0)] * 14,
        [(0.0, 0.0)] * 6,
        [(256.0, 0.0), (250.0, 0.0), (246.0, 2.0), (20.0, 0.0), (24.0, 0.0)],
        [(20.0 * i, 0.0) for i in range(12)],
    ],
    ids=["all on one", "in the corner", "at the edge", "in a row"],
)
def test_labels_overlap_neither_each_other_nor_a_mark(spots: list[tuple[float, float]]) -> None:
    labels = tradeoff.place(spots, [16.0] * len(spots))
    assert overlaps(spots, labels) == 0
    assert all(8 <= x <= tradeoff.WIDTH - 8 and y >= -12 for x, y in labels)


def test_tradeoffs_are_one_chart_for_size_and_one_for_each_place() -> None:
    charts = tradeoff.tradeoffs(shapes.whole())
    assert [chart.title for chart in charts] == [
        "size", "gRPC (embedded)", "REST (embedded)", "LiteRT", "ONNX Runtime"
    ]  # fmt: skip
    size, *_, litert, _ = charts
    assert [mark.number for mark in size.marks] == list(range(1, 13))
    assert [mark.name for mark in litert.marks if mark.best] == [
        "train.tflite.float32", "distill.tflite.float32", "quantize.tflite.int8"
    ]  # fmt: skip
    assert "98.3 % (95 % 97.7 to 98.9) at 5.3 kB" in [mark.said for mark in size.marks]
    assert tradeoff.fronts(charts, 11) == ["size", "LiteRT"]
    assert len({chart.y for chart in charts}) == 1  # accuracies compare across the charts


def test_front_goes_on_at_the_same_accuracy_until_the_next_better_point() -> None:
    litert = tradeoff.tradeoffs(shapes.whole())[3]
    corners = [tuple(map(float, corner.split(","))) for corner in litert.front.split()]
    assert len(corners) == 5
    for (x, y), (next_x, next_y) in itertools.pairwise(corners):
        assert (next_y == y and next_x > x) or (next_x == x and next_y < y)


def test_what_failed_or_has_no_valid_latency_is_in_no_chart_of_latencies() -> None:
    report = shapes.whole()
    broken = report.artifacts[-1].model_copy(update={"error": "it died"})
    run = report.artifacts[1].runs[0]
    invalid = run.model_copy(update={"latency": [run.latency[0].model_copy(update={"valid": False})]})
    noisy = report.artifacts[1].model_copy(update={"runs": [invalid]})
    kept = [report.artifacts[0], noisy, *report.artifacts[2:-1], broken]
    size, _, _, litert, onnx = tradeoff.tradeoffs(report.model_copy(update={"artifacts": kept}))
    assert 12 not in [mark.number for mark in (*size.marks, *onnx.marks)]
    assert 2 in [mark.number for mark in size.marks]
    assert 2 not in [mark.number for mark in litert.marks]


def test_no_chart_is_drawn_of_a_single_file() -> None:
    report = shapes.whole()
    assert tradeoff.tradeoffs(report.model_copy(update={"artifacts": [report.artifacts[1]]})) == []


COUNTS = {"buckets_per_octave": 1, "counts": {"20": 6, "21": 90, "22": 3, "30": 1}}


def test_buckets_of_a_histogram_have_edges_in_milliseconds() -> None:
    found = distribution.buckets(COUNTS)
    assert [count for *_, count in found] == [6, 90, 3, 1]
    assert found[0][:2] == (2**20 / 1e6, 2**21 / 1e6)
    assert distribution.buckets({}) == []


@pytest.mark.parametrize(("share", "bucket"), [(0.05, 20), (0.5, 21), (0.99, 22), (1.0, 30)])
def test_reached_is_where_a_share_of_the_queries_is_answered(share: float, bucket: int) -> None:
    assert distribution.reached(distribution.buckets(COUNTS), share) == 2 ** (bucket + 1) / 1e6


def test_files_of_a_place_share_an_axis_and_lose_no_query() -> None:
    places = distribution.distributions(shapes.whole())
    assert [(place.name, len(place.rows)) for place in places] == [
        ("served over gRPC", 4), ("served over REST", 4), ("LiteRT", 4), ("ONNX Runtime", 4)
    ]  # fmt: skip
    for place in places:
        for row in place.rows:
            assert 0 <= row.p50 < row.p99 <= distribution.WIDTH
            assert row.beyond <= 0.001 * row.latency.queries
            xs = [float(x) for x in re.findall(r"[MH](-?[\d.]+)", row.shape)]
            assert xs == sorted(xs)
            assert xs[-1] <= distribution.WIDTH


def test_queries_beyond_the_axis_are_told() -> None:
    tail = {"buckets_per_octave": 1, "counts": {"20": 5000, "40": 2}}
    report = shapes.whole()
    run = report.artifacts[1].runs[0]
    one = run.latency[0].model_copy(update={"histogram": tail, "p99_ms": 2.0})
    file = report.artifacts[1].model_copy(update={"runs": [run.model_copy(update={"latency": [one]})]})
    (place,) = distribution.distributions(report.model_copy(update={"artifacts": [file]}))
    assert place.beyond == "2 of train.tflite.float32, up to 2,199,023.3 ms"
    assert place.axis.high < 5


def test_outline_of_latencies_goes_down_to_the_ground_in_a_gap() -> None:
    report = shapes.whole()
    run = report.artifacts[1].runs[0]
    one = run.latency[0].model_copy(
        update={"histogram": {"buckets_per_octave": 1, "counts": {"20": 2, "21": 1, "23": 1}}, "p99_ms": 9.0}
    )
    file = report.artifacts[1].model_copy(update={"runs": [run.model_copy(update={"latency": [one]})]})
    (place,) = distribution.distributions(report.model_copy(update={"artifacts": [file]}))
    moves = re.findall(r"[MVHZ][^MVHZ]*", place.rows[0].shape)
    assert [move[0] for move in moves] == list("MVHVHVZMVHVZ")
    assert [move for move in moves if move[0] == "V"] == ["V0.0", "V20.0", "V40", "V20.0", "V40"]


def test_waterfall_goes_from_the_reference_through_every_stage_to_the_final_file() -> None:
    found = waterfall(shapes.whole())
    assert found is not None
    assert [(step.name, step.before, step.after) for step in found.steps] == [
        ("train, as SavedModel", None, 250_000), ("train, as .tflite", 250_000, 250_000),
        ("distill", 250_000, 18_000), ("prune", 18_000, 10_000), ("quantize", 10_000, 5_300),
    ]  # fmt: skip
    assert found.total.ratio == pytest.approx(250 / 5.3)
    for before, after in itertools.pairwise(found.steps[1:]):
        assert after.right == pytest.approx(before.left, abs=0.5)  # each begins where the last ended
    lengths = [step.right - step.left for step in found.steps[2:]]
    assert lengths[0] / lengths[1] == pytest.approx(2.63 / 0.588, rel=0.01)  # logarithms of 250/18 and 18/10


def test_waterfall_is_of_the_weights_when_nothing_was_exported() -> None:
    found = waterfall(shapes.one_step())
    assert found is not None
    assert found.what == "the weights alone, gzipped"
    assert [step.name for step in found.steps] == ["import", "prune"]


def test_there_is_no_waterfall_of_one_model() -> None:
    assert waterfall(shapes.only_trained()) is None


def test_a_stage_that_makes_it_larger_falls_upwards() -> None:
    report = shapes.whole()
    larger = [item.model_copy(update={"gzip_bytes": 40_000}) if item.stage == "quantize" else item
              for item in report.artifacts]  # fmt: skip
    from pipeline.bought import bought

    found = waterfall(report.model_copy(update={"artifacts": larger, "bought": bought(report.models, larger)}))
    assert found is not None
    assert found.steps[-1].ratio == 0.25
    assert found.steps[-1].left < found.steps[-1].right


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [({"upper": True}, (0.0, 50.0)), ({"upper": False}, (50.0, 100.0))],
    ids=["at most", "at least"],
)
def test_gauge_shades_the_side_of_the_limit_that_is_allowed(
    changes: dict[str, Any], allowed: tuple[float, float]
) -> None:
    gate = Gate(name="a", artifact="b", limit=1, value=1.5, low=0, high=2, passed=True, message="", unit="", **changes)
    found = gauge.gauge(gate)
    assert found is not None
    assert found.allowed == allowed
    assert 0 < found.low < found.limit < found.value < found.high < 100


def test_gauge_of_a_size_without_an_interval_stays_within_its_box() -> None:
    found = gauge.gauge(Gate(name="a", artifact="b", limit=5, value=5, low=5, high=5, passed=True, message=""))
    assert found is not None
    assert 0 < found.value < 100
    assert gauge.gauge(
        Gate(name="a", artifact="b", limit=5, value=None, low=None, high=None, passed=False, message="")
    ) is None  # fmt: skip


def test_curve_of_many_epochs_has_a_bounded_number_of_points_and_its_last() -> None:
    chart = figures.lines("loss", {"training": [1 / (i + 1) for i in range(10_000)]})
    assert chart is not None
    points = chart.curves[0].points.split()
    assert len(points) <= 301
    assert points[-1].startswith(f"{figures.WIDTH:.1f},")
    assert [tick.label for tick in chart.x.ticks] == ["1", "2000", "4000", "6000", "8000", "10000"]


def test_loss_that_falls_far_is_drawn_in_equal_ratios_and_says_so() -> None:
    chart = figures.lines("loss", {"training": [2.0, 0.2, 0.02]})
    assert chart is not None
    assert chart.y.log
    assert chart.said == "loss over 3 epochs, in equal ratios: training from 2 to 0.02"
    ys = [float(point.split(",")[1]) for point in chart.curves[0].points.split()]
    assert ys[1] - ys[0] == pytest.approx(ys[2] - ys[1], abs=0.2)
