"""`modelmill tune` on digits: stopped, killed and gone on with; trials share what is stored."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command import MODELMILL, NO_ENGINE, interrupted, modelmill, options

QUICK = options(
    ["model.dense=[16]", "train.epochs=3", "train.schedule.warmup_epochs=0", "prune.epochs=2",
     "prune.on_regression=continue", "quantize=null", "data.augment=null", "export=null", "measure=null", "judge=null",
     "tune.sampler=random",
     "tune.space={prune.final_sparsity: [0.4, 0.6, 0.8], prune.teach.soft_weight: [0.5, 0.9]}"]
)  # fmt: skip
OUT = "runs/digits-mlp-tune"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def nth(count: int, **wanted: str) -> Callable[[dict[str, Any]], bool]:
    """Return what is true of the n-th event that has these values."""
    left = [count]

    def seen(event: dict[str, Any]) -> bool:
        left[0] -= wanted.items() <= event.items()
        return left[0] == 0

    return seen


def test_ten_trials_are_made_though_stopped_and_killed_and_train_once(tmp_path: Path) -> None:
    command = ("tune", "digits-mlp", "--trials", "10", *QUICK)
    code, events, told = interrupted(command, tmp_path, when=nth(2, event="stage_started", stage="prune"))
    assert code == 130, told
    assert "run the same command again" in told
    assert (tmp_path / OUT / "best.yaml").exists()
    code, events, _ = interrupted(
        command, tmp_path, when=nth(2, event="stage_started", stage="prune"), by=signal.SIGKILL
    )  # fmt: skip
    assert code == -signal.SIGKILL
    assert not [event for event in events if event["event"] == "stage_started" and event["stage"] == "train"]

    done = modelmill(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "was interrupted: run again with the same values" in done.stderr
    assert "10 complete, 2 interrupted of 10 trials" in done.stdout
    found = read(tmp_path / OUT / "tune.json")
    again = [trial for trial in found["trials"] if trial["state"] == "interrupted"]
    for trial in again:  # right after it, as its values are not drawn again
        assert found["trials"][trial["number"] + 1]["params"] == trial["params"]
    made = [trial["stages"] for trial in found["trials"] if trial["state"] == "complete"]
    assert [stages["train"]["status"] for stages in made] == ["run"] + ["reused"] * 9
    # two keys have six combinations: nothing is trained twice for the same
    combinations = {json.dumps(trial["params"]) for trial in found["trials"]}
    assert sum(stages["prune"]["status"] == "run" for stages in made) == len(combinations) <= 6
    log = (tmp_path / OUT / "log.txt").read_text(encoding="utf-8")
    assert log.count("train reused, prune run") == len(combinations) - 1
    assert log.count("train reused, prune reused") == 10 - len(combinations)

    best = modelmill("run", f"{OUT}/best.yaml", "--json", cwd=tmp_path)
    assert best.returncode == 0, best.stderr
    stages = [json.loads(line) for line in best.stdout.splitlines() if '"stage_' in line]
    assert [(event["event"], event["stage"]) for event in stages] == [
        ("stage_reused", "train"), ("stage_reused", "prune")
    ]  # fmt: skip
    quality = read(tmp_path / "runs/digits-mlp-best/report.json")["stages"]
    assert next(stage["metrics"]["val_accuracy"] for stage in quality if stage["name"] == "prune") == max(
        trial["values"]["quality"] for trial in found["trials"] if trial["values"]
    )


@pytest.mark.long
def test_two_commands_share_a_study_a_folder_and_a_store(tmp_path: Path) -> None:
    command = [
        MODELMILL,
        "tune",
        "digits-mlp",
        "--trials",
        "8",
        *QUICK,
        "--storage",
        "sqlite:///x.db",
        "--study",
        "ours",
    ]
    both = [
        subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | NO_ENGINE
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=400) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    found = read(tmp_path / OUT / "tune.json")
    assert {trial["state"] for trial in found["trials"]} == {"complete"}
    assert len(found["trials"]) in (8, 9)  # each looks before it asks: at the very end both may
    assert sum(trial["stages"]["train"]["status"] == "run" for trial in found["trials"]) == 1
    assert all("complete" in out for out, _ in told)


@pytest.mark.long
def test_size_and_quality_are_traded_and_every_pareto_recipe_runs(tmp_path: Path) -> None:
    found = options(
        ["model.dense=[16]", "train.epochs=3", "train.schedule.warmup_epochs=0", "prune.epochs=2",
         "prune.on_regression=continue", "quantize=null", "data.augment=null", "judge=null", "measure=null",
         "tune={objectives: [quality, size], sampler: grid, space: {prune.final_sparsity: [0.2, 0.9]}}"]
    )  # fmt: skip
    done = modelmill("tune", "digits-mlp", "--trials", "9", *found, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    result = read(tmp_path / OUT / "tune.json")
    values = {trial["params"]["prune.final_sparsity"]: trial["values"] for trial in result["trials"]}
    assert set(values) == {0.2, 0.9}  # the grid has two points, whatever --trials says
    assert values[0.9]["size"] < values[0.2]["size"]
    for number in result["pareto"]:
        again = modelmill("run", f"{OUT}/pareto/{number}.yaml", "--until", "prune", cwd=tmp_path)
        assert again.returncode == 0, again.stderr
        assert "runs, " not in again.stderr
