"""What a server tells of its own time: TF Serving's counters in Prometheus' text format (`--monitoring_config_file`).

A client's time for a request is longer than the server's for it: the rest is the network and the client's own encoding.
Of the server's time, the rest besides the model's run is its decoding and encoding, and with batching off hardly
anything else. Counters only grow, so the difference of two readings is about what was asked between them.
"""

from __future__ import annotations

import math
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass

from serving.config import Protocol

PATH = "/monitoring/prometheus/metrics"  # where TF Serving has the page if its config names no other
_LATENCY, _RUNTIME = ":tensorflow:serving:request_latency", ":tensorflow:serving:runtime_latency"
# over gRPC and over REST the same call has two names, but its run has one
_APIS: Mapping[Protocol, tuple[str, str]] = {"grpc": ("Predict", "GRPC"), "rest": ("predict", "REST")}
_LINE = re.compile(r'(?P<name>[a-zA-Z_:][\w:]*)\{(?P<labels>(?:[^"}]|"(?:[^"\\]|\\.)*")*)\}\s+(?P<value>\S+)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_TIMEOUT_S = 5.0  # for the whole page
_MOST_BYTES = 2**23
# of the time between two readings: a sum that is written with six digits grows in steps
_COARSEST = 0.02


@dataclass(frozen=True)
class Page:
    """What a server has counted so far of one model over one protocol, successes only.

    Attributes:
        requests, request_ms: of Predict: how many, and the sum of their times from the whole request's arrival in the
            server until its answer leaves.
        runs, runtime_ms: of the model, over both protocols: how many, and the sum of their times; with batching they
            have the wait for a batch.
        step_ms: by how much `request_ms` grows at least, for it is written with few digits; 0 where it is not.
    """

    requests: int
    request_ms: float
    runs: int
    runtime_ms: float
    step_ms: float = 0.0


@dataclass(frozen=True)
class ServerTime:
    """Between two readings.

    Attributes:
        requests: over the protocol.
        request_ms: mean time of one in the server.
        runtime_ms: mean time of a run of the model; None where others asked it over the other protocol.
    """

    requests: int
    request_ms: float
    runtime_ms: float | None


@dataclass(frozen=True)
class Told:
    """What a server told of the while in which it was asked: `time`, or None and `why` not."""

    time: ServerTime | None
    why: str = ""


@dataclass(frozen=True)
class Shares:
    """Where a request's time goes, milliseconds; the three add up to the client's.

    Attributes:
        network_ms: the network, and encoding and decoding in the client.
        server_ms: decoding and encoding in the server, and what else it does; None: told together with the run.
        runtime_ms: the model's run; with `server_ms` None the whole time in the server.
    """

    network_ms: float
    server_ms: float | None
    runtime_ms: float


def read(url: str, model: str, protocol: Protocol) -> tuple[Page | None, str]:
    """Read a server's page.

    Args:
        url: of the page, at the REST port also where gRPC is asked: http://HOST:8501/monitoring/prometheus/metrics.
        model: the name it is served under.
        protocol: that it is asked over.

    Returns:
        The counters, or None with why the server tells nothing. A page without the model has counted no request yet.
    """
    import httpx

    try:
        status, content = _fetched(url)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return None, f"{url} cannot be read: {error or type(error).__name__}"
    if status != 200:
        return None, f"{url} answers HTTP {status}: the server runs without --monitoring_config_file"
    text = content.decode("utf-8", "replace")
    if ":tensorflow:" not in text:
        return None, f"{url} is no page of TF Serving's metrics"
    try:
        return parse(text, model, protocol), ""
    except ValueError as error:
        return None, f"{url} is no page of TF Serving's metrics: {error}"


def _fetched(url: str) -> tuple[int, bytes]:
    """Return the status and the body, which may be neither long nor slow: httpx's own deadline is for each piece."""
    import httpx

    until, content = time.monotonic() + _TIMEOUT_S, b""
    # through no proxy, as the requests themselves
    verify = ssl.create_default_context() if url.startswith("https://") else False
    plain = {"Accept-Encoding": "identity"}
    with httpx.stream("GET", url, timeout=_TIMEOUT_S, trust_env=False, verify=verify, headers=plain) as response:
        for piece in response.iter_raw():
            content += piece
            if len(content) > _MOST_BYTES:
                raise httpx.ReadError(f"the page is longer than {_MOST_BYTES} bytes")
            if time.monotonic() > until:
                raise httpx.ReadTimeout(f"the page takes longer than {_TIMEOUT_S:g} s")
        return response.status_code, content


def parse(text: str, model: str, protocol: Protocol) -> Page:
    """Return the counters of a page; those that it lacks are 0.

    Raises:
        ValueError: a counter of the model's is no finite number.
    """
    api, entrypoint = _APIS[protocol]
    found: dict[tuple[str, str, str], float] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None or not match["name"].endswith(("_sum", "_count")):
            continue
        labels = {name: _ESCAPED.sub(_character, value) for name, value in _LABEL.findall(match["labels"])}
        if labels.get("model_name") != model:
            continue
        key = match["name"], labels.get("API", ""), labels.get("entrypoint", "")
        found[key] = found.get(key, 0.0) + _finite(match)
    total = found.get((f"{_LATENCY}_sum", api, entrypoint), 0.0)
    return Page(
        requests=int(found.get((f"{_LATENCY}_count", api, entrypoint), 0)),
        request_ms=total / 1000,
        runs=int(found.get((f"{_RUNTIME}_count", "Predict", ""), 0)),
        runtime_ms=found.get((f"{_RUNTIME}_sum", "Predict", ""), 0.0) / 1000,
        step_ms=_step(total) / 1000,
    )


def between(before: Page, after: Page) -> tuple[ServerTime | None, str]:
    """Return the server's time between two readings, or None with why it is not known."""
    requests, runs = after.requests - before.requests, after.runs - before.runs
    spent = after.request_ms - before.request_ms
    if requests < 0 or runs < 0 or spent < 0:
        return None, "the server was started anew meanwhile: its counters have gone back"
    if requests == 0:
        return None, "the server counted no request meanwhile: it is another one, or the model has another name there"
    if after.step_ms > _COARSEST * spent:
        return None, f"the server has run for so long that its sum grows in steps of {after.step_ms:g} ms: restart it"
    runtime = (after.runtime_ms - before.runtime_ms) / runs if runs == requests else None
    return ServerTime(requests, spent / requests, runtime), ""


def shares(client_ms: float, server: ServerTime) -> tuple[Shares | None, str]:
    """Return where the client's mean time of a request goes, or None with why it is not known.

    Args:
        client_ms: mean time from a request's sending to its answer, without a wait for a worker; of the same requests.
    """
    if server.request_ms > client_ms:
        found = f"{server.request_ms:.3g} ms against {client_ms:.3g} ms"
        return None, f"requests take longer in the server than for this client ({found}): others ask it too"
    network = client_ms - server.request_ms
    if server.runtime_ms is None or server.runtime_ms > server.request_ms:
        return Shares(network, None, server.request_ms), ""
    return Shares(network, server.request_ms - server.runtime_ms, server.runtime_ms), ""


class Watch:
    """Reads a server's page before and after something is asked, one time after the other; a context manager.

    A page that could not be read is not tried again: it would cost its time-out around every block.

    Attributes:
        told: of the last time.
    """

    def __init__(self, url: str, model: str, protocol: Protocol) -> None:
        self.told = Told(None, "nothing was asked yet")
        self._url, self._model, self._protocol = url, model, protocol
        self._broken = ""
        self._before: Page | None = None

    def __enter__(self) -> Watch:
        self._before = self._page()
        return self

    def __exit__(self, *_: object) -> None:
        after = self._page()
        if self._before is None or after is None:
            self.told = Told(None, self._broken)
        else:
            self.told = Told(*between(self._before, after))

    def _page(self) -> Page | None:
        if self._broken:
            return None
        page, self._broken = read(self._url, self._model, self._protocol)
        return page


def _finite(match: re.Match[str]) -> float:
    try:
        value = float(match["value"])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{match['name']} is {match['value'][:40]}")
    return value


def _step(value: float) -> float:
    """Return the unit of a number's sixth digit if it has no more of them, else 0."""
    if value <= 0 or float(f"{value:.6g}") != value:
        return 0.0
    return float(10.0 ** (math.floor(math.log10(value)) - 5))


def _character(escaped: re.Match[str]) -> str:
    return "\n" if escaped[1] == "n" else escaped[1]
