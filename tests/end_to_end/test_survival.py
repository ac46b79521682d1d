"""What a run survives: signals at any moment, damage to its checkpoints, a full disk, another run beside it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end import kills
from tests.end_to_end.command import FAST, ONLY_TRAIN, interrupted, modelmill, options, report, statuses

# one network that trains in no time
SMALL = ("model={architecture: mlp, dense: [32]}", "data.augment=null", "export.tflite=[int8]", "export.onnx=[]")
ARGUMENTS = ["run", "digits", *options([*ONLY_TRAIN, *FAST, *SMALL, "judge={}"])]

# every stage, with all that a checkpoint has to bring back: augmentation, dropout, momenta, schedules, rounds of
# removal, masks, ranges, what was best so far; and every format
NETWORK = "{architecture: cnn, filters: [8], dropout: 0.2, dense: [16]}"
BRIEF = ("epochs=3", "max_accuracy_loss=0.95", "on_regression=keep_best")
WHOLE = options([
    f"model={NETWORK}", f"distill.student={NETWORK}", *FAST, "train.epochs=3", "prune.layers={}",
    "shrink={macs: 0.7, steps: 2, importance: taylor, teach: {}}",
    *(f"{stage}.{key}" for stage in ("distill", "shrink", "prune", "quantize") for key in BRIEF),
    "quantize.freeze_ranges_epochs=2", "distill.early_stopping={patience: 5}", "export.stages=null",
    "export.saved_model=[float32]", "export.tflite=[int8]", "export.onnx=[float32]", "measure.latency.percentile=0.9",
    "judge={}",
])  # fmt: skip


@pytest.mark.long
def test_run_killed_three_times_ends_with_the_same_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    # a seed whose moments lie after a quarter, a half and three quarters of the run
    code = kills.main(["--kills", "3", "--seed", "130", *WHOLE])
    said = capsys.readouterr().out
    assert code == 0, said
    assert said.endswith("3 kills: the same bytes as without any\n")
    assert said.count(" -> -9") == 3, said
    (equal,) = [line for line in said.splitlines() if line.startswith("equal files: ")]
    for kind in (".keras", ".npz", ".pb", ".data (variables)", ".index", ".tflite", ".onnx"):
        assert f" {kind}" in equal


def test_comparison_names_files_that_differ_and_those_that_only_one_run_has() -> None:
    whole = {"train/model.keras": "a", "export/1/variables/variables.data-00000-of-00001": "b", "export/x.onnx": "c"}
    compared = kills.compare(whole, whole | {"train/model.keras": "z", "export/y.tflite": "d"})
    assert compared.equal == {".data (variables)": 1, ".onnx": 1}
    assert compared.different == ("export/y.tflite", "train/model.keras")


@pytest.mark.parametrize(
    ("code", "stderr", "left", "by", "words"),
    [
        (-9, "", (), signal.SIGKILL, []),
        (0, "", (), signal.SIGKILL, []),
        (130, "stopped in train", (), signal.SIGTERM, []),
        (4, "error: it broke", (), signal.SIGKILL, ["exit code 4: error: it broke"]),
        (-15, "", (), signal.SIGTERM, ["exit code -15: "]),
        (130, "Traceback (most recent call last)", (), signal.SIGINT, ["a traceback: Traceback (most recent"]),
        (-9, "", ("python server",), signal.SIGKILL, ["left behind: python server"]),
    ],
)
def test_kill_is_told_as_a_problem_unless_it_is_as_it_should_be(
    code: int, stderr: str, left: tuple[str, ...], by: signal.Signals, words: list[str]
) -> None:
    found = kills.problems(kills.Kill(kills.Moment((), 0), code, (), left, stderr), by)
    assert len(found) == len(words)
    assert all(problem.startswith(word) for problem, word in zip(found, words, strict=True))


@pytest.fixture(scope="module")
def interrupted_line(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """One line, stopped once in each stage, each call going on from where the last one stopped."""
    cwd = tmp_path_factory.mktemp("interrupted")
    stops = []
    moments = (("train", 2, signal.SIGTERM), ("export", 1, signal.SIGINT), ("measure", 2, signal.SIGTERM))
    arguments = [*ARGUMENTS, "--set", "train.epochs=6"]
    for stage, done, by in moments:

        def reached(event: dict[str, Any], stage: str = stage, done: int = done) -> bool:
            return event["event"] == "progress" and event["stage"] == stage and event["done"] >= done

        stops.append((stage, *interrupted(arguments, cwd, when=reached, by=by), report(cwd)))
        if stage == "train":
            newest = max(cwd.glob("runs/.store/train-*.partial/work/checkpoints/epoch-*.npz"))
            newest.write_bytes(newest.read_bytes()[:-1])
    return cwd, stops


def test_signal_in_each_stage_is_one_message_and_exit_130(interrupted_line: tuple[Path, list[Any]]) -> None:
    for stage, code, events, stderr, left in interrupted_line[1]:
        assert code == 130, stderr
        assert f"stopped in {stage}" in stderr
        assert "run the same command again: it goes on from there" in stderr
        assert "Traceback" not in stderr
        assert events[-1]["event"] == "error"
        assert left["verdict"] == "error"
        assert left["failure"]["stage"] == stage


def test_next_call_goes_on_and_a_damaged_checkpoint_falls_back_to_the_one_before(
    interrupted_line: tuple[Path, list[Any]],
) -> None:
    cwd, stops = interrupted_line
    first = {(event["stage"], event["event"]): event for event in reversed(stops[1][2]) if "stage" in event}
    assert "goes on from unfinished work" in first["train", "stage_started"]["reason"]
    told = [event["text"] for event in stops[1][2] if event["event"] == "note" and "checkpoint" in event["text"]]
    after = int(told[0].split()[4])
    assert told == [
        f"the checkpoint after epoch {after} cannot be used (epoch-{after:06d}.npz was changed or cut off): "
        f"falling back to the one after epoch {after - 1}",
        f"goes on after epoch {after - 1} of 6, from its checkpoint",
    ]
    second = [event["event"] for event in stops[2][2] if event.get("stage") in ("train", "export")]
    assert second[0] == "stage_reused"
    done = modelmill(*ARGUMENTS, "--set", "train.epochs=6", cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert statuses(cwd) == ["reused", "reused", "run"]


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM], ids=lambda by: by.name)
@pytest.mark.parametrize("after_s", [0, 0.1, 0.3])
def test_signal_while_the_command_is_still_being_loaded_is_one_message_and_exit_130(
    by: signal.Signals, after_s: float, tmp_path: Path
) -> None:
    with kills.begin([*ARGUMENTS], tmp_path / "stderr", tmp_path) as process:
        status = Path(f"/proc/{process.pid}/status")
        while not int(status.read_text().partition("SigCgt:")[2].split()[0], 16) & 1 << (signal.SIGTERM - 1):
            time.sleep(0.001)
        time.sleep(after_s)
        process.send_signal(by)
    assert process.returncode == 130
    said = (tmp_path / "stderr").read_text()
    assert said.startswith("stopped") or "\nstopped in " in said
    assert "run the same command again" in said
    assert "Traceback" not in said


def test_two_runs_at_once_make_each_result_once_and_both_end_well(tmp_path: Path) -> None:
    command = [*ARGUMENTS, "--store", "store", "--json"]
    one = kills.begin([*command, "--out", "one"], tmp_path / "one.err", tmp_path)
    two = kills.begin([*command, "--out", "two"], tmp_path / "two.err", tmp_path)
    for process in (one, two):
        process.communicate(timeout=300)
    assert (one.returncode, two.returncode) == (0, 0)
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("one", "two")]
    for stages in zip(*([s for s in found["stages"] if s["status"] != "skipped"] for found in reports), strict=True):
        assert sorted(stage["status"] for stage in stages) == ["reused", "run"], stages[0]["name"]
    assert reports[0]["artifacts"] == reports[1]["artifacts"]


def test_run_that_waits_takes_over_when_the_other_is_killed(tmp_path: Path) -> None:
    train = ["train", "digits", *options([*ONLY_TRAIN, *FAST, "train.epochs=20"]), "--store", "store", "--json"]
    with kills.begin([*train, "--out", "one"], tmp_path / "one.err", tmp_path) as one:
        for event in kills.events(one):
            if event["event"] == "progress" and event["done"] >= 2:
                break
        with kills.begin([*train, "--out", "two"], tmp_path / "two.err", tmp_path) as two:
            told = kills.events(two)
            assert "waits: another run is making" in next(told)["text"]
            one.kill()
            events = list(told)
    assert two.returncode == 0
    started = next(event for event in events if event["event"] == "stage_started")
    assert "goes on from unfinished work" in started["reason"]
    assert events[-1]["verdict"] == "incomplete"


# a disk of its own that grows until the run fits; what a call could not write, the next one goes on with
GROWING_DISK = """
size=$STEP_KB
mount -t tmpfs -o size=${size}k tmpfs runs || exit 90
while :; do
  "$@" --quiet 2>error
  code=$?
  echo "$size $code $(tr '\\n' ' ' <error)"
  if [ $code -ne 4 ]; then break; fi
  size=$((size + STEP_KB))
  mount -o remount,size=${size}k tmpfs runs || exit 91
