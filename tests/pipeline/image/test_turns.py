"""Two served models that take turns, each in a server of its own."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.image.turns import Turns
from pipeline.measuring.runtimes import Source
from pipeline.measuring.served import Served
from serving.client.endpoint import Endpoint


class OneServer:
    """What a supply does for its models, without a server: calls go through a pipe, as to the measuring process."""

    def __init__(self, address: str) -> None:
        self.address = address

    def sources(self, ids: Sequence[str], protocol: str) -> dict[str, Source]:
        return {name: Endpoint(f"{self.address}/{protocol}", "m", 1, None, 1.0) for name in ids}

    def call(self, ids: Sequence[str], protocol: str, function: Callable[[Mapping[str, Source]], Any]) -> Any:
        return pickle.loads(pickle.dumps(function))(self.sources(ids, protocol))


def asked(sources: Mapping[str, Source]) -> list[tuple[str, str]]:
    return [(name, source.address) for name, source in sources.items() if isinstance(source, Endpoint)]


def turns() -> Turns:
    servers: list[Any] = [OneServer("this"), OneServer("other")]
    this, other = (Served(server, "grpc") for server in servers)
    return Turns(this, other, "reference")


def test_each_model_is_asked_at_its_own_server_when_both_are_measured() -> None:
    assert turns().call(["reference", "a"], asked) == [("reference", "other/grpc"), ("a", "this/grpc")]


def test_one_model_alone_is_asked_without_the_other() -> None:
    assert turns().call(["a"], asked) == [("a", "this/grpc")]
    assert turns().call(["reference"], asked) == [("reference", "other/grpc")]
