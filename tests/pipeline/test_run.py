"""The walk over the stages, with the real store and folders and with stages that do next to nothing."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import run as runs
from pipeline.errors import (
    BusyError,
    DiskError,
    DivergedError,
    InputError,
    MissingError,
    PromiseError,
    RunError,
    StoppedError,
)
from pipeline.events import Emit, Note
from pipeline.report import document
from pipeline.report.forecast import Forecast
from pipeline.report.forecast import Line as Foreseen
from pipeline.report.model import Interval, Model, write_models
from pipeline.run_folder import RunFolder
from pipeline.stage import Job, Result, Surroundings
from tests.pipeline.line import Line


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    return Line(tmp_path, monkeypatch)


def test_surroundings_are_found_before_anything_runs_and_decide_the_result(line: Line) -> None:
    found: list[str] = []

    def surroundings(emit: Emit, *, seed: int) -> Surroundings:
        assert line.calls == []
        emit(Note("train", f"looks around with seed {seed}"))
        return Surroundings({"weather": found[-1]}, found[-1])

    runs.STAGES[0].surroundings = surroundings  # type: ignore[attr-defined]
    line.during = lambda job: Result({"sun": float(job.found == "sun")})
    for weather, sun in (("sun", 1.0), ("rain", 0.0)):
        found.append(weather)
        report = line.go()
        assert report.stages[0].metrics == {"sun": sun}
        assert Note("train", "looks around with seed 0") in line.events
    assert line.reasons()["train"] == "weather is rain and was sun"
    line.go()
    assert line.calls == []


def test_process_of_the_next_stage_starts_while_the_one_before_works(line: Line) -> None:
    seen: list[tuple[str, str]] = []

    class Process:
        def __enter__(self) -> Process:
            seen.append(("starts", line.calls[-1] if line.calls else "before all"))
            return self

        def __exit__(self, *_: object) -> None:
            seen.append(("ends", line.calls[-1]))

    _, exporting = runs.STAGES
    process = Process()
    exporting.ahead = lambda *, export: process  # type: ignore[attr-defined]  # noqa: ARG005
    got: list[object] = []
    line.before = lambda job: got.append(job.child)
    line.go()
    assert got == [None, process]
    assert seen == [("starts", "before all"), ("ends", "export")]
    line.go()
    assert len(seen) == 2, "nothing is started for stages that are reused"
    line.go(until="train", first="train")
    assert len(seen) == 2, "nothing is started for a stage that does not come"


def test_surroundings_that_lack_something_end_the_run_before_anything_is_made(line: Line) -> None:
    def surroundings(_emit: Emit) -> Surroundings:
        raise MissingError("there is no Docker")

    runs.STAGES[1].surroundings = surroundings  # type: ignore[attr-defined]
    with pytest.raises(MissingError):
        line.go()
    assert line.calls == []
    assert line.report()["verdict"] == "error"
    assert line.report()["failure"] == {"stage": "export", "message": "there is no Docker", "exit_code": 3}
    assert line.go(until="train").verdict == "incomplete"


def test_every_stage_runs_when_nothing_is_stored(line: Line) -> None:
    report = line.go()
    assert line.calls == ["train", "export"]
    assert line.reasons() == {"train": "nothing is stored for it yet", "export": "nothing is stored for it yet"}
    assert report.verdict == "incomplete"
    assert [stage["status"] for stage in line.report()["stages"]] == ["run", "run"]
    assert line.report()["store"] == str(line.store.root)


def test_stages_are_reused_when_nothing_changed(line: Line) -> None:
    line.go()
    line.go()
    assert line.calls == []
    assert all("same settings, inputs, data, code and versions" in reason for reason in line.reasons().values())
    assert [stage["status"] for stage in line.report()["stages"]] == ["reused", "reused"]


def test_changed_setting_runs_its_stage_and_those_after_it_and_is_named(line: Line) -> None:
    line.go("train.epochs=30")
    line.go("train.epochs=7")
    assert line.calls == ["train", "export"]
    assert line.reasons()["train"] == "train.epochs is 7 and was 30"
    assert line.reasons()["export"] == "its input train changed"


def test_setting_of_a_later_stage_leaves_the_earlier_one_alone(line: Line) -> None:
    line.go()
    line.go("export.onnx=[float32]")
    assert line.calls == ["export"]
    assert line.reasons()["export"] == "export.onnx is ['float32'] and was ['float32', 'int8']"


def test_setting_that_decides_no_result_runs_nothing_again(line: Line) -> None:
    line.go()
    line.go("export.deadline_s=5", "export.optional=[train.onnx.int8]", "data.prefetch=2")
    assert line.calls == []


def test_later_stage_is_reused_when_an_earlier_one_gave_the_same_files_again(line: Line) -> None:
    line.go()
    line.go(first="train", until="train")
    assert line.calls == ["train"]
    line.go()
    assert line.calls == []


def test_artifacts_of_an_earlier_recipe_are_gone_when_a_later_run_fails(line: Line) -> None:
    line.go()
    line.during = fails_with(ZeroDivisionError("a bug"))
    with pytest.raises(RunError):
        line.go("train.epochs=2")
    assert not (line.folder.path / "artifacts").exists()


def test_name_of_the_recipe_changes_nothing(line: Line) -> None:
    line.go()
    line.go("name=other", "description=something else")
    assert line.calls == []


def test_changed_code_runs_its_stages_and_is_named(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    line.go()
    monkeypatch.setattr(runs, "_code", lambda rooms: dict.fromkeys(rooms, "another hash"))
    line.go()
    assert line.calls == ["train", "export"]
    assert line.reasons()["train"] == "pipeline/errors.py changed"


def test_changed_version_of_what_decodes_the_data_runs_what_reads_it_and_is_named(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.go()
    monkeypatch.setattr(runs.data, "libraries", lambda _config: ("pillow",))
    monkeypatch.setattr(runs.machine, "versions", lambda names: dict.fromkeys(names, "9.9"))
    line.go()
    assert "train" in line.calls
    assert "pillow is 9.9 and was None" in line.reasons()["train"]


def test_two_runs_share_the_store(line: Line) -> None:
    line.go()
    line.folder = RunFolder(line.folder.path.with_name("second"))
    line.go()
    assert line.calls == []


def test_from_runs_that_stage_and_those_after_it(line: Line) -> None:
    line.go()
    line.go(first="export")
    assert line.calls == ["export"]
    assert line.reasons()["export"] == "asked for by --from"


def test_until_stops_after_that_stage(line: Line) -> None:
    report = line.go(until="train")
    assert line.calls == ["train"]
    assert [stage.status for stage in report.stages] == ["run", "skipped"]
    assert report.verdict == "incomplete"


def test_until_a_stage_that_the_recipe_lacks_is_refused(line: Line) -> None:
    with pytest.raises(InputError, match="has no stage export"):
        line.go("export=null", until="export")


def test_exported_files_are_hard_links_into_the_store(line: Line) -> None:
    line.go()
    published = line.folder.path / "artifacts" / "train.tflite.int8.tflite"
    assert published.stat().st_nlink == 2


def test_failure_of_the_moment_is_used_once_and_made_again(line: Line) -> None:
    line.during = lambda _: Result({}, ("a time-out",))
    line.go()
    line.during = lambda _: Result()
    line.go()
    assert line.calls == ["train", "export"]
    assert "it holds for that run alone (a time-out)" in line.reasons()["train"]
    assert "a time-out" in line.reasons()["export"]
    line.go()
    assert line.calls == []


def fails_with(error: BaseException) -> Callable[[Job], Result]:
    def during(job: Job) -> Result:
        (job.work / "checkpoint").write_text("epoch 3", encoding="utf-8")
        raise error

    return during


@pytest.mark.parametrize(
    ("raised", "expected", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "model.keras"), DiskError, 4, "cannot write model.keras"),
        (OSError(errno.EROFS, "Read-only file system", "x"), DiskError, 4, "Read-only file system"),
        (ValueError("Unable to write: No space left on device"), DiskError, 4, "free some space"),
        (DivergedError("the loss is nan at epoch 2, step 7"), DivergedError, 4, "epoch 2, step 7"),
        (KeyboardInterrupt(), StoppedError, 130, "stopped in train"),
        (MemoryError(), RunError, 4, "out of memory"),
        (ZeroDivisionError("a bug"), RunError, 4, "train failed: ZeroDivisionError: a bug"),
    ],
)
def test_error_is_one_message_in_the_report_and_the_next_call_goes_on(
    line: Line, raised: BaseException, expected: type[RunError], code: int, words: str
) -> None:
    line.during = fails_with(raised)
    with pytest.raises(expected) as caught:
        line.go()
    assert caught.value.exit_code == code
    assert words in str(caught.value)
    report = line.report()
    assert report["verdict"] == "error"
    assert report["failure"] == {"stage": "train", "message": str(caught.value), "exit_code": code}
    assert report["stages"] == [report["stages"][0]]
    assert report["stages"][0]["status"] == "failed"

    line.during = lambda job: Result({"found": float((job.work / "checkpoint").exists())})
    assert line.go().stages[0].metrics == {"found": 1.0}
    assert "goes on from unfinished work" in line.reasons()["train"]


def test_old_report_is_gone_when_a_new_run_has_started(line: Line) -> None:
    line.go()
    with line.folder.held():
        assert not line.folder.report.exists()
        assert not (line.folder.path / "report.html").exists()


def test_artifacts_stay_and_that_is_said_when_a_later_run_stops_before_it_makes_them(line: Line) -> None:
    line.go()
    (made,) = line.folder.artifacts.iterdir()
    line.go(until="train")
    assert list(line.folder.artifacts.iterdir()) == [made]
    text = f"{line.folder.artifacts} stays what an earlier run made: this one stops before export"
    assert Note("train", text, level="warning") in line.events
    line.during = fails_with(DivergedError("the loss is nan"))
    with pytest.raises(DivergedError):
        line.go("train.epochs=7")
    assert not line.folder.artifacts.exists()


def test_second_run_in_the_same_folder_is_refused(line: Line) -> None:
    with line.folder.held(), pytest.raises(BusyError) as caught, RunFolder(line.folder.path).held():
        pass
    assert "another run is using" in str(caught.value)
    assert "choose another --out" in str(caught.value)


def test_folder_with_other_files_is_refused_and_left_alone(line: Line) -> None:
    line.folder.path.mkdir(parents=True)
    (line.folder.path / "artifacts").mkdir()
    (line.folder.path / "artifacts" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="is not a run's folder"):
        line.go()
    assert (line.folder.path / "artifacts" / "thesis.txt").read_text(encoding="utf-8") == "mine"


def test_file_in_the_place_of_the_folder_is_refused(line: Line) -> None:
    line.folder.path.parent.mkdir(parents=True)
    line.folder.path.write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be a run's folder"):
        line.go()


def model(stage: str, **facts: Any) -> Model:
    known = {"stage": stage, "parameters": 1000, "macs": 5000, "sparsity": 0.0, "bytes": 4000, "gzip_bytes": 3000}
    return Model.model_validate(known | facts)


TEACHER = model("train", training={"loss": [2.0, 1.0]})
STUDENTS = [model("distill", parameters=250, gzip_bytes=1000), model("distill", variant="alone", parameters=250)]
PRUNED = model("prune", parameters=250, gzip_bytes=500, sparsity=0.8)


@pytest.fixture
def models(line: Line, monkeypatch: pytest.MonkeyPatch) -> Line:
    """A line of stages that make a model each, and of measure."""

    def makes(made: list[Model]) -> Callable[..., Result]:
        def run(job: Job) -> Result:
            line.calls.append(made[0].stage)
            (job.folder / "model.keras").write_text(f"the weights of {made[0].stage}", encoding="utf-8")
            write_models(made, job.folder)
            return Result()

        return run

    def measure_run(job: Job) -> Result:
        accuracy = {"accuracy": Interval(value=0.9, low=0.8, high=1.0)}
        write_models([one.model_copy(update={"metrics": accuracy}) for one in (TEACHER, *STUDENTS, PRUNED)], job.folder)
        document.write_artifacts([], job.folder)
        return Result()

    steps: dict[str, Any] = {"train": makes([TEACHER]), "distill": makes(STUDENTS), "prune": makes([PRUNED])}
    names = (*steps, "measure")
    stages = tuple(
        SimpleNamespace(
            NAME=name, INPUTS=names[:place], CODE=("pipeline/errors.py",), LIBRARIES=("pydantic",),
            run=steps.get(name, measure_run),
        )
        for place, name in enumerate(names)
    )  # fmt: skip
    monkeypatch.setattr(runs, "STAGES", stages)
    monkeypatch.setattr(runs, "NAMES", names)
    # of models that these stages do not make
    monkeypatch.setattr(runs.foresight, "foresee", lambda *_: Forecast(lines=[Foreseen(stages=[])]))
    return line


STUDENT = "distill.student={architecture: mlp}"
UNEXPORTED = ("export=null", STUDENT, "prune.final_sparsity=0.8")


def test_last_model_is_a_hard_link_in_artifacts_when_nothing_is_exported(models: Line) -> None:
    models.go(*UNEXPORTED)
    (published,) = (models.folder.path / "artifacts").iterdir()
    assert published.name == "prune.keras"
    assert published.read_text(encoding="utf-8") == "the weights of prune"
    assert published.stat().st_nlink == 2
    models.go("export=null", STUDENT)
    assert [path.name for path in models.folder.artifacts.iterdir()] == ["distill.keras"]


def test_report_has_the_models_and_what_each_stage_bought_when_nothing_was_measured(models: Line) -> None:
    report = models.go(*UNEXPORTED)
    assert report.models == [TEACHER, *STUDENTS, PRUNED]
    assert report.training == {"loss": [2.0, 1.0]}
    assert (report.reference, report.final, report.to_serve) == (None, None, None)
    assert [(one.stage, one.against, one.parameters_ratio, one.size_ratio) for one in report.bought] == [
        ("distill", "train", 4.0, 3.0), ("prune", "distill", 1.0, 2.0)
    ]  # fmt: skip
    written = models.report()
    assert [(one["stage"], one["variant"]) for one in written["models"]] == [
        ("train", ""), ("distill", ""), ("distill", "alone"), ("prune", "")
    ]  # fmt: skip


def test_report_has_the_models_as_they_were_measured(models: Line) -> None:
    report = models.go(*UNEXPORTED, "measure={}")
    assert [one.metrics["accuracy"].value for one in report.models] == [0.9] * 4
    assert report.verdict == "incomplete"


def test_report_says_what_is_the_reference_the_result_and_what_is_to_be_served(line: Line) -> None:
    assert line.go().to_serve == line.go().reference == "train.saved_model.float32"
    report = line.go("prune.final_sparsity=0.8", "quantize.epochs=1", until="train")
    assert report.reference == "train.saved_model.float32"
    assert report.to_serve == "prune.saved_model.float32"
    assert report.final == "quantize.tflite.int8"


def test_models_of_the_stages_that_succeeded_are_in_the_report_when_a_later_one_fails(models: Line) -> None:
    def run(_job: Job) -> Result:
        raise PromiseError("prune: kernels have fewer zeros than were promised")

    runs.STAGES[2].run = run  # type: ignore[misc]
    with pytest.raises(PromiseError):
        models.go(*UNEXPORTED)
    report = models.report()
    assert report["verdict"] == "error"
    assert report["failure"]["stage"] == "prune"
    assert [one["stage"] for one in report["models"]] == ["train", "distill", "distill"]
    assert [one["status"] for one in report["stages"]] == ["run", "run", "failed"]
    assert not models.folder.artifacts.exists()


def test_stage_that_is_new_between_two_others_reuses_those_before_it(models: Line) -> None:
    models.go("export=null", "prune.final_sparsity=0.8")
    assert models.calls == ["train", "prune"]
    models.go(*UNEXPORTED)
    assert models.calls == ["distill", "prune"]
    assert models.reasons()["prune"] == "its input distill changed"
    models.go("export=null", "prune.final_sparsity=0.8")
    assert models.calls == []
    assert {path.name for path in (models.folder.path / "stages").iterdir()} == {"train", "prune"}
