from __future__ import annotations

from typing import Any

import pytest

from pipeline.plan import Planned
from pipeline.report.document import Artifact, Gate
from pipeline.report.edge import Device, Edge, Micro
from pipeline.stages import judge

REFERENCE = Planned("train", "saved_model", "float32")
FLOAT = Planned("train", "tflite", "float32")
INT8 = Planned("train", "tflite", "int8")
PLAN = (REFERENCE, FLOAT, INT8)
ENDS = Planned("train", "tflite", "int8", "int8-ends.batch1")

INTERVALS = {"p50": (1.0, 0.9, 1.1), "p90": (1.5, 1.4, 1.6), "p99": (2.0, 1.8, 2.2)}


def latency(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "scenario": "SingleStream", "queries": 5000, "valid": True, "settings": {}, "throughput_per_s": 900.0,
        "throughput_low": 800.0, "throughput_high": 1000.0, "block_p50_ms": [1.0], "histogram": {},
        "speedup": {"against": FLOAT.id, "value": 2.0, "low": 1.8, "high": 2.2, "pairs": 5, "valid": True},
    }  # fmt: skip
    for name, (value, low, high) in INTERVALS.items():
        found |= {f"{name}_ms": value, f"{name}_low": low, f"{name}_high": high}
    return found | changes


def run(*, drop: tuple[float, float, float] = (0.01, 0.0, 0.02), **changes: Any) -> dict[str, Any]:
    value, low, high = drop
    return {
        "runtime": "litert", "threads": 1, "metrics": {"accuracy_drop": {"value": value, "low": low, "high": high}},
        "parity": {
            "against": "train.keras", "samples": 360, "top1_agreement": 0.99, "top1_agreement_low": 0.97,
            "top1_agreement_high": 0.995, "max_abs_error": 0.1, "mean_abs_error": 0.01,
        },
        "latency": [latency()],
    } | changes  # fmt: skip


def artifact(item: Planned, *runs: dict[str, Any], **changes: Any) -> Artifact:
    facts = {"id": item.id, "stage": item.stage, "format": item.format, "precision": item.precision, "gzip_bytes": 1000}
    return Artifact.model_validate(facts | {"runs": list(runs)} | changes)


def gates(limits: dict[str, float], *runs: dict[str, Any], **changes: Any) -> list[Gate]:
    artifacts = [artifact(REFERENCE, run(), gzip_bytes=8000), artifact(INT8, *(runs or (run(),)), **changes)]
    return judge.judge(artifacts, PLAN, judge.Config(gates=judge.Limits(**limits)))


@pytest.mark.parametrize(
    ("name", "held", "within", "missed", "words"),
    [
        ("max_accuracy_drop", 0.02, 0.005, -0.001, "0.01 (95 % interval 0 to 0.02), limit at most -0.001"),
        ("min_parity", 0.98, 0.993, 0.999, "0.99 (95 % interval 0.97 to 0.995), limit at least 0.999"),
        ("max_p99_ms", 3.0, 1.9, 1.7, "2 ms (95 % interval 1.8 to 2.2), limit at most 1.7 ms"),
        ("min_speedup", 1.5, 2.1, 2.3, "2x (95 % interval 1.8 to 2.2), limit at least 2.3x"),
    ],
)
def test_gate_fails_only_when_the_whole_interval_misses_the_limit(
    name: str, held: float, within: float, missed: float, words: str
) -> None:
    (gate,) = gates({name: held})
    assert gate.passed
    (gate,) = gates({name: within})
    assert gate.passed
    assert "within the interval, so not shown to be missed" in gate.message
    (gate,) = gates({name: missed})
    assert not gate.passed
    assert gate.message.startswith(words)
    assert "the whole interval misses it; try " in gate.message
    assert gate.todo
    assert gate.message.endswith(f"try {gate.todo}")


@pytest.mark.parametrize(
    ("name", "limit", "words"),
    [
        ("max_accuracy_drop", -0.001, "at most 0"),
        ("min_parity", 0.999, "at least 0.995"),
        ("max_p99_ms", 1.7, "at most 1.8 ms"),
        ("min_speedup", 2.3, "at least 2.2x"),
        ("min_size_ratio", 8.1, "at least 8"),
    ],
)
def test_missed_gate_names_the_limit_that_would_pass_and_it_passes(name: str, limit: float, words: str) -> None:
    (gate,) = gates({name: limit})
    assert gate.todo.split("; the limit that would pass is ")[1].startswith(words)
    passing = float(words.split()[2].removesuffix("x"))
    (gate,) = gates({name: passing})
    assert gate.passed
    assert gate.todo == ""


