"""Two workers of the real command on loopback: what one process makes, and what is left when one of them is killed."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.end_to_end import kills
from tests.end_to_end.command import modelmill, options
from tests.pipeline.compute.ports import free

FITS = ("train", "prune", "quantize")
# the batch sizes divide neither the split nor by two: parts of different sizes, as they come; train's is so small that
# an epoch is several executions, each as long as the clock of a worker says
BATCH_SIZES = {"train": 11, "prune": 125, "quantize": 125}
RECIPE = options([
    "model={architecture: mlp, dense: [16], dropout: 0.0}", "data.augment=null", "distill=null",
    "shrink=null", "measure=null", "judge=null", "prune.layers={}", "quantize.freeze_ranges_epochs=1",
    "export={stages: [train], tflite: [], onnx: []}",
    "train.epochs=3", *(f"{stage}.batch_size={size}" for stage, size in BATCH_SIZES.items()),
    *(f"{stage}.{key}" for stage in FITS[1:]
      for key in ("epochs=2", "max_accuracy_loss=0.95", "on_regression=continue")),
])  # fmt: skip


class Pair:
    """Two workers that were started in a folder, and what they told."""

    def __init__(self, cwd: Path, *more: str) -> None:
        cwd.mkdir(exist_ok=True)
        self.cwd, self.addresses = cwd, ",".join(free(2))
        self.processes = [
            kills.begin(
                ["run", "digits", *RECIPE, "--out", "run", "--store", "store", "--workers", self.addresses,
                 "--worker", str(index), "--wait", "120", "--json", *more], cwd / f"errors-{index}", cwd,
            )
            for index in range(2)
        ]  # fmt: skip

    def end(self) -> list[tuple[int, list[dict[str, Any]], str]]:
        """Return (exit code, events, stderr) of both."""
        told = [list(kills.events(process)) for process in self.processes]
        codes = [process.wait(60) for process in self.processes]
        return [(code, told[at], self.errors(at)) for at, code in enumerate(codes)]

    def errors(self, index: int) -> str:
        return (self.cwd / f"errors-{index}").read_text(encoding="utf-8")


def curves(run: Path) -> dict[str, dict[str, list[float]]]:
    """Return what each stage's fit showed, an epoch a value."""
    return {
        name: json.loads((run / "stages" / name / "models.json").read_text(encoding="utf-8"))[0]["training"]
        for name in FITS
    }


def model(run: Path, stage: str) -> bytes:
    return (run / "stages" / stage / "model.keras").read_bytes()


