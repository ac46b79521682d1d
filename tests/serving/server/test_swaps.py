"""Hot swaps under load lose no request and no memory; `python -m tests.benchmarks.swaps` makes more of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import swaps


@pytest.mark.rule("6.1", "6.2", "2.5", "9.5")
def test_no_request_fails_and_no_answer_is_wrong_during_ten_swaps(tmp_path: Path) -> None:
    result = swaps.run(tmp_path, 10)
    assert result.failures == []
    assert result.wrong() == []
    assert all(client.answers and client.answers[-1].version > 1 for client in result.clients)
    assert result.growth_mb() < swaps.ALLOWED_GROWTH_MB  # a version that stays would be 16 MB
