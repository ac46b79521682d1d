"""What a reader of requests keeps, and what not."""

from __future__ import annotations

import sys

from serving.server.http.request import Reader, Request


def test_a_body_is_let_go_when_its_request_is() -> None:
    """Or each silent client would keep its last one."""
    reader = Reader()
    reader.feed(b"POST / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000)
    request = reader.next()
    assert isinstance(request, Request)
    body = request.sent_body
    del request
    assert len(body) == 5000
    assert sys.getrefcount(body) == 2  # this name, and the call's argument
