"""What the benchmark of speed says of its goals."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.client.endpoint import Endpoint
from tests.benchmarks.findings import Findings
from tests.benchmarks.served_files import SHRUNK, Network
from tests.benchmarks.served_speed import judged, text


@pytest.mark.parametrize(
    ("found", "met"),
    [
        ({"ratio": [1.5, 1.45, 1.6]}, "yes"),
        ({"ratio": [1.5, 1.3, 1.6]}, "yes, but not proven"),
        ({"ratio": [1.3, 1.1, 1.6]}, "no, but not proven"),
        ({"ratio": [1.3, 1.2, 1.39]}, "no"),
        ({"error": "it died"}, "not measured"),
    ],
)
def test_goal_is_met_when_the_ratio_and_proven_when_its_interval_is_above(
    tmp_path: Path, found: dict[str, object], met: str
) -> None:
    findings = Findings("served_speed", "python -m served_speed", tmp_path)
    findings.once("net, LiteRT", lambda: {"models": {SHRUNK: found}})

    (row,) = judged("net", Network(32, {}, 0.5, {"LiteRT": 1.4}), findings)

    assert [row[0], row[1], row[3]] == ["net, LiteRT", "1.4", met]


def test_target_names_model_and_version_as_bench_reads_them() -> None:
    assert text(Endpoint("grpc://127.0.0.1:8500", "model", 7, None, 1.0)) == "grpc://127.0.0.1:8500/model/versions/7"
    rest = text(Endpoint("http://127.0.0.1:8501", "model", 7, None, 1.0))
    assert rest == "http://127.0.0.1:8501/v1/models/model/versions/7"
