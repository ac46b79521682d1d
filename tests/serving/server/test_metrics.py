"""Prometheus' page (4.10), over both protocols."""

from __future__ import annotations

import http.client
import re
from pathlib import Path

import numpy as np
import pytest

from serving.server import monitoring
from serving.server.metrics import Histogram, Metrics
from serving.server.status import Code, StatusError
from tests.serving.server.asking import Grpc, classify_request, example, failure, predict_request, regress_request
from tests.serving.server.running import Running

PATH = "/monitoring/prometheus/metrics"
COUNT, LATENCY, RUNTIME = (
    f":tensorflow:serving:{name}" for name in ("request_count", "request_latency", "runtime_latency")
)


def page(server: Running) -> tuple[list[str], dict[str, float]]:
    """Return the types, and metric with labels -> value."""
    status, text = server.ask("GET", PATH)
    assert status == 200
    assert text.endswith("\n")
    types = [line for line in text.splitlines() if line.startswith("#")]
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return types, {key: float(value) for key, value in values.items()}


@pytest.mark.rule("4.10")
def test_requests_are_counted_and_timed_over_both_protocols(server: Running, client: Grpc) -> None:
    server.predict("same", {"signature_name": "float", "instances": [1.0]})
    client.predict(predict_request("same", "float", x=np.float32([1])))
    types, before = page(server)
    assert types == [f"# TYPE {COUNT} counter", f"# TYPE {LATENCY} histogram", f"# TYPE {RUNTIME} histogram"]
    for _ in range(3):
        client.predict(predict_request("same", "float", x=np.float32([1])))
        failure(client.prediction.Predict, predict_request("same", "float", x=np.float64([1])))
    for _ in range(2):
        server.predict("same", {"signature_name": "float", "instances": [1.0]})
        server.predict_error("same", {"signature_name": "float", "instances": ["x"]})
    assert client.statuses("same")
    assert client.metadata("same")
    _, after = page(server)
    grown = {key: after[key] - before.get(key, 0) for key in after if "same" in key and after[key] != before.get(key)}
    counts = {key: value for key, value in grown.items() if "_bucket" not in key and "_sum" not in key}
    assert counts == {
        f'{COUNT}{{model_name="same",status="OK"}}': 5,
        f'{COUNT}{{model_name="same",status="INVALID_ARGUMENT"}}': 5,
        f'{LATENCY}_count{{model_name="same",API="Predict",entrypoint="GRPC"}}': 3,
        f'{LATENCY}_count{{model_name="same",API="predict",entrypoint="REST"}}': 2,
        f'{RUNTIME}_count{{model_name="same",API="Predict",runtime="TF1"}}': 5,
    }
    assert grown[f'{LATENCY}_sum{{model_name="same",API="Predict",entrypoint="GRPC"}}'] > 3 * 10
    assert grown[f'{LATENCY}_bucket{{model_name="same",API="Predict",entrypoint="GRPC",le="+Inf"}}'] == 3


@pytest.mark.rule("4.10")
def test_classifications_and_regressions_are_counted_under_their_own_names(server: Running, client: Grpc) -> None:
    one = example(x=1.5)
    body = {"signature_name": "regress", "examples": [{"x": 1.5}]}
    _, before = page(server)
    client.prediction.Classify(classify_request("tf2", "", one))
    client.prediction.Regress(regress_request("tf2", "regress", one))
    failure(client.prediction.Regress, regress_request("tf2", "nope", one))
    assert server.ask("POST", "/v1/models/tf2:regress", body)[0] == 200
    _, after = page(server)
    grown = {key: after[key] - before.get(key, 0) for key in after if "tf2" in key and after[key] != before.get(key)}
    assert {key: value for key, value in grown.items() if "_bucket" not in key and "_sum" not in key} == {
        f'{COUNT}{{model_name="tf2",status="OK"}}': 3,
        f'{COUNT}{{model_name="tf2",status="INVALID_ARGUMENT"}}': 1,
        f'{LATENCY}_count{{model_name="tf2",API="Classify",entrypoint="GRPC"}}': 1,
        f'{LATENCY}_count{{model_name="tf2",API="Regress",entrypoint="GRPC"}}': 1,
        f'{LATENCY}_count{{model_name="tf2",API="regress",entrypoint="REST"}}': 1,
        f'{RUNTIME}_count{{model_name="tf2",API="Classify",runtime="TF1"}}': 1,
        f'{RUNTIME}_count{{model_name="tf2",API="Regress",runtime="TF1"}}': 2,
    }