@pytest.mark.parametrize(
    ("drop", "passing"),
    [((0.05, 0.0123456, 0.09), 0.0124), ((0.05, 0.001, 0.09), 0.001), ((-0.01, -0.0123456, 0.0), -0.0123)],
)
def test_limit_that_would_pass_is_rounded_to_the_side_that_passes(
    drop: tuple[float, float, float], passing: float
) -> None:
    (gate,) = gates({"max_accuracy_drop": -0.5}, run(drop=drop))
    assert gate.todo.endswith(f"at most {passing:g}")
    assert gates({"max_accuracy_drop": passing}, run(drop=drop))[0].passed


def test_limit_of_two_protocols_that_would_pass_passes_for_both() -> None:
    slow = run(protocol="rest", latency=[latency(p99_ms=9.0, p99_low=8.0, p99_high=10.0)])
    slower = run(protocol="grpc", latency=[latency(p99_ms=8.9, p99_low=8.5, p99_high=10.0)])
    (gate,) = gates({"max_p99_ms": 5}, slow, slower)
    assert gate.todo.endswith("at most 8.5 ms")


def test_gate_says_which_side_of_its_limit_is_allowed_and_in_what() -> None:
    found = gates({"max_p99_ms": 5, "min_speedup": 1})
    assert [(gate.upper, gate.unit) for gate in found] == [(True, " ms"), (False, "x")]


def test_size_ratio_is_of_gzipped_bytes_reference_over_artifact() -> None:
    (gate,) = gates({"min_size_ratio": 8.0})
    assert gate.passed
    assert gate.value == 8.0
    (gate,) = gates({"min_size_ratio": 8.1})
    assert not gate.passed
    assert "8, limit at least 8.1" in gate.message


def test_worst_run_decides_when_there_are_several() -> None:
    good, bad = run(), run(drop=(0.5, 0.4, 0.6))
    (gate,) = gates({"max_accuracy_drop": 0.1}, good, bad)
    assert not gate.passed
    assert gate.value == 0.5


def test_gate_names_the_protocol_whose_run_decides() -> None:
    slow = run(protocol="rest", latency=[latency(p99_ms=9.0, p99_low=8.0, p99_high=10.0)])
    (gate,) = gates({"max_p99_ms": 5}, run(protocol="grpc"), slow)
    assert not gate.passed
    assert gate.message.startswith("9 ms (95 % interval 8 to 10) over rest, limit at most 5 ms: the whole interval")


def test_gate_is_not_judged_on_the_runs_that_an_artifact_had_before_it_failed() -> None:
    (gate,) = gates({"min_parity": 0.5}, run(), error="the server died")
    assert not gate.passed
    assert gate.message == "not measured: the server died"


def test_latency_gate_fails_with_the_reasons_when_the_measurement_is_invalid() -> None:
    (gate,) = gates({"max_p99_ms": 3.0}, run(latency=[latency(valid=False, problems=["too few queries"])]))
    assert not gate.passed
    assert "the measurement is INVALID (too few queries)" in gate.message


def test_speedup_gate_fails_when_the_references_measurement_is_invalid() -> None:
    faster = latency()["speedup"] | {"valid": False}
    (gate,) = gates({"min_speedup": 1.5}, run(latency=[latency(speedup=faster)]))
    assert not gate.passed
    assert "the measurement is INVALID (that of train.tflite.float32 is)" in gate.message


def test_run_that_misses_fails_the_gate_when_a_worse_looking_run_does_not() -> None:
    uncertain, sure = run(drop=(0.05, 0.0, 0.1)), run(drop=(0.04, 0.039, 0.041))
    (gate,) = gates({"max_accuracy_drop": 0.03}, uncertain, sure)
    assert not gate.passed
    assert gate.value == 0.04


def test_gate_fails_when_one_of_the_runs_lacks_the_measurement() -> None:
    (gate,) = gates({"max_p99_ms": 3.0}, run(), run(latency=[]))
    assert not gate.passed
    assert gate.message == "not measured: it has no such measurement"


def test_gate_fails_with_the_artifacts_error_when_there_is_nothing_to_judge() -> None:
    artifacts = [artifact(REFERENCE, run()), artifact(INT8, error="the converter died")]
    (gate,) = judge.judge(artifacts, PLAN, judge.Config(gates=judge.Limits(min_parity=0.5)))
    assert not gate.passed
    assert gate.value is None
    assert gate.message == "not measured: the converter died"
    assert gate.todo == "what the error of train.tflite.int8 says"


