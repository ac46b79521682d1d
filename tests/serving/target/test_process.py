"""Servers as processes: flags, death and its reason, and that none is left behind."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pipeline.errors import MissingError
from serving.config import ServingConfig
from serving.layout import Deployment
from serving.target import binary, embedded, process
from serving.target.interface import LOG, Death, Server, identify
from tests.serving.target import programs

DEPLOYMENT = Deployment("m", {}, 1, 1)


def target(folder: Path, name: str) -> binary.BinaryTarget:
    return binary.find(ServingConfig(binary=str(programs.program(folder, name))))


def until(found: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def death(server: Server) -> Death:
    until(server.death)
    found = server.death()
    assert found is not None
    return found


def running(folder: Path) -> list[int]:
    """Return the processes whose command line names the folder."""
    found = []
    for one in psutil.process_iter(["pid", "cmdline", "status"]):
        words = one.info["cmdline"] or []
        if any(str(folder) in word for word in words) and one.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(one.info["pid"])
    return found


def test_program_gets_free_ports_and_the_flags_of_the_deployment(tmp_path: Path) -> None:
    with target(tmp_path, "waits").start(DEPLOYMENT, tmp_path / "work") as server:
        until(server.log)
        grpc, rest = (server.addresses[name].rpartition(":")[2] for name in ("grpc", "rest"))
        assert server.addresses == {"grpc": f"grpc://127.0.0.1:{grpc}", "rest": f"http://127.0.0.1:{rest}"}
        assert grpc != rest
        tree = tmp_path / "work/models"
        assert f"--port={grpc} --rest_api_port={rest} --model_config_file={tree}/models.config" in server.log()
        assert server.death() is None
        assert server.identity.implementation == "tensorflow_model_server"
        assert server.identity.version == "9.9.9-rc0"
    assert running(tmp_path) == []
    assert (tmp_path / "work" / LOG).exists()


def test_server_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.target.supervisor.GRACE_S", 0.2)
    with target(tmp_path, "stubborn").start(DEPLOYMENT, tmp_path / "work") as server:
        until(server.log)
    assert running(tmp_path) == []


def test_group_runs_until_its_last_process_has_ended(tmp_path: Path) -> None:
    seen = tmp_path / "pid"
    leader = subprocess.Popen(["/bin/sh", "-c", f"sleep 60 & echo $! >{seen}"], start_new_session=True)
    leader.wait()
    assert process.runs(leader.pid)
    os.kill(int(seen.read_text()), signal.SIGKILL)
    until(lambda: not process.runs(leader.pid))


def test_process_that_nobody_has_waited_for_does_not_run() -> None:
    leader = subprocess.Popen(["/bin/true"], start_new_session=True)
    until(lambda: psutil.Process(leader.pid).status() == psutil.STATUS_ZOMBIE)
    assert not process.runs(leader.pid)
    os.killpg(leader.pid, 0)  # the system still knows it
    leader.wait()


def test_killed_server_is_gone_when_the_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([True, True, False])
    with target(tmp_path, "waits").start(DEPLOYMENT, tmp_path / "work") as server:
        until(server.log)
        monkeypatch.setattr(process, "runs", lambda _: next(answers))
    assert list(answers) == []


def test_server_below_a_wrapper_ends_with_it(tmp_path: Path) -> None:
    config = ServingConfig(binary=str(programs.wrapper(tmp_path, "obeys")))
    with binary.find(config).start(DEPLOYMENT, tmp_path / "work") as server:
        until(server.log)
        assert len(running(tmp_path)) == 3  # the supervisor, the shell and the server
    assert running(tmp_path) == []


def test_death_is_transient_when_somebody_asks_the_server_to_end(tmp_path: Path) -> None:
    with target(tmp_path, "obeys").start(DEPLOYMENT, tmp_path / "work") as server:
        until(server.log)
        (pid,) = [pid for pid in running(tmp_path) if "supervisor" not in " ".join(psutil.Process(pid).cmdline())]
        psutil.Process(pid).terminate()
        found = death(server)
    assert (found.reason, found.transient) == ("ended with exit status 0", True)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("leaves", "ended with exit status 255"),
        ("aborts", "killed by SIGABRT (aborted), a crash in native code"),
    ],
)
def test_death_names_its_cause_and_the_last_words_when_a_server_ends_by_itself(
    tmp_path: Path, name: str, reason: str
) -> None:
    with target(tmp_path, name).start(DEPLOYMENT, tmp_path / "work") as server:
        found = death(server)
    assert (found.reason, found.transient) == (reason, False)
    assert "did not become available" in found.log or found.log == "check failed"
    assert str(found) == f"{reason}; its last words:\n{found.log}"


def test_death_is_transient_when_a_server_is_killed_from_outside(tmp_path: Path) -> None:
    with target(tmp_path, "waits").start(DEPLOYMENT, tmp_path / "work") as server:
        until(server.log)
        (pid,) = [pid for pid in running(tmp_path) if "supervisor" not in " ".join(psutil.Process(pid).cmdline())]
        psutil.Process(pid).kill()
        found = death(server)
    assert found.transient
    assert found.reason.startswith("killed by SIGKILL (killed) from outside")


@pytest.mark.parametrize("name", ["waits", "stubborn"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_server_ends_when_its_owner_is_killed(tmp_path: Path, name: str, wrapped: bool) -> None:
    path = programs.wrapper(tmp_path, name) if wrapped else programs.program(tmp_path, name)
    script = (
        "import sys, time; from pathlib import Path; from serving.config import ServingConfig\n"
        "from serving.layout import Deployment; from serving.target import binary\n"
        f"target = binary.find(ServingConfig(binary={str(path)!r}))\n"
        f"with target.start(Deployment('m', {{}}, 1, 1), Path({str(tmp_path / 'work')!r})) as server:\n"
        "    print('up', flush=True); time.sleep(600)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "up\n"
    count = 4 if wrapped else 3  # the owner, the supervisor and the server, perhaps below a shell
    until(lambda: len(running(tmp_path)) == count)
    until(lambda: (tmp_path / "work" / LOG).read_text())
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    until(lambda: running(tmp_path) == [])


def test_program_that_answers_no_version_is_not_left_running(tmp_path: Path) -> None:
    path = programs.wrapper(tmp_path, "waits")
    inner = tmp_path / "waits"
    inner.write_text(inner.read_text().replace('"--version" in sys.argv', "False"))
    found = binary.find(ServingConfig(binary=str(path), lookup_deadline_s=1))
    assert found.decisive()["version"] == ""
    assert running(tmp_path) == []


def test_exception_in_the_block_leaves_no_server(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), target(tmp_path, "waits").start(DEPLOYMENT, tmp_path / "work"):
        raise KeyboardInterrupt
    assert running(tmp_path) == []


def test_port_that_is_taken_is_told_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        config = ServingConfig(binary=str(programs.program(tmp_path, "waits")), rest_port=port)
        with pytest.raises(MissingError) as caught:
            binary.find(config)
    assert caught.value.what == f"port {port} is not free"
    assert caught.value.expected == "a free port for serving.rest_port on 127.0.0.1"
    assert "leave serving.rest_port out" in caught.value.todo


def test_binary_that_is_not_there_is_told_with_what_to_do() -> None:
    with pytest.raises(MissingError) as caught:
        binary.find(ServingConfig(binary="no_such_server"))
    assert caught.value.what == "there is no program no_such_server"
    assert caught.value.todo == "install tensorflow_model_server, or --set serving.binary=PATH"


def test_binary_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    path = tmp_path / "server"
    path.write_bytes(b"\x7fELF nonsense")
    path.chmod(0o755)
    with pytest.raises(MissingError, match=r"cannot be run"):
        binary.find(ServingConfig(binary=str(path)))


def test_binary_is_identified_by_its_version(tmp_path: Path) -> None:
    found = target(tmp_path, "waits").decisive()
    assert found["program"] == str(tmp_path / "waits")
    assert found["sha256"] == hashlib.sha256((tmp_path / "waits").read_bytes()).hexdigest()
    assert found["version"] == "TensorFlow ModelServer: 9.9.9-rc0\nTensorFlow Library: 9.9.9"


@pytest.mark.parametrize(
    ("text", "implementation", "version"),
    [
        ("TensorFlow ModelServer: 2.20.0-rc1+dev\nTensorFlow Library: 2.20.0", "tensorflow_model_server",
         "2.20.0-rc1+dev"),
        ("TensorFlow ModelServer: modelmill 0.1.0\nTensorFlow Library: 2.21.0\n", "modelmill", "0.1.0"),
        ("usage: server", "unknown", None),
        ("", "unknown", None),
    ],
)  # fmt: skip
def test_server_is_named_as_what_it_says_it_is(text: str, implementation: str, version: str | None) -> None:
    found = identify(text, "image:1")
    assert (found.implementation, found.version, found.image) == (implementation, version, "image:1")


def test_embedded_server_is_taken_when_requests_are_to_be_batched() -> None:
    config = ServingConfig.model_validate({"batching": {"max_batch_size": 8}, "flags": ["--num_tflite_pools=2"]})
    assert embedded.find(config).name == "embedded"


def test_embedded_server_is_refused_when_it_would_ignore_a_flag() -> None:
    given = ("--xla_cpu_compilation_enabled=true", "--no_such_flag=1", "--grpc_max_threads=many", "--enable_profiler")
    with pytest.raises(MissingError) as caught:
        embedded.find(ServingConfig(flags=given))
    expected = "--grpc_max_threads=many, --no_such_flag=1, --xla_cpu_compilation_enabled=true"
    assert caught.value.what == f"the embedded server cannot do {expected}"
    assert embedded.find(ServingConfig(flags=("--grpc_max_threads=8",))).name == "embedded"
