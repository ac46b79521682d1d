"""The command `modelmill tune`, with runs that do next to nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import cli
from pipeline import recipe as recipes
from pipeline import run as runs
from pipeline.artifact import Store
from pipeline.errors import InputError, ModelmillError, PromiseError, StoppedError
from pipeline.events import Emit
from pipeline.recipe import Recipe
from pipeline.report import tuning
from pipeline.run_folder import RunFolder
from tests.pipeline.tune.searching import SPACE, Go, report

OUT = Path("runs/digits-mlp-tune")


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    """Takes the place of runs, and knows those that were asked for."""
    found = Go()

    def run(one: Recipe, folder: RunFolder, _: Store, emit: Emit, *, until: str) -> Any:
        return found(one, folder, until, emit)

    monkeypatch.setattr(runs, "run", run)
    monkeypatch.chdir(tmp_path)
    return found


def modelmill(*arguments: str) -> None:
    cli.app(["tune", "digits-mlp", "--set", SPACE, *arguments], standalone_mode=False)


def test_result_is_written_shown_and_named(go: Go, capsys: pytest.CaptureFixture[str]) -> None:
    modelmill("--trials", "3")
    shown, told = capsys.readouterr()
    assert "digits-mlp: 3 complete of 3 trials" in shown
    assert "best:   runs/digits-mlp-tune/best.yaml" in shown
    assert "report: runs/digits-mlp-tune/tune.html" in shown
    assert "study digits-mlp in sqlite:///runs/digits-mlp-tune/study.db: 0 of 3 trials are there" in told
    assert "trial 2 (3 of 3): quantize.optimizer.learning_rate=" in told
    assert "train reused, quantize run (2.0 s)" in told
    log = (OUT / "log.txt").read_text("utf-8")
    assert log.count("train reused") == 3
    found = tuning.read(OUT)
    assert [one.state for one in found.trials] == ["complete"] * 3
    assert found.trials[0].folder == str(OUT / "trial-0")
    assert found.unimportant == "It takes 8 complete trials to tell; there are 3."
    assert go.folders == ["trial-0", "trial-1", "trial-2"]


def test_best_recipe_runs_by_itself_with_the_values_of_the_best_trial(go: Go) -> None:
    modelmill("--trials", "3", "--quiet")
    found, best = tuning.read(OUT), recipes.load(str(OUT / "best.yaml"))
    chosen = found.chosen()
    assert chosen is not None
    assert best.name == "digits-mlp-best"
    assert best.tune is None
    assert best.judge is not None  # the limits are there again
    assert best.quantize is not None
    assert best.quantize.optimizer.learning_rate == chosen.params["quantize.optimizer.learning_rate"]
    lean = best.model_copy(update={"judge": None, "name": "digits-mlp"})
    assert lean == go.recipes[chosen.number]
    assert "tune" in yaml.safe_load((OUT / "best.yaml").read_text("utf-8"))


def test_best_so_far_is_there_after_every_trial_and_after_an_interruption(go: Go) -> None:
    seen: list[bool] = []

    def stop(_: Recipe) -> None:
        seen.append((OUT / "best.yaml").exists() and (OUT / "tune.json").exists())
        if len(seen) == 3:
            raise StoppedError("stopped in quantize")

    go.during = stop
    with pytest.raises(StoppedError):
        modelmill("--trials", "3", "--quiet")
    assert seen == [False, True, True]
    assert [one.state for one in tuning.read(OUT).trials] == ["complete", "complete", "interrupted", "waiting"]
    modelmill("--trials", "3", "--quiet")
    assert [one.state for one in tuning.read(OUT).trials] == ["complete", "complete", "interrupted", "complete"]
    assert go.recipes[2] == go.recipes[3]


def test_events_are_json_lines(go: Go, capsys: pytest.CaptureFixture[str]) -> None:
    modelmill("--trials", "1", "--json", "--out", "here")
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["event"] for one in events if "stage" not in one] == ["study", "trial", "trial_finished", "finished"]
    assert events[0]["storage"] == "sqlite:///here/study.db"
    assert events[1]["folder"] == "here/trial-0"
    assert events[1]["params"]["prune.final_sparsity"] in (0.5, 0.6, 0.7)
    ended = next(one for one in events if one["event"] == "trial_finished")
    assert ended["stages"]["train"] == {"status": "reused", "seconds": 2.0}
    assert events[-1] == {"event": "finished", "exit_code": 0, "best": 0, "report": "here/tune.json"}
    assert len(go.recipes) == 1


@pytest.mark.usefixtures("go")
def test_quiet_command_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    modelmill("--trials", "1", "--quiet")
    assert capsys.readouterr() == ("", "")


def test_search_in_which_every_trial_fails_ends_with_the_reasons(go: Go) -> None:
    def fail(_: Recipe) -> None:
        raise PromiseError("quantize lost too much")

    go.during = fail
    with pytest.raises(ModelmillError) as caught:
        modelmill("--trials", "2", "--quiet")
    assert caught.value.exit_code == 4
    assert "no trial came to a result (2 failed)\n  trial 0, 1: quantize lost too much" in str(caught.value)
    assert not (OUT / "best.yaml").exists()
    assert tuning.read(OUT).trials[1].reason == "quantize lost too much"


@pytest.mark.usefixtures("go")
def test_pareto_trials_have_a_recipe_each(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.tune.objectives import Aim

    def run(one: Recipe, *_: object, until: str) -> Any:
        assert until == "export"
        return report(one, 0.5)

    seen: list[Recipe] = []

    def made(_: Aim, one: Recipe, __: object) -> list[float]:
        seen.append(one)
        return [[0.9, 500.0], [0.95, 700.0], [0.8, 900.0], [0.96, 400.0]][len(seen) - 1]

    monkeypatch.setattr(Aim, "values", made)
    monkeypatch.setattr(runs, "run", run)
    modelmill("--set", "tune.objectives=[quality, size]", "--trials", "3", "--quiet")
    found = tuning.read(OUT)
    assert (found.best, found.pareto) == (1, [1, 0])
    assert sorted(path.name for path in (OUT / "pareto").iterdir()) == ["0.yaml", "1.yaml"]
    assert recipes.load(str(OUT / "pareto/0.yaml")).name == "digits-mlp-trial-0"
    assert "of the Pareto trials the one that is best by quality" in found.rule
    modelmill("--set", "tune.objectives=[quality, size]", "--trials", "4", "--quiet")
    assert tuning.read(OUT).pareto == [3]
    assert [path.name for path in (OUT / "pareto").iterdir()] == ["3.yaml"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--trials", "0"], "--trials 0 is impossible"),
        (["--json", "--quiet"], "--json and --quiet exclude each other"),
        (["--set", "tune.space={train.epoch: [1]}"], "the search space of the recipe digits-mlp has a problem"),
        (["--set", "tune.objectives=[size]", "--set", "export=null", "--set", "judge=null"], "tune.objectives names"),
    ],
)
def test_wrong_arguments_are_refused_before_a_folder_is_made(go: Go, arguments: list[str], what: str) -> None:
    with pytest.raises(InputError) as caught:
        modelmill(*arguments)
    assert caught.value.what.startswith(what)
    assert go.recipes == []
    assert not Path("runs").exists()


def test_folder_of_a_run_or_of_somebody_else_is_not_taken(go: Go) -> None:
    for name in ("recipe.yaml", "thesis.tex"):
        folder = Path(name).with_suffix("")
        folder.mkdir()
        (folder / name).write_text("mine", encoding="utf-8")
        with pytest.raises(InputError, match=r"is not the folder of a search(.|\n)*choose another --out"):
            modelmill("--out", str(folder))
    assert go.recipes == []


@pytest.mark.usefixtures("go")
def test_folder_of_another_study_is_not_taken() -> None:
    modelmill("--trials", "1", "--quiet")
    with pytest.raises(InputError) as caught:
        modelmill("--trials", "1", "--study", "other")
    assert "found: digits-mlp in sqlite:///runs/digits-mlp-tune/study.db" in str(caught.value)
    assert tuning.read(OUT).study == "digits-mlp"


@pytest.mark.usefixtures("go")
def test_password_of_a_storage_is_written_nowhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELMILL_STORAGE", "postgresql+nosuch://me:s3cr3t@host/studies")
    with pytest.raises(ModelmillError) as caught:
        modelmill("--trials", "1")
    assert caught.value.exit_code == 3
    assert "s3cr3t" not in str(caught.value) + "".join(capsys.readouterr())
    assert not [path for path in OUT.rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()]
