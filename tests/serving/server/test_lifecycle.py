"""The process: flags that only answer (1.1), starts that fail (1.4), one that waits (1.5), and the end."""

from __future__ import annotations

import importlib.metadata
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.serving.server.asking import Grpc, predict_request
from tests.serving.server.running import Running, wait_for_clients


def run(*flags: str) -> tuple[int, str, str]:
    """Run to its end, without TensorFlow; return exit status, stdout and stderr."""
    done = subprocess.run([sys.executable, "-m", "serving.server", *flags], capture_output=True, text=True, timeout=60)
    assert "oneDNN" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.rule("1.1", "9.7")
def test_version_answers_in_two_lines_without_tensorflow() -> None:
    modelmill, tensorflow = (importlib.metadata.version(name) for name in ("modelmill", "tensorflow"))
    expected = f"TensorFlow ModelServer: modelmill {modelmill}\nTensorFlow Library: {tensorflow}\n"
    assert run("--version") == (0, expected, "")


@pytest.mark.rule("1.1")
def test_usage_is_printed_when_a_value_is_bad() -> None:
    code, out, _ = run("--port=abc", "--model_base_path=/m")
    assert code == 255
    assert out.startswith("usage: ")
    assert "--rest_api_timeout_in_ms=30000" in out


RUNNING = 200_000
REFUSED = "UNIMPLEMENTED: this server cannot do what is asked for: "


@pytest.mark.rule("1.2", "1.4")
@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ([], "INVALID_ARGUMENT: Both server_options.model_base_path and server_options.model_config_file are empty!"),
        (["--model_base_path=m"],
         "INVALID_ARGUMENT: Expected model default to have an absolute path or URI; got base_path()=m"),
        (["--model_config_file=/no/file"], "NOT_FOUND: /no/file; No such file or directory"),
        (["--model_base_path=/m", "--port=99999"], "INVALID_ARGUMENT: --port=99999 is no port: expected 0 to 65535"),
        (["--model_base_path=/m", "--rest_api_port=-5"], "INVALID_ARGUMENT: --rest_api_port=-5 is no port"),
        (["--model_base_path=/m", "--port=0"], "INVALID_ARGUMENT: server_options.grpc_port is not set"),
        (["--model_base_path=/m", "--batching_parameters_file=/b"], "INVALID_ARGUMENT: server_options."
         "batching_parameters_file is set without setting server_options.enable_batching to true."),
        (["--model_base_path=/m", "--enable_batching", "--batching_parameters_file=/no/file"],
         "NOT_FOUND: /no/file; No such file or directory"),
        (["--model_base_path=/m", "--ssl_config_file=/s"], f"{REFUSED}--ssl_config_file"),
        (["--model_base_path=/m", "--tensorflow_session_parallelism=1", "--tensorflow_intra_op_parallelism=1",
          "--tensorflow_inter_op_parallelism=1"], "INVALID_ARGUMENT: Either configure"),
    ],
)  # fmt: skip
def test_start_fails_at_once_when_the_flags_cannot_be_served(flags: list[str], text: str) -> None:
    code, out, _ = run(*flags)
    assert code == 255
    assert out.startswith(f"Failed to start server. Error: {text}")


CONFIGS = [
    ("model_config_list {{ config", "Invalid protobuf file: '{path}'"),
    ("model_config_list {{ config {{ nome: 'm' }} }}", "Invalid protobuf file: '{path}'"),
    ("model_config_list {{ config {{ {m} {t} }} config {{ {m} {t} }} }}",
     "Illegal to list model m multiple times in config list"),
    ("model_config_list {{ config {{ name: 'm' base_path: 'x' {t} }} }}",
     "Expected model m to have an absolute path or URI; got base_path()=x"),
    ("model_config_list {{ config {{ {m} }} }}", "Illegal setting neither ModelServerConfig::model_type (deprecated) "
     "nor ModelServerConfig::model_platform, model name is m"),
    ("model_config_list {{ config {{ {m} model_platform: 'P' }} }}", "Model m requests unsupported platform P"),
]  # fmt: skip


@pytest.mark.rule("1.4", "3.12")
@pytest.mark.parametrize(("config", "text"), CONFIGS)
def test_start_fails_at_once_when_the_model_config_is_wrong(tmp_path: Path, config: str, text: str) -> None:
    path = tmp_path / "models.config"
    path.write_text(config.format(m="name: 'm' base_path: '/m'", t="model_platform: 'tensorflow'"))
    code, out, err = run(f"--model_config_file={path}")
    assert (code, out) == (255, f"Failed to start server. Error: INVALID_ARGUMENT: {text.format(path=path)}\n")
    said = "Error parsing text-format tensorflow.serving.ModelServerConfig" in err
    assert said == ("protobuf" in text)


