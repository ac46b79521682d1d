"""The search with a real study: enough trials, failures, interruptions, several processes, pruning."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from pipeline.errors import DiskError, InputError, PromiseError, StoppedError
from pipeline.recipe import Recipe
from pipeline.tune import search, trial
from tests.pipeline.tune.searching import RATE, Go, begin, go_on, rate, report, worth


def test_search_ends_with_as_many_trials_as_wanted_and_knows_the_best(tmp_path: Path) -> None:
    found, go = begin(tmp_path), Go()
    assert go_on(found, 4, tmp_path, go) == [0, 1, 2, 3]
    assert go.folders == [f"trial-{number}" for number in range(4)]
    (best,) = found.best()
    assert best.values == [max(worth(one) for one in go.recipes)]
    assert go_on(found, 4, tmp_path, go) == []
    assert go_on(begin(tmp_path), 5, tmp_path, go) == [4]  # a larger number adds trials


def test_values_depend_on_seed_and_number_and_not_on_where_the_search_was_interrupted(tmp_path: Path) -> None:
    whole, parts, few = Go(), Go(), "tune.startup_trials=2"
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    go_on(begin(tmp_path / "whole", few), 5, tmp_path / "whole", whole)
    for wanted in (1, 4, 5):
        go_on(begin(tmp_path / "parts", few), wanted, tmp_path / "parts", parts)
    assert [rate(one) for one in whole.recipes] == [rate(one) for one in parts.recipes]
    assert len({rate(one) for one in whole.recipes}) == 5


def test_failed_trial_is_kept_with_its_reason_and_the_search_goes_on(tmp_path: Path) -> None:
    found, go = begin(tmp_path), Go()

    def fail(_: Recipe) -> None:
        if len(go.recipes) == 2:
            raise PromiseError("quantize lost too much", todo="train longer")

    go.during = fail
    assert go_on(found, 3, tmp_path, go) == [0, 1, 2]
    failed = found.trials()[1]
    assert failed.state == TrialState.FAIL
    assert failed.user_attrs[trial.REASON] == "quantize lost too much\n  what to do: train longer"
    stages = failed.user_attrs[trial.ENDED]["stages"]
    assert stages["train"] == {"status": "reused", "seconds": 0.0}
    assert stages["quantize"]["status"] == "unfinished"
    assert found.best()[0].number in (0, 2)


@pytest.mark.parametrize("error", [StoppedError("stopped in quantize"), DiskError("cannot write x")])
def test_what_is_not_the_trials_fault_ends_the_search_and_the_trial_is_run_again(
    tmp_path: Path, error: Exception
) -> None:
    found, go = begin(tmp_path), Go()

    def stop(_: Recipe) -> None:
        if len(go.recipes) == 2:
            raise error

    go.during = stop
    with pytest.raises(type(error)):
        go_on(found, 3, tmp_path, go)
    assert search.interrupted(found.trials()[1])
    assert go_on(begin(tmp_path), 3, tmp_path, go) == [2, 3]
    assert [rate(go.recipes[1]), go.folders[1:3]] == [rate(go.recipes[2]), ["trial-1", "trial-2"]]
    assert len(found.finished()) == 3


def test_trial_of_a_killed_process_is_run_again_with_the_same_values(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.pipeline.tune.searching", str(tmp_path), "9", "100", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        found = begin(tmp_path)
        deadline = time.monotonic() + 60
        while not any(RATE in one.params for one in found.running() if one.number) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    go, taken = Go(), []
    (running,) = found.running()
    before = len(found.finished())
    go_on(found, before + 1, tmp_path, go, taken)
    assert taken == [running.number]
    assert rate(go.recipes[0]) == running.params[RATE]
    assert search.interrupted(found.trials()[running.number])
    assert len(found.finished()) == before + 1


def test_trial_of_a_living_process_or_another_machine_is_left_alone(tmp_path: Path) -> None:
    found = begin(tmp_path)
    for known in (trial.process(), trial.process() | {"host": "elsewhere", "pid": 1}):
        assert not trial.is_gone(known)
        found.study.ask().set_user_attr(trial.PROCESS, known)
    assert trial.is_gone(trial.process() | {"started": 0.0})  # the number belongs to another process by now
    assert search.take_up(found) == []
    assert go_on(found, 3, tmp_path, Go()) == [2]  # and they count


def test_two_processes_share_one_study(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.pipeline.tune.searching", str(tmp_path), "8", "0.2", "2"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    found = begin(tmp_path)
    numbers = sorted(ended[0] + ended[1])
    assert numbers == [one.number for one in found.finished()]
    # each looks before it asks: at the very end both may
    assert len(numbers) in (8, 9)
    assert all(ended)
    assert len({one.params[RATE] for one in found.trials()}) == len(numbers)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train.epochs=7", "train.epochs: the study has 60, this call 7"),
        ("data.split_seed=7", "data.split_seed: the study has 0, this call 7"),
        ("tune.space={prune.final_sparsity: [0.5]}", "tune.space.prune.final_sparsity: the study has"),
        ("tune.objectives=[quality, size]", "objectives.size: the study has nothing, this call minimize"),
    ],
)
def test_study_of_another_search_is_refused_with_what_differs(tmp_path: Path, override: str, line: str) -> None:
    begin(tmp_path)
    with pytest.raises(InputError) as caught:
        begin(tmp_path, override)
    assert line in str(caught.value)
    assert "choose another --out or --study" in str(caught.value)


def test_study_that_differs_in_name_limits_or_how_it_searches_goes_on(tmp_path: Path) -> None:
    begin(tmp_path)
    begin(tmp_path, "name=other", "judge=null", "tune.sampler=random", "tune.trials=99")


def test_study_goes_on_where_only_what_decides_no_result_differs(tmp_path: Path) -> None:
    begin(tmp_path)
    begin(
        tmp_path, "data.prefetch=2", "data.memory_mb=300", "performance.budget_s=3", "serving.request_deadline_s=9",
        "prune.on_regression=continue",
    )  # fmt: skip
    with pytest.raises(InputError, match=r"performance\.xla: the study has auto, this call off"):
        begin(tmp_path, "performance.xla=off")


def test_study_knows_the_code_that_builds_the_model_by_its_content(tmp_path: Path) -> None:
    for name in ("mine", "moved"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "net.py").write_text("def build(shape, classes): ...\n")
    begin(tmp_path, f"model.builder={tmp_path}/mine/net.py:build")
    begin(tmp_path, f"model.builder={tmp_path}/moved/net.py:build")
    (tmp_path / "moved" / "net.py").write_text("def build(shape, classes): return None\n")
    with pytest.raises(InputError, match=r"train: the builder's net\.py: the study has [0-9a-f]+"):
        begin(tmp_path, f"model.builder={tmp_path}/moved/net.py:build")


def test_study_knows_the_code_of_its_choices_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("def build(shape, classes): ...\n")
    whole = f"tune.space={{model: [{{architecture: mlp}}, {{builder: '{tmp_path}/net.py:build'}}]}}"
    begin(tmp_path, whole)
    (tmp_path / "net.py").write_text("def build(shape, classes): return None\n")
    with pytest.raises(InputError, match=r"the builder's net\.py \(model="):
        begin(tmp_path, whole)


def test_study_of_somebody_else_is_refused(tmp_path: Path) -> None:
    import optuna

    study = optuna.create_study(
        study_name="digits-mlp", storage=f"sqlite:///{tmp_path / 'study.db'}", direction="maximize"
    )
    study.optimize(lambda one: one.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(InputError, match="was not made by modelmill"):
        begin(tmp_path)


def test_grid_is_tried_once_each_and_then_the_search_ends(tmp_path: Path) -> None:
    space = (
        "tune.space={quantize.teach.soft_weight: [0.5, 0.9], prune.final_sparsity: {low: 0.5, high: 0.7, step: 0.1}}"
    )
    found, go = begin(tmp_path, space, "tune.sampler=grid"), Go()
    assert found.points() == 6
    go_on(found, 4, tmp_path, go)
    go_on(begin(tmp_path, space, "tune.sampler=grid"), 100, tmp_path, go)
    tried = {(one.prune.final_sparsity, one.quantize.teach.soft_weight) for one in go.recipes}  # type: ignore[union-attr]
    assert len(go.recipes) == 6
    assert tried == {(sparsity, weight) for sparsity in (0.5, 0.6, 0.7) for weight in (0.5, 0.9)}


def test_interrupted_point_of_a_grid_is_tried_again(tmp_path: Path) -> None:
    options = ("tune.space={prune.final_sparsity: [0.5, 0.6]}", "tune.sampler=grid")
    found, go = begin(tmp_path, *options), Go()

    def stop(_: Recipe) -> None:
        if len(go.recipes) == 2:
            raise StoppedError("stopped")

    go.during = stop
    with pytest.raises(StoppedError):
        go_on(found, 9, tmp_path, go)
    assert go_on(begin(tmp_path, *options), 9, tmp_path, go) == [2]


def test_median_pruner_stops_a_trial_that_is_worse_at_the_same_epoch(tmp_path: Path) -> None:
    found = begin(
        tmp_path, "tune.pruner=median", "tune.startup_trials=1", "tune.warmup_epochs=2", "tune.sampler=random"
    )
    go = Go()
    go_on(found, 6, tmp_path, go)
    pruned = [one for one in found.trials() if one.state == TrialState.PRUNED]
    assert pruned
    assert all(one.last_step == 3 for one in pruned)  # not before the epochs of its warm-up are over
    assert pruned[0].user_attrs[trial.REASON] == "stopped early, after epoch 3 of quantize"
    assert found.best()[0].values == [max(worth(one) for one in go.recipes)]
    assert len(found.finished()) == 6


def test_hyperband_knows_the_epochs_of_the_stage_that_the_space_changes_last(tmp_path: Path) -> None:
    found, go = begin(tmp_path, "tune.pruner=hyperband", "quantize.epochs=4"), Go()
    go_on(found, 4, tmp_path, go)
    assert found.study.pruner._max_resource == 4  # type: ignore[attr-defined]
    assert found.best()[0].values == [max(worth(one) for one in go.recipes)]


def test_pareto_trials_are_those_that_no_other_is_better_than(tmp_path: Path) -> None:
    found = begin(tmp_path, "tune.objectives=[quality, size]")
    assert found.aim.directions() == ["maximize", "minimize"]
    for values in ([0.9, 500.0], [0.95, 700.0], [0.9, 600.0], [0.8, 400.0], [0.95, 700.0]):
        found.study.tell(found.study.ask(), values)
    assert [one.number for one in found.best()] == [1, 0, 3]  # of equal ones the first; the best quality in front


def test_choices_that_are_sections_come_back_as_they_are_written(tmp_path: Path) -> None:
    space = "tune.space={quantize.optimizer: [{name: adam}, {name: sgd}], prune: [null, {final_sparsity: 0.5}]}"
    found, tried = begin(tmp_path, space, "tune.sampler=grid"), []

    def go(one: Recipe, *_: object) -> object:
        tried.append((one.prune is not None, one.quantize.optimizer.name))  # type: ignore[union-attr]
        return report(one, 0.5)

    go_on(found, 4, tmp_path, go)
    assert sorted(tried) == [(False, "adam"), (False, "sgd"), (True, "adam"), (True, "sgd")]
    assert found.parameters(found.trials()[0])["prune"] in (None, {"final_sparsity": 0.5})
