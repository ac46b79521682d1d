"""Why a model with fewer channels is not faster somewhere: its widths, and the time that no MACs take."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.causes import causes
from pipeline.report.document import Artifact, Faster
from pipeline.report.model import Channels
from tests.pipeline.test_bought import artifact, graph

ROUND = [Channels(name="stem", layers=["stem"], before=32, after=16)]
ODD = [
    *ROUND,
    *(Channels(name=f"conv_{i}", layers=[f"conv_{i}"], before=64, after=20 + i) for i in range(1, 6)),
    Channels(name="small", layers=["small"], before=6, after=3),  # no multiple of 8 before either
]


def said(
    channels: list[Channels], *, form: str = "tflite", macs_ratio: float = 2.0, size_ratio: float = 2.0,
    interval: tuple[float, float, float] = (1.0, 0.98, 1.01), **changes: Any,
) -> list[str]:  # fmt: skip
    """Return the causes of one place where shrink's file was timed against distill's."""
    pair = artifact("distill", form), artifact("shrink", form, **changes)
    value, low, high = interval
    run = pair[1].runs[0]
    one = Faster(
        runtime=run.runtime, protocol=run.protocol, artifact=pair[1].id, against=pair[0].id, value=value, low=low,
        high=high, pairs=5,
    )  # fmt: skip
    return causes(size_ratio, macs_ratio, [one], [pair], channels)


def test_time_that_does_not_go_with_the_macs_is_bounded_by_the_interval() -> None:
    assert said(ROUND) == [
        "LiteRT: 2.0x fewer MACs and a speed-up of at most 1.01 (95 %): at most 2.0 % of the time goes with the MACs, "
        "if all else takes as long as before; what does not go with them is, among others, the overhead of 9 operators "
        "(9 before)"
    ]


def test_a_served_model_is_told_of_the_way_of_a_request_too() -> None:
    (cause,) = said(ROUND, form="saved_model", interval=(0.95, 0.9, 1.0))
    assert cause == (
        "served over gRPC: 2.0x fewer MACs and a speed-up of at most 1.00 (95 %): none of the time goes with the MACs, "
        "if all else takes as long as before; what does not go with them is, among others, the overhead of 9 operators "
        "(9 before) and the request's way there and back"
    )


def test_nothing_is_said_of_shares_of_the_time_when_it_is_slower() -> None:
    assert said(ROUND, interval=(0.85, 0.8, 0.9)) == [
        "LiteRT: the files show no cause: MACs before over after 2.0x, 9 operators before and 9 now, in float"
    ]


def test_operators_are_left_out_when_the_file_does_not_say_them() -> None:
    (cause,) = said(ROUND, operators=None)
    assert cause.endswith(": at most 2.0 % of the time goes with the MACs, if all else takes as long as before")


def test_widths_that_are_no_multiple_of_8_any_more_are_named() -> None:
    first = said(ODD)[0]
    assert first.startswith(
        "LiteRT: 4 of 7 groups have a width that is no multiple of 8 any more (conv_1 21, conv_2 22, conv_3 23 and 1 "
        "more): kernels that compute 8 channels at once may take as long as for the next multiple"
    )


@pytest.mark.parametrize(
    "group",
    [
        Channels(name="grouped", layers=["grouped"], before=16, after=9, positions=8),  # 128 to 72 filters
        Channels(name="attention", layers=[], before=8, after=5),  # heads
    ],
    ids=lambda group: group.name,
)
def test_widths_are_those_of_what_layers_give(group: Channels) -> None:
    assert len(said([*ROUND, group])) == 1
    assert "multiple of 8" not in said([*ROUND, group])[0]


def test_clusters_are_said_to_make_files_smaller_only_where_they_are_compressed() -> None:
    assert said([], macs_ratio=1.0, clustered={"kernels": 3, "distinct": 16}) == [
        "LiteRT: 3 kernels have at most 16 distinct weights, but each weight is stored and multiplied for itself: that "
        "makes a file smaller only where it is compressed, and nothing faster"
    ]
    assert "1 kernel has at most 4" in said([], macs_ratio=1.0, clustered={"kernels": 1, "distinct": 4})[0]
    # int8 is another cause, and clusters that were there before are none
    assert "distinct" not in said([], macs_ratio=1.0, precision="int8", clustered={"kernels": 3, "distinct": 16})[0]


def test_width_of_a_bidirectional_layer_is_that_of_both_directions() -> None:
    both = Channels(name="lstm", layers=["lstm"], before=8, after=6, positions=2)
    assert said([both])[0].startswith(
        "LiteRT: 1 of 1 groups have a width that is no multiple of 8 any more (lstm 12): "
    )


def test_nothing_is_explained_when_the_interval_holds_much_more_than_1() -> None:
    (cause,) = said(ROUND, interval=(1.2, 0.9, 1.6))
    assert cause.startswith("LiteRT (1.20x, 95 % 0.90 to 1.60): no difference is proven")


def test_zeros_explain_nothing_when_the_interval_holds_much_more_than_1() -> None:
    changes: dict[str, Any] = {"macs_ratio": 1.0, "sparsity": 0.6}
    assert said([], interval=(0.98, 0.81, 1.18), **changes) == [
        "LiteRT (0.98x, 95 % 0.81 to 1.18): no difference is proven, so there is none to explain; more "
        "measure.latency.blocks narrow the interval"
    ]
    (slower,) = said([], interval=(0.9, 0.8, 0.99), **changes)
    assert slower.startswith("LiteRT: 60.0 % zeros, but ")


def test_slower_integers_are_said_to_be_a_matter_of_the_cpu() -> None:
    (cause,) = said(
        [], interval=(0.6, 0.5, 0.7), macs_ratio=1.0, precision="int8", operators=graph(integer=10, floating=0)
    )
    assert cause == (
        "LiteRT: the files show no cause: as many MACs as before, 9 operators before and 10 now, all in integers; "
        "whether integer kernels are faster than float ones is a matter of the CPU and of the runtime's kernels for "
        "it: no file shows that"
    )


def started(taken: int, **left: int) -> dict[str, Any]:
    """Return what a run in LiteRT says of its operators."""
    told = {"operators": taken + sum(left.values()), "taken": taken, "partitions": 1, "left": left}
    times = {"repeats": 1, "batch": 1, "load_ms": 1.0, "first_ms": 1.0, "loads_ms": [1.0], "firsts_ms": [1.0]}
    return times | {"delegated": told}


def not_accelerated(precision: str, taken: int, served: bool = False, **left: int) -> str:
    """Return the cause of a slower file of which XNNPACK leaves operators, where it leaves a SOFTMAX of the other."""

    def told(item: Artifact, found: dict[str, Any]) -> Artifact:
        run = item.runs[0].model_dump(mode="json") | {"startup": started(**found)}
        way = {"protocol": "grpc", "runtime": "served"} if served else {}
        return Artifact.model_validate(item.model_dump(mode="json") | {"runs": [run | way]})

    pair = (
        told(artifact("train"), {"taken": 8, "SOFTMAX": 1}),
        told(artifact("train", precision=precision, operators=graph(integer=5, floating=0)), {"taken": taken, **left}),
    )
    run = pair[1].runs[0]
    one = Faster(
        runtime=run.runtime, protocol=run.protocol, artifact=pair[1].id, against=pair[0].id, value=0.5, low=0.4,
        high=0.6, pairs=5,
    )  # fmt: skip
    (cause,) = causes(2.0, 1.0, [one], [pair])
    return cause


def test_operators_that_xnnpack_leaves_are_the_cause_that_is_told() -> None:
    assert not_accelerated("int16x8", 0, FULLY_CONNECTED=2, SOFTMAX=1) == (
        "LiteRT: XNNPACK computes 0 of 3 operators (8 of 9 before), and leaves to LiteRT's own kernels: "
        "FULLY_CONNECTED x2; LiteRT has none but its reference kernels for int16 activations, which are written to be "
        "right"
    )
    assert "FULLY_CONNECTED x2; its int4 weights are unpacked" in not_accelerated("weight-int4", 3, FULLY_CONNECTED=2)
    few = not_accelerated("int8", 7, QUANTIZE=1)
    assert "leaves to LiteRT's own kernels: QUANTIZE; for the others, whether integer kernels are faster" in few


def test_operators_that_xnnpack_leaves_explain_nothing_when_they_are_no_others_or_it_is_elsewhere() -> None:
    assert "the files show no cause" in not_accelerated("int8", 7, SOFTMAX=1)
    assert "XNNPACK" not in not_accelerated("int16x8", 0, served=True, FULLY_CONNECTED=2)


def test_fixed_batch_explains_why_one_sample_takes_as_long_as_it() -> None:
    slow = (0.5, 0.4, 0.6)
    assert said([], macs_ratio=1.0, interval=slow, batch=4) == [
        "LiteRT: a call takes 4 samples, no more and no fewer: one alone is filled up, and takes as long as 4"
    ]
    assert "a call takes" not in said([], macs_ratio=1.0, interval=slow, batch=1)[0]


def test_macs_are_no_cause_when_much_of_the_time_may_go_with_them() -> None:
    (little,) = said(ROUND, interval=(1.05, 0.97, 1.14))
    assert "at most 24.6 % of the time goes with the MACs" in little
    (much,) = said(ROUND, interval=(1.05, 0.97, 1.15))
    assert much.startswith("LiteRT (1.05x, 95 % 0.97 to 1.15): no difference is proven")


@pytest.mark.parametrize("channels", [ROUND, []], ids=["shrink", "another stage"])
def test_less_to_compute_is_looked_at_without_smaller_files_only_where_channels_left(channels: list[Channels]) -> None:
    assert bool(said(channels, size_ratio=1.0)) == bool(channels)


def test_no_cause_is_looked_for_where_it_is_faster() -> None:
    assert said(ODD, interval=(1.9, 1.8, 2.0)) == []


def test_no_cause_is_made_up_when_neither_macs_nor_widths_changed() -> None:
    assert said(ROUND, macs_ratio=1.0, operators=graph(floating=8)) == [
        "LiteRT: the files show no cause: as many MACs as before, 9 operators before and 8 now, in float"
    ]


def test_zeros_that_are_stored_sparsely_are_told_where_they_make_a_file_faster() -> None:
    pair = artifact("prune", "tflite"), artifact("prune", "tflite", precision="sparse-float32", sparsity=0.8)
    one = Faster(
        runtime="litert",
        protocol=None,
        artifact=pair[1].id,
        against=pair[0].id,
        value=1.0,
        low=0.98,
        high=1.01,
        pairs=5,
    )
    assert causes(3.0, 1.0, [one], [pair]) == [
        "LiteRT: 80.0 % zeros, stored sparsely: XNNPACK has sparse kernels for ARM, and for x86 without AVX alone, and "
        "takes them only for models that prune.policy xnnpack lets pass; elsewhere it unpacks the zeros and multiplies "
        "them"
    ]