def models(run: Path) -> dict[str, bytes]:
    return {name: model(run, name) for name in FITS}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cwd = tmp_path_factory.mktemp("alone")
    done = modelmill("run", "digits", *RECIPE, "--out", "run", "--until", "quantize", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd / "run"


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cwd = tmp_path_factory.mktemp("together")
    for index, (code, events, errors) in enumerate(Pair(cwd).end()):
        assert code == 0, errors
        notes = [event["text"] for event in events if event["event"] == "note"]
        assert any(f"this is worker {index} (127.0.0.1:" in text for text in notes), notes
        assert any("on each of 2 workers, multi_worker" in text for text in notes), notes
        made = [event["stage"] for event in events if event["event"] == "stage_finished"]
        assert made == [*FITS, *(["export"] if index == 0 else [])]
    return cwd


def test_two_workers_learn_what_one_process_learns(alone: Path, together: Path) -> None:
    single, double = curves(alone), curves(together / "run")
    for name in FITS:
        assert single[name].keys() == double[name].keys()
        for key, values in single[name].items():
            # equal sums, in another order; rounding to 8 bits makes a step of what lies on the edge between two
            near = 1e-4 if name == "quantize" else 1e-5
            assert np.allclose(double[name][key], values, rtol=near, atol=near), (name, key)


def test_workers_have_equal_models_and_worker_0_alone_exports(together: Path) -> None:
    assert models(together / "run") == models(together / "run-worker-1")
    made = {path.name for path in (together / "run" / "artifacts").iterdir()}
    assert made == {"labels.txt", "train.saved_model.float32"}
    assert not (together / "run-worker-1" / "artifacts").exists()
    assert (together / "store" / "worker-1").is_dir()


def test_survivor_of_a_killed_worker_says_so_and_both_go_on_from_the_checkpoint(together: Path, tmp_path: Path) -> None:
    pair = Pair(tmp_path, "--until", "train")
    for event in kills.events(pair.processes[1]):
        if event["event"] == "progress" and event["unit"] == "epoch" and event["done"] == 2:
            break
    pair.processes[1].send_signal(signal.SIGKILL)
    (code, events, errors), (killed, _, _) = pair.end()
    assert killed == -signal.SIGKILL
    assert code == 4, errors
    assert errors.startswith(f"error: worker 1 ({pair.addresses.split(',')[1]}) is lost, and the others cannot go on")
    assert "run the same command on every worker again" in errors
    assert "Traceback" not in errors
    assert events[-1] == {"event": "error", "message": errors.removeprefix("error: ").strip(), "exit_code": 4}
    failed = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert failed["failure"]["exit_code"] == 4

    for code, events, errors in Pair(tmp_path, "--until", "train").end():
        assert code == 0, errors
        notes = [event["text"] for event in events if event["event"] == "note" and event["stage"] == "train"]
        assert any(text.startswith("goes on after epoch 2 of 3") for text in notes), notes
    for name in ("run", "run-worker-1"):
        assert model(tmp_path / name, "train") == model(together / "run", "train")


def test_worker_0_that_is_started_again_alone_reuses_what_was_trained_and_trains_nothing(together: Path) -> None:
    alone = ["--workers", ",".join(free(2)), "--worker", "0", "--wait", "0.5"]
    arguments = ["run", "digits", *RECIPE, "--out", "run", "--store", "store", *alone]
    done = modelmill(*arguments, cwd=together)
    assert done.returncode == 0, done.stderr
    assert "all that the workers make together is stored: worker 0 goes on alone" in done.stderr
    done = modelmill(*arguments, "--set", "seed=1", cwd=together)
    assert done.returncode == 3
    assert "did not come within 0.5 s" in done.stderr


@pytest.mark.long
def test_workers_reuse_what_both_have_without_tensorflow_and_make_again_what_one_lacks(together: Path) -> None:
    for _, events, _ in Pair(together).end():
        assert [event["stage"] for event in events if event["event"] == "stage_reused"][:3] == list(FITS)
    before = models(together / "run")
    for path in (together / "store" / "worker-1").glob("quantize-*"):
        subprocess.run(["rm", "-rf", path], check=True)
    (code, events, errors), (_, others, _) = Pair(together).end()
    assert code == 0, errors
    started = {event["stage"]: event["reason"] for event in events if event["event"] == "stage_started"}
    assert started["quantize"] == "another worker lacks it"
    assert [event["stage"] for event in others if event["event"] == "stage_started"] == ["quantize"]
    assert models(together / "run") == before


@pytest.mark.long
def test_workers_with_different_recipes_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    addresses = ",".join(free(2))
    processes = [
        kills.begin(
            ["run", "digits", *RECIPE, "--set", f"seed={index}", "--out", "run", "--workers", addresses,
             "--worker", str(index)], tmp_path / f"errors-{index}", tmp_path,
        )
        for index in range(2)
    ]  # fmt: skip
    assert [process.wait(120) for process in processes] == [4, 4]
    for index in range(2):
        errors = (tmp_path / f"errors-{index}").read_text(encoding="utf-8")
        assert "the workers do not work on the same: settings of the recipe (train) differ" in errors


def test_worker_whose_others_never_come_ends_with_their_addresses(tmp_path: Path) -> None:
    first, second = free(2)
    workers = ["--workers", f"{first},{second}", "--worker", "1", "--wait", "0.5"]
    done = modelmill("run", "digits", *workers, cwd=tmp_path)
    assert done.returncode == 3
    assert f"worker 0 ({first}) did not come within 0.5 s" in done.stderr


def test_workers_that_options_name_wrongly_are_one_message_and_exit_2(tmp_path: Path) -> None:
    done = modelmill("run", "digits", "--workers", "a:1,a:1", "--worker", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --workers names a:1 twice\n")
    done = modelmill("run", "digits", "--set", "strategy=multi_worker", cwd=tmp_path)
    assert done.returncode == 3
    assert "the recipe asks for several workers (strategy: multi_worker), and nothing names them" in done.stderr
    assert not (tmp_path / "runs").exists()
