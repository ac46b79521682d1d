"""A registry on loopback with one image of one layer, in the registry's HTTP API, version 2."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_PIECES = 20


@dataclass
class Registry:
    """What was asked of it, and how fast it answers.

    Attributes:
        image: the name of its image.
        pause_s: seconds between two pieces of the layer.
        asked: the paths that were asked for.
        given_up: set when a client closed its connection before it had the layer.
    """

    image: str = ""
    pause_s: float = 0.0
    asked: list[str] = field(default_factory=list)
    given_up: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve(architecture: str, pause_s: float = 0.0) -> Iterator[Registry]:
    """Run it until the block ends; the layer is 4 MB of noise, which nothing compresses."""
    registry = Registry(pause_s=pause_s)
    blobs = _blobs(architecture)
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            registry.asked.append(self.path)
            kind, body = "application/octet-stream", blobs.get(self.path.rpartition("/")[2])
            if self.path == "/v2/":
                body = b"{}"
            elif "/manifests/" in self.path:
                kind, body = _MANIFEST, blobs["manifest"]
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body or b"")))
            self.send_header("Docker-Content-Digest", _digest(body or b""))
            self.end_headers()
            if self.command == "GET" and body:
                self._write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def _write(self, body: bytes) -> None:
            step = len(body) if len(body) < 100_000 else len(body) // _PIECES + 1
            try:
                for start in range(0, len(body), step):
                    self.wfile.write(body[start : start + step])
                    if step < len(body) and registry.pause_s and ended.wait(registry.pause_s):
                        return
            except OSError:
                registry.given_up.set()
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError):  # the engine tries TLS first
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        registry.image = f"127.0.0.1:{server.server_address[1]}/serving:1"
        try:
            yield registry
        finally:
            ended.set()
            server.shutdown()


def _blobs(architecture: str) -> dict[str, bytes]:
    """Return digest -> bytes of the layer and the image's config, and the manifest under its name."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo("noise")
        entry.size = 4_000_000
        tar.addfile(entry, io.BytesIO(os.urandom(entry.size)))
    config = json.dumps({"architecture": architecture, "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": [_digest(layer.getvalue())]}}).encode()  # fmt: skip
    manifest = {
        "schemaVersion": 2, "mediaType": _MANIFEST,
        "config": _entry(config, "application/vnd.docker.container.image.v1+json"),
        "layers": [_entry(layer.getvalue(), "application/vnd.docker.image.rootfs.diff.tar")],
    }  # fmt: skip
    return {
        _digest(config): config,
        _digest(layer.getvalue()): layer.getvalue(),
        "manifest": json.dumps(manifest).encode(),
    }


def _entry(blob: bytes, kind: str) -> dict[str, object]:
    return {"mediaType": kind, "size": len(blob), "digest": _digest(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"
