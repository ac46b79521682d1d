"""TF Serving's counters, read; from a real server in tests/pipeline/measuring/load/test_real.py."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from serving.client import monitoring
from serving.client.monitoring import Page, ServerTime, Shares, Told, Watch
from serving.server.metrics import Metrics
from serving.server.status import Code


def _page(*requests: tuple[str, str, float, float], model: str = "digits") -> str:
    """Return a server's page after requests: (API, entrypoint, ms of the request, ms of the run)."""
    metrics = Metrics()
    for api, entrypoint, request_ms, run_ms in requests:
        metrics.run(model, "Predict", run_ms / 1000)
        metrics.request(model, api, entrypoint, Code.OK, request_ms / 1000)
    metrics.request(model, "Predict", "GRPC", Code.INVALID_ARGUMENT, 9)
    return metrics.page().decode()


GRPC, REST = ("Predict", "GRPC", 4.0, 3.0), ("predict", "REST", 8.0, 2.0)


def test_page_is_read_by_protocol_when_both_were_asked() -> None:
    text = _page(GRPC, GRPC, REST)
    over_grpc, over_rest = monitoring.parse(text, "digits", "grpc"), monitoring.parse(text, "digits", "rest")
    assert (over_grpc.requests, over_grpc.request_ms) == (2, pytest.approx(8))
    assert (over_rest.requests, over_rest.request_ms) == (1, pytest.approx(8))
    assert (over_grpc.runs, over_grpc.runtime_ms) == (over_rest.runs, over_rest.runtime_ms) == (3, pytest.approx(8))


@pytest.mark.parametrize("name", ['a "quoted" name', "back\\slash", "a } brace, and=more", "two\nlines"])
def test_page_is_read_when_the_models_name_is_odd(name: str) -> None:
    assert monitoring.parse(_page(GRPC, model=name), name, "grpc").requests == 1
    assert monitoring.parse(_page(GRPC, model=name), "digits", "grpc") == Page(0, 0, 0, 0)


def test_time_between_two_pages_is_a_mean_when_requests_were_counted() -> None:
    before = monitoring.parse(_page(REST), "digits", "rest")
    after = monitoring.parse(_page(REST, REST, ("predict", "REST", 4.0, 1.0)), "digits", "rest")
    assert monitoring.between(before, after) == (ServerTime(2, pytest.approx(6), pytest.approx(1.5)), "")


def test_run_is_unknown_when_the_model_was_asked_over_the_other_protocol_too() -> None:
    found, _ = monitoring.between(Page(0, 0, 0, 0), monitoring.parse(_page(GRPC, REST), "digits", "grpc"))
    assert found == ServerTime(1, pytest.approx(4), None)


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (Page(5, 10, 5, 8), Page(2, 4, 2, 3), "its counters have gone back"),
        (Page(5, 10, 5, 8), Page(5, 10, 5, 8), "the server counted no request meanwhile"),
        (Page(5, 1e6, 5, 8), Page(9, 1e6 + 10, 9, 9, step_ms=10), "its sum grows in steps of 10 ms: restart it"),
    ],
)
def test_time_is_unknown_with_a_reason_when_the_pages_do_not_tell(before: Page, after: Page, why: str) -> None:
    found, reason = monitoring.between(before, after)
    assert found is None
    assert why in reason


def test_step_of_a_sum_is_its_sixth_digit_when_it_has_no_more() -> None:
    line = ':tensorflow:serving:request_latency_sum{model_name="m",API="Predict",entrypoint="GRPC"} '
    assert monitoring.parse(line + "1.23457e+09", "m", "grpc").step_ms == 10  # of 1,234,570 ms
    assert monitoring.parse(line + "1234567890.5", "m", "grpc").step_ms == 0


def test_shares_add_up_to_the_clients_time() -> None:
    assert monitoring.shares(5.0, ServerTime(10, 4.0, 3.0)) == (Shares(1.0, 1.0, 3.0), "")
    assert monitoring.shares(5.0, ServerTime(10, 4.0, None)) == (Shares(1.0, None, 4.0), "")


