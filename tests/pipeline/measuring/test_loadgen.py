from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.errors import RunError
from pipeline.measuring import loadgen, turns
from pipeline.measuring.block import Verdict

pytestmark = pytest.mark.alone


def _log(**values: object) -> str:
    return "\n".join(":::MLLOG " + json.dumps({"key": key, "value": value}) for key, value in values.items())


GOOD = {
    "loadgen_version": "6.0.17 @ d6147c7eb7",
    "result_validity": "VALID",
    "result_query_count": 700,
    "result_50.00_percentile_latency_ns": 1000,
}


def test_verdict_is_read_from_loadgens_log_when_it_is_valid() -> None:
    found = loadgen._verdict(loadgen.parse(_log(**GOOD)))
    assert found == Verdict("mlperf_loadgen 6.0.17", reasons=(), queries=700, p50_ns=1000)


def test_verdict_says_why_when_loadgen_calls_a_block_invalid() -> None:
    found = loadgen._verdict(loadgen.parse(_log(**GOOD | {"result_validity": "INVALID", "early_stopping_met": False})))
    assert (found.valid, found.reasons) == (False, ("confidence",))
    found = loadgen._verdict(loadgen.parse(_log(**GOOD | {"result_validity": "INVALID"})))
    assert (found.valid, found.reasons) == (False, ("other",))


def test_verdict_is_an_error_when_loadgen_logged_no_result() -> None:
    with pytest.raises(RunError, match="MLPerf LoadGen gave no result") as caught:
        loadgen._verdict(loadgen.parse(_log(loadgen_version="6.0.17")))
    assert "no result at all" in str(caught.value)


def test_disagreement_is_named_when_loadgen_saw_much_longer_queries() -> None:
    verdict = Verdict("mlperf_loadgen 6", reasons=(), queries=3, p50_ns=9_000_000)
    assert "a busy machine" in turns._disagreement("model", verdict, np.array([1000, 1000, 1000]))


@pytest.mark.parametrize(("queries", "p50_ns"), [(4, 100_000), (3, 50_000)])
def test_disagreement_is_an_error_when_the_numbers_are_not_of_the_same_queries(queries: int, p50_ns: int) -> None:
    verdict = Verdict("mlperf_loadgen 6", reasons=(), queries=queries, p50_ns=p50_ns)
    with pytest.raises(RunError, match="the load generator's numbers for model are not ours") as caught:
        turns._disagreement("model", verdict, np.array([100_000] * 3))
    assert "3 queries, median 100000 ns" in str(caught.value)
