"""The choice of a target: the order of `auto`, and why each is passed over."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import MissingError
from pipeline.events import Event, Note
from serving.config import ServingConfig
from serving.target.choose import Choice, choose
from tests.serving.target import programs


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


def chosen(events: list[Event] | None = None, **keys: Any) -> Choice:
    return choose(ServingConfig.model_validate(keys), (events if events is not None else []).append)


def test_auto_takes_our_own_server_last_and_says_why_not_the_others() -> None:
    events: list[Event] = []
    found = chosen(events, binary="no_such_server")
    assert (found.asked, found.target.name) == ("auto", "embedded")
    assert found.passed_over == {
        "docker": "there is no Docker engine, nothing that listens at unix:///nowhere/docker.sock",
        "binary": "there is no program no_such_server, nothing that can be run under that name",
    }
    (note,) = events
    assert isinstance(note, Note)
    assert note.text == (
        "serving target: embedded (not docker: there is no Docker engine, nothing that listens at "
        "unix:///nowhere/docker.sock; not binary: there is no program no_such_server, nothing that can be run under "
        "that name)"
    )


def test_auto_takes_a_server_on_the_path_before_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs.program(tmp_path, "waits").rename(tmp_path / "tensorflow_model_server")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = chosen()
    assert found.target.name == "binary"
    assert list(found.passed_over) == ["docker"]
    assert found.target.decisive()["program"] == str(tmp_path / "tensorflow_model_server")


def test_named_target_is_not_looked_for_elsewhere() -> None:
    events: list[Event] = []
    assert chosen(events, target="embedded").passed_over == {}
    assert events == []
    with pytest.raises(MissingError, match="there is no Docker engine") as caught:
        chosen(target="docker")
    assert str(caught.value.todo).startswith("start Docker, or ")
    assert str(caught.value.todo).endswith(", or --set serving.target=embedded")


def test_another_target_is_offered_only_where_it_would_help() -> None:
    with pytest.raises(MissingError, match="there is no program") as caught:
        chosen(target="binary", binary="no_such_server")
    assert caught.value.todo.endswith("--set serving.binary=PATH, or --set serving.target=embedded")
    with socket.create_server(("127.0.0.1", 0)) as held:
        for target in ("auto", "docker"):
            with pytest.raises(MissingError, match="is not free") as caught:
                chosen(target=target, grpc_port=held.getsockname()[1])
            assert "serving.target" not in caught.value.todo


def test_all_reasons_are_told_when_no_target_can_do_what_is_asked() -> None:
    with pytest.raises(MissingError) as caught:
        chosen(binary="no_such_server", flags=("--xla_cpu_compilation_enabled=true",))
    assert caught.value.what == "there is no target to serve the SavedModels"
    for reason in ("docker: there is no Docker engine", "binary: there is no program", "embedded: the embedded server "
                   "cannot do --xla_cpu_compilation_enabled=true"):  # fmt: skip
        assert reason in caught.value.found
