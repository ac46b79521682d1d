"""What is fastest when served, and why, from facts made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.fastest import blocks_for, fastest
from pipeline.report.document import Artifact, Fastest
from pipeline.report.words import served_causes
from pipeline.students_t import geometric_mean
from tests.pipeline.stages.test_judge import latency, run

BLOCKS = [1.00, 1.02, 0.98, 1.01, 0.99]
REFERENCE = "train.saved_model.float32"
INT8 = "quantize.tflite.int8"
FAKE = "quantize.saved_model.fake-quant"
PRUNED = "prune.saved_model.float32"
SERVER = {"implementation": "modelmill", "version": "0.1.0", "image": None}


def timed(ms: float, faster: tuple[float, float, float] | None, **changes: Any) -> dict[str, Any]:
    speedup = None
    if faster:
        value, low, high = faster
        speedup = {"against": REFERENCE, "value": value, "low": low, "high": high, "pairs": 5, "valid": True}
    facts = {"p50_ms": ms, "p50_low": 0.9 * ms, "p50_high": 1.1 * ms, "p99_ms": 2 * ms, "speedup": speedup}
    return latency(block_p50_ms=[ms * block for block in BLOCKS], **facts | changes)


def served(
    name: str, ms: float, faster: tuple[float, float, float] | None = None, *, alone_ms: float | None = None,
    graph: dict[str, Any] | None = None, protocols: tuple[str, ...] = ("grpc",), valid: bool = True, **changes: Any,
) -> Artifact:  # fmt: skip
    stage, form, precision = name.split(".")
    many = latency(scenario="MultiStream", settings={"batch": 32}, throughput_per_s=32_000 / ms, speedup=None)
    runs = [
        run(runtime="served", protocol=one, target="embedded", server=SERVER,
            latency=[timed(ms * (1 + i), faster, valid=valid), many])
        for i, one in enumerate(protocols)
    ]  # fmt: skip
    if alone_ms is not None:
        runs.insert(0, run(latency=[timed(alone_ms, None)]))
    facts: dict[str, Any] = {
        "id": name, "stage": stage, "format": form, "precision": precision, "path": "artifacts/x", "gzip_bytes": 1000,
        "sparsity": 0.0, "macs": 5000, "runs": runs,
        "operators": {"integer": 0, "floating": 9, "zero_channels": 0, "channels": 26} | (graph or {}),
    }  # fmt: skip
    return Artifact.model_validate(facts | changes)


def found(*artifacts: Artifact) -> Fastest:
    result = fastest(artifacts, REFERENCE)
    assert result is not None
    return result


def usual() -> list[Artifact]:
    return [
        served(REFERENCE, 1.0),
        served(PRUNED, 0.98, (1.02, 0.97, 1.07), sparsity=0.6),
        served(FAKE, 1.5, (0.67, 0.6, 0.7), graph={"fake_quant": 13}),
        served(INT8, 0.5, (2.0, 1.9, 2.1), alone_ms=0.1, graph={"integer": 10, "floating": 0}),
    ]


def test_rows_are_fastest_first_with_the_speed_up_over_the_served_reference() -> None:
    table = found(*usual())
    assert [row.artifact for row in table.rows] == [INT8, PRUNED, REFERENCE, FAKE]
    assert [row.speedup.value if row.speedup else None for row in table.rows] == [2.0, 1.02, None, 0.67]
    assert (table.target, table.server, table.against) == ("embedded", SERVER, REFERENCE)
    first = table.rows[0]
    assert (first.p50_ms, first.p99_ms, first.throughput_per_s, first.batch) == (0.5, 1.0, 64_000, 32)
    assert (first.model_ms, table.rows[1].model_ms) == (0.1, None)


def test_protocols_have_rows_of_their_own() -> None:
    both = ("grpc", "rest")
    table = found(served(REFERENCE, 1.0, protocols=both), served(PRUNED, 0.5, (2.0, 1.9, 2.1), protocols=both))
    assert [(row.protocol, row.artifact) for row in table.rows] == [
        ("grpc", PRUNED), ("grpc", REFERENCE), ("rest", PRUNED), ("rest", REFERENCE)
    ]  # fmt: skip
    assert list(table.results) == ["grpc", "rest"]


def test_words_say_which_is_fastest_by_how_much_and_what_the_request_itself_costs() -> None:
    assert found(*usual()).results == {
        "grpc": f"{INT8} is proven faster than {REFERENCE}, 0.500 ms against 1.000 ms: 2.0x, 95 % 1.90 to 2.10"
    }
    assert found(*usual()).said == [
        "over gRPC: a request costs about 0.400 ms besides the model, as the fastest .tflite shows that was timed "
        "in LiteRT too; by this estimate no model with this input would be more than about 2.5x as fast as "
        f"{REFERENCE} behind this server",
    ]


def test_words_say_so_where_no_speed_up_is_proven() -> None:
    table = found(served(REFERENCE, 1.0), served(PRUNED, 0.99, (1.01, 0.97, 1.05)))
    assert table.results["grpc"] == (
        f"nothing is proven faster than {REFERENCE}; {PRUNED} took least, 0.990 ms against 1.000 ms: 1.01x, 95 % 0.97 "
        "to 1.05"
    )
    assert table.rows[0].why == []


def test_blocks_that_would_prove_it_are_told_where_no_speed_up_is_proven() -> None:
    table = found(served(REFERENCE, 1.0), served(INT8, 0.7, (1.42, 0.97, 2.08)))
    assert table.said == [
        f"to prove what only seems faster takes more measure.latency.blocks: probably 10 (now 5) for {INT8} over gRPC, "
        "if it is as fast as it seems and the blocks to come are like these"
    ]
    even = found(served(REFERENCE, 1.0), served(INT8, 0.999, (1.001, 0.9, 1.1)))
    assert even.said == []


def test_blocks_are_those_that_prove_the_difference_in_most_draws() -> None:
    draw = np.random.default_rng(1)
    count = blocks_for(1.42, 0.97, 2.08, 5)
    assert count == 10
    spread = np.log(2.08 / 0.97) / 2 / 2.776 * np.sqrt(5)
    proven = [geometric_mean(np.exp(draw.normal(np.log(1.42), spread, count)))[1] > 1 for _ in range(500)]
    assert np.mean(proven) > 0.75
    assert blocks_for(0.9, 0.8, 1.1, 5) is None
    assert blocks_for(1.01, 0.5, 2.04, 5) is None  # more than anybody should be advised to


def test_file_that_is_proven_faster_is_named_before_one_that_only_seems_so() -> None:
    seems = served("shrink.saved_model.float32", 0.5, (2.0, 0.8, 5.0))
    table = found(served(REFERENCE, 1.0), seems, served(PRUNED, 0.52, (1.9, 1.8, 2.0)))
    assert table.results["grpc"] == (
        f"{PRUNED} is proven faster than {REFERENCE}, 0.520 ms against 1.000 ms: 1.90x, 95 % 1.80 to 2.00; no "
        "difference to shrink.saved_model.float32 is proven"
    )
    assert table.said == []  # what is proven takes no more blocks


def test_reference_that_is_fastest_is_said_to_be() -> None:
    table = found(served(REFERENCE, 1.0), served(FAKE, 1.5, (0.67, 0.6, 0.7)))
    assert table.results["grpc"] == f"nothing is faster than {REFERENCE}, with 1.000 ms"
    assert table.said == []


def test_invalid_measurement_proves_nothing() -> None:
    table = found(served(REFERENCE, 1.0), served(PRUNED, 0.5, (2.0, 1.9, 2.1), valid=False))
    assert "nothing is proven, the measurement is INVALID" in table.results["grpc"]
    assert (table.said, table.rows[0].why[0]) == ([], "the measurement is INVALID: nothing is proven")


def test_each_is_told_why_it_is_faster_or_not() -> None:
    why = {row.artifact: row.why for row in found(*usual()).rows}
    assert why[REFERENCE] == []
    assert why[FAKE] == ["13 fake-quant operations in the graph compute in float what int8 kernels would do"]
    assert why[PRUNED] == []  # 0.97 to 1.07: there is nothing to explain
    assert why[INT8] == [
        "LiteRT's kernels in one interpreter of one thread, without a TensorFlow session: 10 operators in integers, 0 "
        "in float",
        "the model is 20.0 % of the request: 0.100 ms in LiteRT, and 0.500 ms with the way there and back",
    ]


def test_gain_that_is_the_servers_and_not_the_integers_can_be_told_apart() -> None:
    lite = served(INT8, 0.5, (2.0, 1.9, 2.1))
    inside = {"against": "train.tflite.float32", "value": 1.2, "low": 1.1, "high": 1.3, "pairs": 5, "valid": True}
    alone = run(latency=[timed(0.1, None, speedup=inside)])
    lite = Artifact.model_validate(lite.model_dump() | {"runs": [alone, *lite.model_dump()["runs"]]})
    (row, _) = found(served(REFERENCE, 1.0), lite).rows
    assert row.why[-1] == (
        "without a server, in LiteRT, its speed-up over train.tflite.float32 is 1.20x, 95 % 1.10 to 1.30"
    )


def test_fewer_macs_that_gain_nothing_are_told_beside_what_the_request_costs() -> None:
    narrow = served("shrink.saved_model.float32", 0.99, (1.00, 0.98, 1.01), macs=1000)
    lite = served(INT8, 0.9, (1.1, 1.05, 1.15), alone_ms=0.02)
    table = found(served(REFERENCE, 1.0), narrow, lite)
    why = {row.artifact: row.why for row in table.rows}
    assert why["shrink.saved_model.float32"] == [f"5.0x fewer MACs than {REFERENCE}"]
    assert "a request costs about 0.880 ms besides the model" in table.said[0]


def test_zeros_are_told_of_a_file_that_is_proven_to_be_no_faster() -> None:
    table = found(served(REFERENCE, 1.0), served(PRUNED, 1.0, (1.0, 0.99, 1.01), sparsity=0.6))
    assert table.rows[-1].why == [
        "60.0 % zeros, but none of the 26 output channels is all zero; dense kernels multiply zeros as they multiply "
        "anything"
    ]


def test_causes_are_a_line_an_artifact_with_the_protocols_where_they_differ() -> None:
    both = ("grpc", "rest")
    lite = served(INT8, 0.5, (2.0, 1.9, 2.1), alone_ms=0.1, protocols=both, graph={"integer": 10, "floating": 0})
    lines = served_causes(found(served(REFERENCE, 1.0, protocols=both), lite))
    assert lines == [
        f"{INT8}: LiteRT's kernels in one interpreter of one thread, without a TensorFlow session: 10 operators in "
        "integers, 0 in float; over gRPC the model is 20.0 % of the request: 0.100 ms in LiteRT, and 0.500 ms with the "
        "way there and back; over REST the model is 10.0 % of the request: 0.100 ms in LiteRT, and 1.000 ms with the "
        "way there and back"
    ]


def test_there_is_no_table_where_nothing_could_be_faster_than_something() -> None:
    assert fastest([served(REFERENCE, 1.0)], REFERENCE) is None
    assert fastest([], None) is None