@pytest.mark.rule("6.7")
def test_start_fails_at_once_when_a_label_names_a_version_that_is_not_yet_there(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    path.write_text("model_config_list { config { name: 'm' base_path: '/m' model_platform: 'tensorflow' "
                    "version_labels { key: 'stable' value: 2 } } }")  # fmt: skip
    code, out, _ = run(f"--model_config_file={path}")
    assert (code, out) == (255, "Failed to start server. Error: FAILED_PRECONDITION: Request to assign label to "
                           "version 2 of model m, which is not currently available for inference\n")  # fmt: skip


@pytest.fixture(scope="module")
def starts(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    """Servers that do not come up, side by side: their time goes into importing TensorFlow."""
    folder = tmp_path_factory.mktemp("starts")
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    shutil.copytree(models / "half" / "00000003", folder / "broken" / "1")
    (folder / "broken" / "2").mkdir()
    (folder / "late" / "1.tmp").mkdir(parents=True)
    config = folder / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "half" base_path: "{models}/half" model_platform: "tensorflow" '
        f'model_version_policy {{ specific {{ versions: 1 }} }} }} config {{ name: "M" base_path: "{folder}/broken" '
        'model_platform: "tensorflow" model_version_policy { latest { num_versions: 2 } } } }'
    )
    half = [f"--model_base_path={models}/pair", "--max_num_load_retries=0"]
    flags = {
        "grpc": [*half, f"--port={port}"],
        "rest": [*half, f"--rest_api_port={port}"],
        "broken": [f"--model_config_file={config}", "--max_num_load_retries=1", "--load_retry_interval_micros=1000"],
        "late": [
            f"--model_base_path={folder}/late",
            "--model_name=late",
            "--bind_address=0.0.0.0",
            "--shutdown_grace_seconds=60",
            "--foo",
            "bar",
            "--enable_model_warmup=false",
        ],
    }
    running = {}
    try:
        for pair in (("grpc", "broken"), ("rest", "late")):  # two at a time, for two cores
            running |= {name: Running(folder / "logs" / name, flags[name]) for name in pair}
            running[pair[0]].ended()
        yield running
    finally:
        for server in running.values():
            server.process.kill()
        taken.close()


@pytest.mark.rule("1.4")
@pytest.mark.parametrize(("name", "protocol"), [("grpc", "gRPC"), ("rest", "HTTP/REST")])
def test_start_fails_when_the_port_is_taken(starts: dict[str, Running], name: str, protocol: str) -> None:
    assert starts[name].ended() == 255
    assert f"Failed to start server. Error: UNKNOWN: cannot listen for {protocol} on 127.0.0.1:" in starts[name].out


@pytest.mark.rule("1.4", "5.3")
def test_start_fails_when_no_version_of_a_model_can_be_loaded(starts: dict[str, Running]) -> None:
    """After all attempts, with every reason; the other model does not save it."""
    server = starts["broken"]
    assert server.ended() == 255
    assert "Failed to start server. Error: UNKNOWN: 2 servable(s) did not become available: {" in server.out
    assert "{name: M version: 1} due to error: DATA_LOSS: Can't parse " in server.out
    assert "{name: M version: 2} due to error: NOT_FOUND: Could not find SavedModel .pb or .pbtxt at " in server.out
    assert server.err.count("Loading servable: {name: M version: 2} failed: ") == 2
    assert "Running gRPC ModelServer" not in server.err


@pytest.mark.rule("1.1", "1.3", "1.5", "5.1", "8")
def test_server_waits_with_closed_ports_when_there_is_no_version_and_ends_by_sigterm(
    starts: dict[str, Running], models: Path
) -> None:
    """It warns at each look; a version that appears completes the start."""
    server = starts["late"]
    assert server.out.startswith("unknown argument: --foo\nusage: ")
    server.wait_for_log(r"(No versions of servable late found under base path(.|\n)*){2}")
    for port in (server.port, server.rest_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
    folder = Path(next(flag for flag in server.process.args if "base_path" in flag).partition("=")[2])
    shutil.copytree(models / "slow" / "1", folder / "2.tmp")
    (folder / "2.tmp" / "assets.extra").mkdir()
    (folder / "2.tmp" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"of no matter: warm-up is off")
    (folder / "2.tmp").rename(folder / "0002")
    server.wait_until_ready()
    assert f"Running gRPC ModelServer at 0.0.0.0:{server.port} ..." in server.err
    with Grpc(server.port) as client:
        assert [status.version for status in client.statuses("late")] == [2]
        # what runs when the signal comes is answered
        running = client.prediction.Predict.future(predict_request("late", n=np.int64(RUNNING)), timeout=60)
        with ThreadPoolExecutor(1) as pool:
            rest = pool.submit(server.predict, "late", {"inputs": RUNNING})
            wait_for_clients(server, server.rest_port, 1)
            for _ in range(10):  # and these come after what was sent over gRPC
                client.statuses("late")
            server.process.send_signal(signal.SIGTERM)
            assert running.result().outputs["y"].int64_val == [RUNNING]
            assert rest.result() == {"outputs": RUNNING}
    assert server.ended() == 0
    assert "Traceback" not in server.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_ends_at_once_when_the_signal_comes_before_it_is_ready(tmp_path: Path, number: signal.Signals) -> None:
    server = Running(tmp_path, ["--model_base_path=/nowhere", "--mixed_precision=x"])
    server.wait_for_log("ignored")
    server.process.send_signal(number)
    started = time.monotonic()
    assert server.ended() == 0
    assert time.monotonic() - started < 3
    assert "Traceback" not in server.err