@pytest.mark.rule("4.10")
def test_all_rest_calls_are_counted(server: Running) -> None:
    _, before = page(server)
    server.ask("GET", "/v1/models/half")
    server.ask("GET", "/v1/models/n%22o%5C")
    server.ask("PUT", "/v1/models/half")
    _, after = page(server)
    grown = {key: after[key] - before.get(key, 0) for key in after if COUNT in key and after[key] != before.get(key)}
    assert grown == {
        f'{COUNT}{{model_name="half",status="OK"}}': 1,
        f'{COUNT}{{model_name="n\\"o\\\\",status="NOT_FOUND"}}': 1,
        f'{COUNT}{{model_name="",status="INVALID_ARGUMENT"}}': 1,
    }


@pytest.mark.rule("4.10")
def test_the_page_is_text_and_has_no_query(server: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    for path, status in ((PATH, 200), (f"{PATH}?x=1", 400), (f"{PATH}#x", 400)):
        connection.request("GET", path)
        response = connection.getresponse()
        assert (response.status, response.getheader("Content-Type")) == (status, "text/plain")
        text = response.read().decode()
        if status == 400:
            assert text == f"Unexpected path: {path}. Should be {PATH}"
    assert server.ask("POST", PATH, "x")[0] == 200


@pytest.mark.rule("4.10")
def test_a_histogram_has_33_buckets_that_grow_by_1_8_and_one_more() -> None:
    histogram = Histogram()
    for microseconds in (1, 10, 17.9, 20, 1e12):
        histogram.add(microseconds / 1e6)
    lines = histogram.lines("h", 'a="b"')
    limits = [re.search('le="(.*)"', line)[1] for line in lines[:-2]]
    assert limits[:6] == ["10", "18", "32.4", "58.32", "104.976", "188.957"]
    assert [float(limit) for limit in limits[:-1]] == pytest.approx([10 * 1.8**power for power in range(33)], rel=1e-5)
    assert limits[-1] == "+Inf"
    assert [line.rsplit(" ", 1)[1] for line in lines[:4]] == ["1", "3", "4", "4"]
    assert lines[-3:] == ['h_bucket{a="b",le="+Inf"} 5', 'h_sum{a="b"} 1e+12', 'h_count{a="b"} 5']


@pytest.mark.rule("3.12", "4.10")
def test_the_value_of_a_counter_is_the_sum_over_its_labels() -> None:
    metrics = Metrics()
    metrics.request("m", "Predict", "GRPC", Code.OK, 0.1)
    metrics.request("other", "Predict", "GRPC", Code.NOT_FOUND, 0.1)
    assert metrics.value("/tensorflow/serving/request_count") == 2
    assert metrics.value("/tensorflow/serving/request_latency") == metrics.value("/no/metric") == 0


def test_what_clients_can_fill_with_names_is_bounded() -> None:
    metrics = Metrics()
    for number in range(20_000):
        metrics.request(str(number), "", "REST", Code.NOT_FOUND, 0)
    metrics.request("n" * 5000, "", "REST", Code.NOT_FOUND, 0)
    assert metrics.page().count(b"NOT_FOUND") == 10_000
    assert len(metrics.page()) < 1_000_000


@pytest.mark.rule("4.10")
@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("prometheus_config { enable: true }", PATH), ('prometheus_config: { enable: true, path: "/m" }', "/m"),
        ("prometheus_config { enable: false }", None), ('prometheus_config { path: "/m" }', None), ("", None),
    ],
)  # fmt: skip
def test_a_monitoring_config_says_where_the_page_is(tmp_path: Path, text: str, path: str | None) -> None:
    file = tmp_path / "monitoring.config"
    file.write_text(text)
    assert monitoring.path(str(file)) == path


@pytest.mark.rule("4.10")
@pytest.mark.parametrize("text", ["prometheus_config {", "enable: true", "\xff"])
def test_a_monitoring_config_is_refused_when_it_does_not_parse(tmp_path: Path, text: str) -> None:
    file = tmp_path / "monitoring.config"
    file.write_text(text)
    with pytest.raises(StatusError, match=re.escape(f"INVALID_ARGUMENT: Invalid protobuf file: '{file}'")):
        monitoring.path(str(file))
    with pytest.raises(StatusError, match="NOT_FOUND"):
        monitoring.path(f"{file}.no")
