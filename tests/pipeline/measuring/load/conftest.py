from __future__ import annotations

import sys

import pytest


@pytest.fixture(params=["loadgen", "loop"])
def generator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with LoadGen and with the fallback for machines without it."""
    if request.param == "loop":
        monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
        return "modelmill loop: mlperf_loadgen is not installed"
    pytest.importorskip("mlperf_loadgen", reason="mlperf_loadgen is not installed")
    return "mlperf_loadgen"
