from __future__ import annotations

import pytest

from pipeline.gates import gate
from pipeline.report.document import Artifact, Parity, Run
from pipeline.report.model import Interval
from tests.pipeline.stages.test_judge import latency, run


def _artifact(*, top1: float | None = None, same: float | None = None, **drops: tuple[float, float, float]) -> Artifact:
    metrics = {f"{name}_drop": Interval(value=value, low=low, high=high) for name, (value, low, high) in drops.items()}
    parity = Parity(
        against="a.keras", samples=9, top1_agreement=top1, top1_agreement_low=None if top1 is None else top1 - 0.1,
        top1_agreement_high=None if top1 is None else top1 + 0.1, r2=same, max_abs_error=0, mean_abs_error=0,
    )  # fmt: skip
    run = Run(runtime="litert", threads=1, metrics=metrics, parity=parity, latency=[])
    return Artifact(id="a.tflite.int8", stage="a", format="tflite", precision="int8", runs=[run])


def test_the_output_that_misses_a_limit_with_its_whole_interval_is_found_beside_a_worse_and_wider_one() -> None:
    artifact = _artifact(same=1.0, a_accuracy=(0.05, 0.0, 0.1), b_accuracy=(0.04, 0.035, 0.045))
    found = gate("max_accuracy_drop", 0.02, artifact, artifact)
    assert not found.passed
    assert (found.value, found.low) == (0.04, 0.035)
    assert gate("max_accuracy_drop", 0.04, artifact, artifact).passed


def test_parity_of_values_and_of_classes_is_each_held_to_the_limit() -> None:
    assert not gate("min_parity", 0.98, _artifact(top1=0.95, same=0.97), _artifact()).passed
    assert gate("min_parity", 0.98, _artifact(top1=0.95, same=0.99), _artifact()).passed
    assert not gate("min_parity", 0.98, _artifact(top1=0.8, same=0.99), _artifact()).passed


def test_r2_lost_is_held_to_the_limit_of_accuracy() -> None:
    artifact = _artifact(same=1.0, r2=(0.5, 0.4, 0.6))
    assert not gate("max_accuracy_drop", 0.3, artifact, artifact).passed


def test_limit_of_a_drop_says_of_what_where_it_is_no_accuracy() -> None:
    artifact = _artifact(mae=(3.0, 2.5, 3.5))
    run = artifact.runs[0].model_copy(update={"judged": ["mae"]})
    found = gate("max_accuracy_drop", 2.0, artifact.model_copy(update={"runs": [run]}), artifact)
    assert not found.passed
    assert found.message.startswith("3 (95 % interval 2.5 to 3.5) of mean absolute error, limit at most 2: the whole ")


@pytest.mark.parametrize(
    ("name", "limit", "todo"),
    [
        ("max_accuracy_drop", 0.01, "a higher shrink.macs (or parameters, latency)"),
        ("min_size_ratio", 4, "a lower shrink.macs, or parameters, latency)"),
    ],
)
def test_missed_limit_names_the_channels_among_what_to_try(name: str, limit: float, todo: str) -> None:
    artifact = _artifact(accuracy=(0.05, 0.04, 0.06)).model_copy(update={"gzip_bytes": 1000})
    found = gate(name, limit, artifact, artifact)
    assert not found.passed
    assert todo in found.todo


def test_quality_is_judged_in_tflite_micro_too_and_time_is_not() -> None:
    artifact = _artifact(top1=1.0, accuracy=(0.0, 0.0, 0.0))
    micro = _artifact(top1=0.5, accuracy=(0.4, 0.3, 0.5)).runs[0].model_copy(update={"runtime": "tflite-micro"})
    device = micro.model_copy(update={"runtime": "device", "metrics": {}, "parity": None})
    both = artifact.model_copy(update={"runs": [*artifact.runs, micro, device]})
    assert gate("max_accuracy_drop", 0.01, both, both).value == 0.4
    assert gate("min_parity", 0.98, both, both).value == 0.5
    timed = Run.model_validate(run(latency=[latency()]))
    both = artifact.model_copy(update={"runs": [timed, micro, device]})
    assert gate("max_p99_ms", 100, both, both).passed