done
cp -r runs kept
exit $code
"""


def in_own_mounts(script: str, arguments: list[str], cwd: Path, **environment: str) -> Any:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("no right to mount a small disk")
    (cwd / "runs").mkdir()
    prefix = ["unshare", "-rm", "sh", "-c", script, "sh"]
    return modelmill(*arguments, cwd=cwd, prefix=prefix, timeout_s=3000, **environment)


@pytest.mark.parametrize(
    ("arguments", "step_kb"),
    [(ARGUMENTS, 72), pytest.param(["run", "digits", *WHOLE], 16, marks=pytest.mark.long)],
    ids=["one model", "every stage"],
)
def test_full_disk_is_one_message_and_exit_4_wherever_it_is_met_and_the_next_call_goes_on(
    arguments: list[str], step_kb: int, tmp_path: Path
) -> None:
    done = in_own_mounts(GROWING_DISK, arguments, tmp_path, STEP_KB=str(step_kb))
    *full, last = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert last[1] == "0", done.stdout
    assert len(full) >= 4, done.stdout
    for _, code, said in full:
        assert code == "4"
        assert said.startswith("error: "), said
        assert "No space left on device" in said
        assert "free some space, then run the same command again: it goes on" in said
        assert "Traceback" not in said
    found = json.loads((tmp_path / "kept/digits/report.json").read_text())
    assert "reused" in [stage["status"] for stage in found["stages"]]


def test_read_only_disk_is_one_message_and_exit_4(tmp_path: Path) -> None:
    done = in_own_mounts('mount -t tmpfs -o ro,size=1m tmpfs runs && exec "$@"', ARGUMENTS, tmp_path)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "Read-only file system" in done.stderr
    assert "choose another folder with --out and --store" in done.stderr
    assert "Traceback" not in done.stderr
