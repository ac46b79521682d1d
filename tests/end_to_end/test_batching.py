"""`modelmill batching` behind the embedded server: the file, and that no server is left behind."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from pipeline import recipe
from pipeline.events import Event
from pipeline.image.batching import compare_flags, most
from pipeline.isolate import Child
from pipeline.recipes import DEFAULT
from serving.config import BatchingConfig
from serving.server.batching import parameters
from tests.end_to_end.command import interrupted, modelmill
from tests.pipeline.batching import wide
from tests.serving.server.asking import Grpc, failure, predict_request
from tests.serving.server.running import Running

HANDLERS = "--grpc_max_threads=64"
BRIEFLY = ("--candidates", "1", "--pairs", "2", "--block", "0.2", "--set", "serving.target=embedded")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model whose batches are much cheaper than single requests."""
    folder = tmp_path_factory.mktemp("wide")
    with Child(deadline_s=120, memory_mb=None, threads=1, log=folder / "log.txt") as child:
        child.call(wide.write, folder)
    return folder


def left(work: Path) -> list[psutil.Process]:
    """Return the processes that work below a folder, after a moment in which they may end."""
    until = time.monotonic() + 15
    while True:
        found = []
        for process in psutil.process_iter(["cmdline"]):
            if any(str(work) in part for part in process.info["cmdline"] or ()):
                found.append(process)
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.2)


def test_file_is_written_exactly_where_the_interval_is_above_1_when_candidates_take_turns(
    model: Path, tmp_path: Path
) -> None:
    done = modelmill("batching", str(model), "--bound", "50", *BRIEFLY, cwd=tmp_path, TMPDIR=str(tmp_path))
    found = json.loads((tmp_path / "batching_parameters.json").read_text())
    without, *candidates = found["trials"]
    assert without["parameters"] is None
    if not candidates:  # on a very busy machine a single request takes longer than the bound
        assert found["verdict"] == "missed"
        assert done.returncode == 1
        return
    (candidate,) = candidates
    assert found["finalist"] == candidate["name"]
    for one in found["trials"]:
        turns = [block["turn"] for block in one["blocks"]]
        assert turns == sorted(set(turns))
        assert all(block["requests"] > 0 for block in one["blocks"])
        valid = [block["rate_per_s"] for block in one["blocks"] if block["valid"]]
        assert one["max_valid_rate_per_s"] == (max(valid) if valid else None)
    first, other = (one["blocks"][0] for one in found["trials"])
    assert (first["turn"], first["rate_per_s"]) == (other["turn"], other["rate_per_s"])
    assert found["samples"].startswith("random values")
    ratio, rates = found["max_rate_ratio"], [one["max_rate_per_s"]["value"] for one in found["trials"]]
    if ratio is not None:  # two pairs: the mean of their ratios is the ratio of their means
        assert ratio["value"] == pytest.approx(rates[1] / rates[0])
        assert (found["verdict"] == "found") == (ratio["low"] > 1)
    assert done.returncode == (0 if found["verdict"] == "found" else 1), done.stderr
    assert (tmp_path / "batching_parameters.txt").exists() == (found["verdict"] == "found")
    assert "modelmill's embedded server, which is written in Python" in done.stdout
    assert left(tmp_path) == []


@pytest.mark.long
def test_file_from_real_load_is_taken_by_the_server_the_image_and_the_recipe(model: Path, tmp_path: Path) -> None:
    done = modelmill(
        "batching", str(model), "--bound", "50", "--candidates", "4", "--pairs", "12", "--set",
        "serving.target=embedded", "--set", f"serving.flags=[{HANDLERS}]", cwd=tmp_path, timeout_s=1800,
    )  # fmt: skip
    # needs a machine with little other work: what batching buys this model is 1.3 to 2 times the rate
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "batching_parameters.json").read_text())
    assert found["verdict"] == "found"
    assert found["max_rate_ratio"]["low"] > 1
    (given,) = (one["parameters"] for one in found["trials"] if one["name"] == found["finalist"])
    file = tmp_path / "batching_parameters.txt"
    assert "wrote: batching_parameters.txt" in done.stdout
    assert f"found with the flags {HANDLERS}" in file.read_text().replace("\n#  ", "")
    read = parameters.read(file)
    assert {name: getattr(read, name) for name in given if name != "pad_variable_length_inputs"} == {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items() if name != "pad_variable_length_inputs"
    }  # fmt: skip
    # what `modelmill image --batching` checks and heeds
    assert most(file) == given["max_batch_size"]
    notes: list[Event] = []
    compare_flags(file, (), notes.append)
    assert f"found with {HANDLERS}, which this server lacks" in str(notes)
    # the recipe's key, with which nothing larger may be asked for
    smaller = [f"measure.{key}={most(file)}" for key in ("batch_size", "latency.batch_size")]
    taken = recipe.load(DEFAULT, [f"serving.batching={json.dumps(given)}", *smaller]).serving
    assert taken is not None
    assert taken.batching == BatchingConfig.model_validate(given)
    server = Running(
        tmp_path / "server", [f"--model_base_path={model}", "--model_name=wide", "--enable_batching=true",
                              f"--batching_parameters_file={file}", HANDLERS]
    )  # fmt: skip
    try:
        server.wait_until_ready()
        with Grpc(server.port) as client:
            asked = np.zeros((1, wide.WIDTH), np.float32)
            client.prediction.Predict(predict_request("wide", features=asked))
            larger = np.zeros((most(file) + 1, wide.WIDTH), np.float32)
            code, message = failure(client.prediction.Predict, predict_request("wide", features=larger))
        assert code == "INVALID_ARGUMENT"
        assert f"is larger than maximum input batch size {most(file)}" in message
    finally:
        server.process.kill()
        server.process.wait()


def test_log_with_the_servers_last_words_is_kept_when_the_search_fails(tmp_path: Path) -> None:
    broken = tmp_path / "model/1"
    broken.mkdir(parents=True)
    (broken / "saved_model.pb").write_bytes(b"no graph")
    done = modelmill("batching", "model", "--bound", "50", *BRIEFLY, cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert "the log is batching_parameters.log" in done.stderr
    assert "saved_model.pb" in (tmp_path / "batching_parameters.log").read_text()


def test_bound_that_a_single_request_misses_writes_nothing_and_says_what_would_help(
    model: Path, tmp_path: Path
) -> None:
    (tmp_path / "batching_parameters.txt").write_text("of an earlier search")
    arguments = ("batching", str(model), "--rate", "20", "--bound", "0.1", *BRIEFLY)
    done = modelmill(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "batching_parameters.txt is there already" in done.stderr
    assert "choose another --out, or --force" in done.stderr
    done = modelmill(*arguments, "--force", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "nothing meets p99 <= 0.1 ms at any rate that was tried" in done.stdout
    assert "what would help: a bound above" in done.stdout
    assert not (tmp_path / "batching_parameters.txt").exists()
    assert json.loads((tmp_path / "batching_parameters.json").read_text())["verdict"] == "missed"


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_no_server_is_left_behind_when_the_search_is_stopped(
    model: Path, tmp_path: Path, by: signal.Signals
) -> None:  # fmt: skip
    def loaded(event: dict[str, Any]) -> bool:
        return event["event"] == "progress" and event["done"] >= 2

    arguments = ("batching", str(model), "--bound", "50", *BRIEFLY)
    code, _, stderr = interrupted(arguments, tmp_path, when=loaded, by=by, TMPDIR=str(tmp_path))
    assert code == (130 if by == signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in stderr
    assert left(tmp_path) == []
    assert not list(tmp_path.glob("batching_parameters.*"))