def test_shares_are_unknown_when_the_server_took_longer_than_the_client_waited() -> None:
    found, why = monitoring.shares(3.0, ServerTime(10, 4.0, 3.0))
    assert found is None
    assert why == "requests take longer in the server than for this client (4 ms against 3 ms): others ask it too"


@contextmanager
def _answering(status: int, text: str, asked: list[str] | None = None, pause_s: float = 0.0) -> Iterator[str]:
    """Answer every request; with a pause a byte at a time, until the client has gone."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked is not None:
                asked.append(self.path)
            self.send_response(status)
            self.end_headers()
            with suppress(OSError):
                for piece in text if pause_s else [text]:
                    self.wfile.write(piece.encode())
                    time.sleep(pause_s)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{monitoring.PATH}"
    finally:
        server.shutdown()
        server.server_close()


def test_server_is_read_over_http() -> None:
    with _answering(200, _page(GRPC)) as url:
        page, why = monitoring.read(url, "digits", "grpc")
    assert page is not None
    assert (page.requests, why) == (1, "")


@pytest.mark.parametrize(
    ("status", "text", "why"),
    [
        (404, '{"error": "Malformed request"}', "answers HTTP 404: the server runs without --monitoring_config_file"),
        (200, "<html>", "is no page of TF Serving's metrics"),
    ],
)
def test_server_that_tells_nothing_is_named_with_the_reason(status: int, text: str, why: str) -> None:
    with _answering(status, text) as url:
        page, reason = monitoring.read(url, "digits", "grpc")
    assert page is None
    assert reason == f"{url} {why}"


def test_server_that_is_gone_is_named_with_the_reason() -> None:
    with _answering(200, "") as url:
        pass
    page, why = monitoring.read(url, "digits", "grpc")
    assert page is None
    assert why.startswith(f"{url} cannot be read: ")


COUNTER = ':tensorflow:serving:request_latency_count{model_name="digits",API="Predict",entrypoint="GRPC"} '


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "many"])
def test_counter_that_is_no_number_is_a_reason(value: str) -> None:
    with _answering(200, COUNTER + value) as url:
        page, why = monitoring.read(url, "digits", "grpc")
    assert page is None
    assert why == f"{url} is no page of TF Serving's metrics: :tensorflow:serving:request_latency_count is {value}"


def test_page_that_is_too_long_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring, "_MOST_BYTES", 1000)
    with _answering(200, _page(GRPC) + "#" * 1000) as url:
        page, why = monitoring.read(url, "digits", "grpc")
    assert page is None
    assert why == f"{url} cannot be read: the page is longer than 1000 bytes"


def test_page_that_drips_is_given_up_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring, "_TIMEOUT_S", 1.0)
    with _answering(200, "x" * 1000, pause_s=0.05) as url:  # each piece in time, the whole after 50 s
        begin = time.monotonic()
        page, why = monitoring.read(url, "digits", "grpc")
        assert time.monotonic() - begin < 25
    assert page is None
    assert why == f"{url} cannot be read: the page takes longer than 1 s"


def test_watch_tells_what_was_asked_in_between_and_reads_a_broken_page_once() -> None:
    pages = iter([Page(1, 2.0, 1, 1.0), Page(3, 8.0, 3, 4.0)])
    watch = Watch("http://h", "digits", "grpc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(monitoring, "read", lambda *_: (next(pages), ""))
        with watch:
            pass
    assert watch.told == Told(ServerTime(2, 3.0, 1.5))
    asked: list[str] = []
    with _answering(404, "", asked) as url:
        watch = Watch(url, "digits", "grpc")
        for _ in range(3):
            with watch:
                pass
    assert watch.told.time is None
    assert "answers HTTP 404" in watch.told.why
    assert len(asked) == 1