def test_limits_of_another_artifact_are_judged_there() -> None:
    config = judge.Config(artifacts={FLOAT.id: judge.Limits(min_size_ratio=100)})
    artifacts = [artifact(REFERENCE, run(), gzip_bytes=8000), artifact(FLOAT, run()), artifact(INT8, run())]
    (gate,) = judge.judge(artifacts, PLAN, config)
    assert gate.artifact == FLOAT.id
    assert not gate.passed


def test_verdict_fails_when_an_artifact_has_an_error_unless_it_is_optional() -> None:
    held = gates({"min_size_ratio": 1.0})
    assert judge.verdict([artifact(INT8, run())], held) == "pass"
    assert judge.verdict([artifact(INT8, error="broken")], held) == "fail"
    assert judge.verdict([artifact(INT8, error="broken", optional=True)], held) == "pass"


def test_verdict_is_incomplete_when_there_was_nothing_to_judge() -> None:
    assert judge.verdict([artifact(INT8, run())], []) == "incomplete"
    assert judge.verdict([artifact(INT8, error="broken")], []) == "fail"


def test_verdict_fails_when_a_gate_fails() -> None:
    assert judge.verdict([artifact(INT8, run())], gates({"min_size_ratio": 100.0})) == "fail"


def test_speed_limits_of_a_tflite_are_for_litert_also_where_it_is_served_too() -> None:
    slow = latency(p99_ms=9.0, p99_low=8.0, p99_high=10.0, speedup=latency()["speedup"] | {"value": 0.5, "high": 0.6})
    behind = run(runtime="served", protocol="grpc", target="embedded", latency=[slow])
    found = gates({"max_p99_ms": 3.0, "min_speedup": 1.5}, run(), behind)
    assert [gate.passed for gate in found] == [True, True]
    assert [gate.value for gate in found] == [2.0, 2.0]
    assert "over grpc" not in "".join(gate.message for gate in found)


def test_served_tflite_has_to_answer_as_right_as_in_litert() -> None:
    behind = run(runtime="served", protocol="rest", target="embedded", drop=(0.3, 0.2, 0.4))
    (found,) = gates({"max_accuracy_drop": 0.02}, run(), behind)
    assert not found.passed
    assert found.message.startswith("0.3 (95 % interval 0.2 to 0.4) over rest, limit at most 0.02")


IN_MICRO = run(runtime="tflite-micro", latency=[], drop=(0.05, 0.04, 0.06))


def on_device(limits: judge.Config, *runs: dict[str, Any], micro: str | None = None, **facts: Any) -> list[Gate]:
    device = Edge(artifact=ENDS.id, profile="p", runtime="tflite-micro", micro=Micro(version="1", error=micro), **facts)
    found = [artifact(REFERENCE, run()), artifact(INT8, run()), artifact(ENDS, run(), *runs)]
    return judge.on_device(found, (*PLAN, ENDS), limits, device)


def test_limits_on_answers_hold_for_the_devices_file_in_tflite_micro_too() -> None:
    limits = judge.Config(gates=judge.Limits(max_accuracy_drop=0.02, min_parity=0.9, min_speedup=1.0))
    drop, parity = on_device(limits, IN_MICRO)
    assert (drop.name, drop.artifact, drop.value, drop.passed) == ("max_accuracy_drop", ENDS.id, 0.05, False)
    assert " in TensorFlow Lite Micro, limit at most 0.02: the whole interval misses it" in drop.message
    assert (parity.name, parity.passed) == ("min_parity", True)
    lost, same = on_device(limits, micro="TFLM has no kernel for SIN")
    assert (lost.value, same.value) == (None, None)
    assert lost.message == "not measured: TFLM has no kernel for SIN"


def test_limits_of_its_own_for_the_devices_file_are_the_ones_that_hold() -> None:
    named = judge.Config(
        gates=judge.Limits(max_accuracy_drop=0.02), artifacts={ENDS.id: judge.Limits(max_accuracy_drop=0.1)}
    )
    assert on_device(named, IN_MICRO) == []


@pytest.mark.parametrize(("transient", "verdict"), [(False, "fail"), (True, "error")])
def test_what_the_device_did_not_do_decides_the_verdict_and_not_the_files_gates(transient: bool, verdict: str) -> None:
    measured = gates({"max_accuracy_drop": 0.02})
    (failure,) = Edge(
        artifact=INT8.id,
        profile="p",
        runtime="litert",
        device=Device(command=[], runs=2, error="no", transient=transient),
    ).failures()
    assert judge.verdict([], measured, [failure]) == verdict
    assert judge.verdict([], measured) == "pass"
