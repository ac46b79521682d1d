"""What a user sees when something is wrong: one message, the right exit code, no traceback, nothing lost."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command import FAST, ONLY_TRAIN, interrupted, modelmill, options, report, statuses

# one network that trains in no time, with enough weights to fill a disk
SMALL = (
    "model={architecture: mlp, dense: [256]}",
    "data.augment=null",
    "export.tflite=[int8]",
    "export.onnx=[]",
    "judge={}",
)
ARGUMENTS = ["run", "digits", *options([*ONLY_TRAIN, *FAST, *SMALL])]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "nothing.yaml"], 2, "there is no recipe 'nothing.yaml'"),
        (["run", "--set", "train.epochs=many"], 2, "train.epochs: expected a valid integer"),
        (["run", "--set", "train.epochs=0"], 2, "train.epochs: expected"),
        (["run", "--set", "model.architecture=cmn"], 2, "did you mean cnn?"),
        (["run", "--set", "judge.gates.min_accuracy=1"], 2, "judge.gates.min_accuracy: unknown key"),
        (["run", "--from", "prun"], 2, "--from prun: no such stage"),
        (["run", "--until", "export", "--set", "export=null", "--set", "measure=null", "--set", "judge=null"], 2,
         "has no stage export"),
        (["run", "--json", "--quiet"], 2, "exclude each other"),
        (["run", "--nonsense"], 2, "No such option"),
        (["runn"], 2, "No such command"),
        (["show", "nowhere"], 2, "nowhere has no report.json"),
        (["init", "there.yaml"], 2, "there.yaml is there already"),
        (["run", "--out", "there.yaml"], 2, "cannot be a run's folder"),
        (["run", "--out", "/proc/modelmill"], 4, "cannot"),
    ],
)  # fmt: skip
def test_mistake_is_one_message_and_an_exit_code(arguments: list[str], code: int, words: str, tmp_path: Path) -> None:
    (tmp_path / "there.yaml").write_text("mine", encoding="utf-8")
    done = modelmill(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stdout + done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert (tmp_path / "there.yaml").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [(["digits", "--set", "train.epoch=1"], 2, "did you mean train.epochs?"), (["--out", "/proc/x"], 4, "cannot use")],
)
def test_mistake_is_an_event_too_when_json_is_asked_for(
    arguments: list[str], code: int, words: str, tmp_path: Path
) -> None:
    done = modelmill("run", "--json", *arguments, cwd=tmp_path)
    (event,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (event["event"], event["exit_code"], done.returncode) == ("error", code, code)
    assert words in event["message"]


def test_init_writes_a_recipe_that_is_accepted_under_its_own_name(tmp_path: Path) -> None:
    done = modelmill("init", "mine.yaml", cwd=tmp_path)
    assert done.stdout == "wrote mine.yaml; edit it, then: modelmill run mine.yaml\n"
    assert "\nname: mine\n" in (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    done = modelmill("run", "mine.yaml", "--set", "train.epoch=1", cwd=tmp_path)
    assert "the recipe mine.yaml has a problem" in done.stderr
    assert done.stderr.count("unknown key") == 1
    assert modelmill("init", "no/such/folder.yaml", cwd=tmp_path).returncode == 2


def test_diverged_training_stops_with_epoch_and_step_and_exit_4(tmp_path: Path) -> None:
    sets = options([*FAST, "train.optimizer={name: sgd, learning_rate: 1.0e+30}", "model.batch_norm=false"])
    done = modelmill("train", "digits", *sets, cwd=tmp_path)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "epoch 1, step" in done.stderr
    assert "Traceback" not in done.stderr
    assert report(tmp_path)["verdict"] == "error"
    assert report(tmp_path)["failure"]["stage"] == "train"


@pytest.fixture(scope="module")
def interrupted_line(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """One line, stopped by Ctrl-C once in each stage, each call going on from where the last one stopped."""
    cwd = tmp_path_factory.mktemp("interrupted")
    stops = []
    for stage, done in (("train", 1), ("export", 1), ("measure", 2)):

        def reached(event: dict[str, Any], stage: str = stage, done: int = done) -> bool:
            return event["event"] == "progress" and event["stage"] == stage and event["done"] >= done

        stops.append((stage, *interrupted(ARGUMENTS, cwd, when=reached), report(cwd)))
    return cwd, stops


def test_ctrl_c_in_each_stage_is_one_message_and_exit_130(interrupted_line: tuple[Path, list[Any]]) -> None:
    for stage, code, events, stderr, left in interrupted_line[1]:
        assert code == 130, stderr
        assert f"stopped in {stage}" in stderr
        assert "run the same command again: it goes on from there" in stderr
        assert "Traceback" not in stderr
        assert events[-1]["event"] == "error"
        assert left["verdict"] == "error"
        assert left["failure"]["stage"] == stage


def test_next_call_goes_on_after_ctrl_c(interrupted_line: tuple[Path, list[Any]]) -> None:
    cwd, stops = interrupted_line
    first = {(event["stage"], event["event"]): event for event in reversed(stops[1][2]) if "stage" in event}
    assert "goes on from unfinished work" in first["train", "stage_started"]["reason"]
    second = [event["event"] for event in stops[2][2] if event.get("stage") in ("train", "export")]
    assert second[0] == "stage_reused"
    done = modelmill(*ARGUMENTS, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert statuses(cwd) == ["reused", "reused", "run"]


def test_report_of_a_run_killed_with_9_is_not_there_and_the_next_call_goes_on(tmp_path: Path) -> None:
    import signal

    def exporting(event: dict[str, Any]) -> bool:
        return event["event"] == "progress" and event["stage"] == "export" and event["done"] == 1

    code, _, _ = interrupted(ARGUMENTS, tmp_path, when=exporting, by=signal.SIGKILL)
    assert code == -9
    assert not (tmp_path / "runs/digits/report.json").exists()
    done = modelmill(*ARGUMENTS, "--until", "export", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events if event.get("stage") == "train"] == ["stage_reused"]


# a disk of its own, full at the chosen moment; then room again, and the same command past that moment
FULL_DISK = """
mount -t tmpfs -o size=8m tmpfs runs || exit 90
if [ -n "$UNTIL" ]; then "$@" --until "$UNTIL" --quiet || exit 91; fi
free=$(df -k --output=avail runs | tail -n 1)
head -c $(((free - LEFT_KB) * 1024)) /dev/zero > runs/ballast || exit 92
"$@"
code=$?
rm runs/ballast
"$@" --until "${REACHED:-train}" --quiet || exit 93
exit $code
"""


def in_own_mounts(script: str, cwd: Path, **environment: str) -> Any:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("no right to mount a small disk")
    (cwd / "runs").mkdir()
    prefix = ["unshare", "-rm", "sh", "-c", script, "sh"]
    return modelmill(*ARGUMENTS, cwd=cwd, prefix=prefix, **environment)


@pytest.mark.parametrize(
    ("until", "left_kb", "reached"),
    [("", 0, ""), ("", 4, ""), ("", 64, "train"), ("train", 100, "export"), ("export", 24, "measure"),
     ("export", 64, "measure")],
    ids=["log", "recipe", "checkpoint", "exported file", "measurements", "report"],
)  # fmt: skip
def test_full_disk_is_one_message_and_exit_4_and_the_next_call_goes_on(
    until: str, left_kb: int, reached: str, tmp_path: Path
) -> None:
    done = in_own_mounts(FULL_DISK, tmp_path, UNTIL=until, LEFT_KB=str(left_kb), REACHED=reached)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "No space left on device" in done.stderr
    assert "free some space, then run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    started = [line.partition(":")[0] for line in done.stderr.splitlines() if ": runs, " in line]
    assert (started or [""])[-1] == reached


def test_read_only_disk_is_one_message_and_exit_4(tmp_path: Path) -> None:
    done = in_own_mounts('mount -t tmpfs -o ro,size=1m tmpfs runs && exec "$@"', tmp_path)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "Read-only file system" in done.stderr
    assert "choose another folder with --out and --store" in done.stderr
    assert "Traceback" not in done.stderr
