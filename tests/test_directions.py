"""Who may import whom, what a stage's CODE names, and what may be loaded before TensorFlow is wanted."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from pipeline.run import STAGES
from pipeline.stage import Stage
from pipeline.stages import NAMES
from tests.imports import ROOT, imports, modules, reached

# they say what is wrong, carry results about or describe a stage; none of them decides a result
NEUTRAL = frozenset(
    {"pipeline", "pipeline.artifact", "pipeline.config", "pipeline.errors", "pipeline.events", "pipeline.files",
     "pipeline.lock", "pipeline.measuring", "pipeline.report", "pipeline.stage", "pipeline.stages"}
)  # fmt: skip
HEAVY = (
    "tensorflow", "tf_keras", "keras", "tensorflow_model_optimization", "numpy", "sklearn", "scipy", "onnx",
    "onnxruntime", "matplotlib", "jinja2",
)  # fmt: skip


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.NAME)
def test_code_of_a_stage_names_every_module_that_decides_its_result(stage: Stage) -> None:
    known = modules()
    needed = {known[name].relative_to(ROOT).as_posix() for name in reached(stage.__name__, stop=NEUTRAL)}
    named = {
        file.relative_to(ROOT).as_posix()
        for room in stage.CODE
        for file in ([ROOT / room] if room.endswith(".py") else (ROOT / room).rglob("*.py"))
    }
    assert needed - named == set(), "CODE lacks these"
    superfluous = {
        room for room in stage.CODE if not any(name == room or name.startswith(f"{room}/") for name in needed)
    }
    assert superfluous == set(), "CODE names these in vain"


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.NAME)
def test_libraries_of_a_stage_exist_under_their_names(stage: Stage) -> None:
    from pipeline.machine import versions

    absent = {name for name, version in versions(stage.LIBRARIES).items() if version == "absent"}
    assert absent <= {"mlcommons-loadgen"}  # the one that has no wheel for every platform


def test_names_of_the_stages_are_in_their_order() -> None:
    assert tuple(stage.NAME for stage in STAGES) == NAMES


@pytest.mark.alone
@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], 0), (["run", "digits", "--set", "train.epoch=3"], 2)], ids=["help", "recipe"]
)
def test_command_that_only_answers_takes_under_half_a_second(arguments: list[str], code: int) -> None:
    def seconds(command: list[str], code: int) -> float:
        started = time.perf_counter()
        assert subprocess.run([sys.executable, *command], capture_output=True, check=False).returncode == code
        return time.perf_counter() - started

    main = ["-c", "from pipeline.cli import main; main()", *arguments]
    libraries = ["-c", "import pydantic, typer, yaml"]
    # the best of some: other processes only ever add. In turns with what the libraries alone take, which on two idle
    # cores is a third of a second's half: on a machine that is slower by half, so may we be
    pairs = [(seconds(main, code), seconds(libraries, 0)) for _ in range(8)]
    ours, theirs = (min(times) for times in zip(*pairs, strict=True))
    assert ours < max(0.5, 3.5 * theirs), pairs


def test_stages_do_not_import_each_other() -> None:
    for name in modules():
        if name.startswith("pipeline.stages."):
            others = {other for other in imports(name, typing=True) if other.startswith("pipeline.stages")}
            assert others - {name} == set(), name


def test_models_import_only_the_leaves_of_pipeline() -> None:
    leaves = {"pipeline.config", "pipeline.errors", "pipeline.predictor", "pipeline.legacy_keras"}
    for name in modules():
        if name.startswith("models"):
            ours = {other for other in imports(name, typing=True) if other.startswith("pipeline")}
            assert ours <= leaves, name


def test_serving_imports_only_the_leaves_of_pipeline() -> None:
    leaves = {
        "pipeline.config", "pipeline.ending", "pipeline.errors", "pipeline.events", "pipeline.files",
        "pipeline.predictor", "pipeline.signature",
    }  # fmt: skip
    for name in modules():
        if name.startswith("serving"):
            ours = {other for other in imports(name, typing=True) if other.startswith(("pipeline", "models"))}
            assert ours <= leaves, name


def test_targets_know_no_tensors_and_clients_no_processes() -> None:
    for name in modules():
        if name.startswith("serving.target"):
            assert not {other for other in imports(name) if other.startswith(("tensorflow", "numpy", "serving.client"))}
        if name.startswith("serving.client"):
            assert not {
                other for other in imports(name) if other.startswith(("serving.target", "docker", "subprocess"))
            }


def test_arithmetic_rooms_do_not_import_the_wiring() -> None:
    wiring = ("pipeline.stages", "pipeline.run", "pipeline.cli", "pipeline.recipe", "pipeline.console")
    for name in modules():
        if name.startswith(
            (
                "pipeline.compress",
                "pipeline.formats",
                "pipeline.measuring",
                "pipeline.data",
                "pipeline.fit",
                "pipeline.report",
            )
        ):
            assert not [other for other in imports(name) if other.startswith(wiring)], name


def test_nothing_heavy_is_imported_by_the_modules_of_a_recipe() -> None:
    for name in reached("pipeline.cli", at_import=True):
        heavy = {other for other in imports(name, at_import=True) if other.split(".")[0] in HEAVY}
        assert heavy == set(), name


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["run", "--help"], 0),
        (["recipes"], 0),
        (["schema"], 0),
        (["run", "digits", "--set", "train.epoch=3"], 2),
    ],
)
def test_command_loads_no_tensorflow_when_it_only_answers(arguments: list[str], code: int) -> None:
    script = (
        "import sys; sys.argv[0] = 'modelmill'\nfrom pipeline.cli import main\ntry: main()\n"
        f"except SystemExit as stop: print('exit', stop.code, sorted(set({HEAVY}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == f"exit {code} []"
