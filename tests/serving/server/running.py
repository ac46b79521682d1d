"""A server process for tests, and the clients that ask it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

READY_S = 90


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


OURS = (sys.executable, "-m", "serving.server")


def wait_for_clients(server: Running, port: int, count: int) -> None:
    """Wait until so many clients are connected to a port, and a little longer: they send at once."""
    deadline = time.monotonic() + READY_S
    process = psutil.Process(server.process.pid)
    while sum(bool(one.raddr) and one.laddr.port == port for one in process.net_connections("tcp")) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.3)


class Running:
    """`python -m serving.server`, or another program, with some flags; its output is in files."""

    def __init__(self, folder: Path, flags: Sequence[str], program: Sequence[str] = OURS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / "out.txt", folder / "err.txt"
        self.port, self.rest_port = free_ports(2)
        # a flag that is given again later counts
        command = [*program, f"--port={self.port}", f"--rest_api_port={self.rest_port}"]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen([*command, *flags], stdout=out, stderr=err)

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def wait_for_log(self, pattern: str) -> None:
        """Wait until stderr has a line that matches."""
        deadline = time.monotonic() + READY_S
        while not re.search(pattern, self.err):
            assert self.process.poll() is None, f"{self.out}\n{self.err}"
            assert time.monotonic() < deadline, f"{self.out}\n{self.err}"
            time.sleep(0.05)

    def wait_until_ready(self) -> None:
        self.wait_for_log("Exporting HTTP/REST API")

    def ended(self) -> int:
        """Wait for its end and return the exit status."""
        return self.process.wait(READY_S)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Send a REST request on a connection of its own; return status and body. A body that is no text is dumped."""
        connection = http.client.HTTPConnection("127.0.0.1", self.rest_port, timeout=30)
        data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        connection.request(method, path, data.encode() if isinstance(data, str) else data)
        response = connection.getresponse()
        text = response.read().decode("utf-8", "surrogateescape")
        connection.close()
        return response.status, text

    def predict(self, model: str, body: Any) -> Any:
        """Return the answer to a :predict request that goes well."""
        status, text = self.ask("POST", f"/v1/models/{model}:predict", body)
        assert status == 200, text
        return json.loads(text)

    def error(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Return status and text of a request that fails."""
        status, text = self.ask(method, path, body)
        document = json.loads(text)
        assert list(document) == ["error"]
        return status, document["error"]

    def predict_error(self, model: str, body: Any) -> tuple[int, str]:
        return self.error("POST", f"/v1/models/{model}:predict", body)
