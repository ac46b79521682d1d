from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipeline.measuring.block import queries_needed
from pipeline.measuring.latency_config import LatencyConfig


def test_latency_config_is_the_same_when_dumped_and_loaded() -> None:
    config = LatencyConfig(blocks=7, percentile=0.9)
    assert LatencyConfig.model_validate(config.model_dump()) == config


def test_latency_config_describes_every_key_and_its_range() -> None:
    for name, key in LatencyConfig.model_json_schema()["properties"].items():
        assert key["description"].endswith("."), name
        assert {"minimum", "maximum"} <= set(key), name


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"blocks": 4}, "greater than or equal to 5"),
        ({"percentile": 1.0}, "less than or equal to 0.999"),
        ({"percentile": float("nan")}, "finite number"),
        ({"warmup": 3}, "Extra inputs are not permitted"),
        ({"min_block_ms": 500, "max_block_ms": 400}, "max_block_ms is 400, but a block lasts at least 500 ms"),
    ],
)
def test_latency_config_is_refused_when_a_value_is_impossible(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LatencyConfig.model_validate(values)


@pytest.mark.parametrize(("percentile", "queries"), [(0.90, 64), (0.99, 662)])
def test_queries_needed_are_those_of_mlperfs_early_stopping(percentile: float, queries: int) -> None:
    assert queries_needed(percentile) == queries
