from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import RunError
from pipeline.measuring import latency
from pipeline.measuring.latency_config import LatencyConfig
from pipeline.predictor import Predictor
from tests.pipeline.measuring.fakes import Busy, Failing, Fixed

pytestmark = pytest.mark.alone

SAMPLES = np.random.default_rng(0).random((20, 4, 4, 1)).astype(np.float32)
QUICK = LatencyConfig(min_block_ms=30, batch_min_block_ms=20, warmup_queries=10)


@pytest.fixture(params=["loadgen", "loop"])
def generator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with LoadGen and with the fallback for machines without it."""
    if request.param == "loop":
        monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
        return "modelmill loop: mlperf_loadgen is not installed"
    pytest.importorskip("mlperf_loadgen", reason="mlperf_loadgen is not installed")
    return "mlperf_loadgen"


def _measure(
    predictors: Mapping[str, Predictor], config: LatencyConfig = QUICK, batch: int = 1
) -> dict[str, latency.Latency]:
    return latency.measure(predictors, SAMPLES, config, batch=batch)


def test_speedup_is_about_a_half_when_a_predictor_is_twice_as_slow(generator: str) -> None:
    found = _measure({"reference": Busy(200), "slow": Busy(400)})
    for one in found.values():
        assert one.valid, one.problems
        assert str(one.settings["generator"]).startswith(generator)
    speedup = latency.speedup(found["reference"], found["slow"], against="reference")
    assert speedup.to_dict()["against"] == "reference"
    assert speedup.pairs == 5
    assert speedup.ratio.value == pytest.approx(0.5, abs=0.15)
    assert speedup.ratio.low < 0.5 + 0.15
    assert speedup.ratio.high > 0.5 - 0.15


@pytest.mark.usefixtures("generator")
def test_measure_reports_queries_percentiles_and_settings_when_all_goes_well() -> None:
    predictor = Busy(50)
    found = _measure({"model": predictor})["model"]
    assert found.scenario == "SingleStream"
    assert found.queries >= 5 * 662
    assert predictor.calls == found.queries + 10 + 5 * 5
    assert 0.05 <= found.p50_ms.value <= found.p90_ms.value <= found.p99_ms.value
    assert found.p99_ms.low <= found.p99_ms.value <= found.p99_ms.high
    assert found.p50_ms.value == pytest.approx(float(np.exp(np.mean(np.log(found.block_p50_ms)))))
    assert 0 < found.throughput_per_s.value < 20_000
    assert sum(count for _, count in found.histogram.counts) == found.queries
    assert dict(found.settings) | {"generator": "", "expected_latency_ns": 0} == {
        "generator": "",
        "expected_latency_ns": 0,
        "blocks": 5,
        "batch": 1,
        "percentile": 0.99,
        "min_queries": 662,
        "min_duration_ms": 30,
        "max_duration_ms": 60_000,
        "warmup_queries": 10,
        "block_warmup_queries": 5,
    }


def test_latency_keeps_the_keys_of_the_report_when_written_to_json() -> None:
    form = _measure({"model": Busy(20)})["model"].to_dict()
    assert {"scenario", "queries", "valid", "settings", "p50_ms", "p90_ms", "p99_ms", "throughput_per_s"} < set(form)
    assert {"p50_low", "p50_high", "p90_low", "p90_high", "p99_low", "p99_high", "throughput_low"} < set(form)


@pytest.mark.usefixtures("generator")
def test_measure_sends_whole_batches_when_throughput_is_asked_for() -> None:
    predictor = Busy(100)
    found = _measure({"model": predictor}, batch=32)["model"]  # more than the 20 samples
    assert predictor.batches == {32}
    assert (found.scenario, found.settings["batch"], found.settings["percentile"]) == ("MultiStream", 32, 0.9)
    assert found.valid, found.problems
    assert found.queries >= 5 * 64
    assert found.throughput_per_s.value == pytest.approx(32 / found.p50_ms.value * 1000, rel=0.2)


@pytest.mark.usefixtures("generator")
def test_measure_is_not_valid_when_there_are_too_few_queries() -> None:
    found = _measure({"model": Busy(500)}, LatencyConfig(min_block_ms=10, batch_min_block_ms=10, max_block_ms=20))
    assert not found["model"].valid
    assert found["model"].queries < 5 * 662
    (problem, *_) = found["model"].problems
    assert "quer" in problem
    assert found["model"].to_dict()["valid"] is False


def test_measure_takes_turns_when_there_are_several_models() -> None:
    order: list[str] = []

    class Noting(Busy):
        def __init__(self, name: str) -> None:
            super().__init__(10)
            self.name = name

        def predict(self, batch: np.ndarray) -> dict[str, np.ndarray]:
            if not order or order[-1] != self.name:
                order.append(self.name)
            return super().predict(batch)

    blocks: list[tuple[int, int]] = []
    latency.measure(
        {"a": Noting("a"), "b": Noting("b")}, SAMPLES, QUICK, progress=lambda done, total: blocks.append((done, total))
    )
    assert order == ["a", "b"] * 6  # the warm-up, then five turns
    assert blocks == [(i + 1, 10) for i in range(10)]


@pytest.mark.usefixtures("generator")
def test_measure_raises_the_predictors_error_and_works_again_when_it_fails_in_a_query() -> None:
    with pytest.raises(ValueError, match="the interpreter broke"):
        _measure({"good": Busy(20), "bad": Failing(ValueError("the interpreter broke"), call=100)})
    assert _measure({"good": Busy(20)})["good"].queries > 0  # LoadGen aborts the process where it was left uncleanly


def test_measure_raises_the_predictors_error_when_it_fails_in_the_warm_up() -> None:
    with pytest.raises(ValueError, match="the interpreter broke"):
        _measure({"bad": Failing(ValueError("the interpreter broke"), call=1)})


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals reach the main thread")
@pytest.mark.usefixtures("generator")
def test_measure_stops_in_order_when_the_user_presses_ctrl_c() -> None:
    class Interrupting(Busy):
        def predict(self, batch: np.ndarray) -> dict[str, np.ndarray]:
            if self.calls == 100:
                os.kill(os.getpid(), signal.SIGINT)
            return super().predict(batch)

    predictor = Interrupting(20)
    with pytest.raises(KeyboardInterrupt):
        _measure({"model": predictor})
    assert predictor.calls < 10_000
    assert not [thread for thread in threading.enumerate() if thread.name == "measuring"]
    assert _measure({"good": Busy(20)})["good"].queries > 0


def test_measure_leaves_nothing_on_stdout_and_in_the_folders_when_loadgen_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "temp").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    # LoadGen obeys an audit.config in the working directory: here it would turn the test into another one
    (tmp_path / "work" / "audit.config").write_text("*.*.mode = 1\n*.*.min_query_count = 3\n")
    _measure({"model": Busy(20)})
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["audit.config"]
    assert not list((tmp_path / "temp").iterdir())


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, "no outputs at all"),
        ({"probabilities": np.ones((1, 3))}, "model has no output 'logits'"),
        ({"logits": np.full((1, 3), np.nan)}, "the logits of model are not all finite"),
        ({"logits": np.zeros((0, 3))}, "the logits of model cannot be compared"),
        ({"logits": np.ones((2, 3))}, "model does not answer every sample"),
    ],
)
def test_measure_fails_when_the_model_gives_no_finite_logits(outputs: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(RunError, match=message):
        _measure({"model": Fixed(outputs)})


@pytest.mark.parametrize(
    ("predictors", "samples", "found"),
    [({}, SAMPLES, "0 models, 20 samples"), ({"model": Busy(1)}, SAMPLES[:0], "1 models, 0 samples")],
)
def test_measure_fails_when_there_is_nothing_to_measure(
    predictors: dict[str, Predictor], samples: np.ndarray, found: str
) -> None:
    with pytest.raises(RunError, match="there is nothing to measure") as caught:
        latency.measure(predictors, samples, QUICK)
    assert found in str(caught.value)


def test_speedup_fails_when_the_two_were_not_measured_together() -> None:
    single = _measure({"model": Busy(10)})["model"]
    batched = _measure({"model": Busy(10)}, batch=2)["model"]
    with pytest.raises(RunError, match="no speed-up against reference can be computed") as caught:
        latency.speedup(single, batched, against="reference")
    assert "MultiStream" in str(caught.value)


def test_measure_works_when_the_predictor_is_a_real_onnx_runtime_session(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    weights = onnx.numpy_helper.from_array(np.random.default_rng(0).random((16, 3)).astype(np.float32), "weights")
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "weights"], ["logits"])],
        "tiny",
        [helper.make_tensor_value_info("image", real, ["n", 4, 4, 1])],
        [helper.make_tensor_value_info("logits", real, ["n", 3])],
        [weights],
    )
    path = tmp_path / "tiny.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)

    class Session:
        def __init__(self) -> None:
            self.session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])

        def predict(self, batch: np.ndarray) -> dict[str, np.ndarray]:
            return {"logits": self.session.run(["logits"], {"image": batch})[0]}

        def close(self) -> None:
            pass

    found = _measure({"a": Session(), "b": Session()})
    speedup = latency.speedup(found["a"], found["b"], against="a")
    assert found["a"].valid
    assert speedup.ratio.value == pytest.approx(1.0, abs=0.5)
