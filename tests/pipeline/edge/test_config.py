from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline import recipe
from pipeline.edge.config import Config, chosen
from pipeline.edge.profiles import PROFILES
from pipeline.errors import InputError
from pipeline.plan import Planned
from pipeline.report.edge import Budget

MICRO = "cortex-m55-ethos-u55-128"


def load(*assignments: str) -> recipe.Recipe:
    return recipe.load("digits", list(assignments))


def test_profile_alone_implies_the_file_that_a_microcontroller_takes() -> None:
    found = load(f"edge.profile={MICRO}")
    assert found.export is not None
    assert found.export.tflite == ("float32", "int8", "int8.int8-ends.batch1")
    assert found.edge is not None
    item = chosen(found.edge, found.plan())
    assert item is not None
    assert item.id == "quantize.tflite.int8.int8-ends.batch1"
    assert found.stages()[-1] == "edge"
    assert recipe.check(yaml.safe_load(recipe.dump(found)), "its dump") == found


def test_profile_alone_implies_export_and_measure_where_the_recipe_has_neither() -> None:
    found = load("export=null", "measure=null", "judge=null", f"edge.profile={MICRO}")
    assert found.export is not None
    assert found.export.tflite[-1] == "int8.int8-ends.batch1"
    assert found.measure is not None


def test_device_with_litert_takes_the_int8_file_and_nothing_is_added() -> None:
    found = load("edge.profile=raspberry-pi-4")
    assert found.export is not None
    assert found.edge is not None
    assert found.export.tflite == ("float32", "int8")
    item = chosen(found.edge, found.plan())
    assert item is not None
    assert item.id == "quantize.tflite.int8"


def test_named_artifact_implies_no_other_file() -> None:
    found = load(f"edge.profile={MICRO}", "edge.artifact=quantize.tflite.int8")
    assert found.export is not None
    assert "int8.int8-ends.batch1" not in found.export.tflite


def test_limits_are_the_profiles_where_the_section_says_nothing_else() -> None:
    known = PROFILES[MICRO]
    assert Config(profile=MICRO).budget == Budget(
        flash_bytes=known.flash_bytes, arena_bytes=known.arena_bytes, time_ms=known.time_ms
    )
    own = Config(profile=MICRO, flash_kb=10.0, arena_kb="unlimited", time_ms=2.0)
    assert own.budget == Budget(flash_bytes=10240, arena_bytes=None, time_ms=2)


def test_time_of_a_profile_is_no_limit_where_nothing_tells_the_time() -> None:
    assert Config(profile="esp32-s3").budget.time_ms is None
    assert Config(profile="esp32-s3", command=("./it", "{model}")).budget.time_ms == PROFILES["esp32-s3"].time_ms


def test_limit_of_a_profile_that_nothing_tells_is_said() -> None:
    found = Config(profile="raspberry-pi-4")
    assert "the 33 ms that raspberry-pi-4 has for an answer are not judged" in found.unjudged
    assert found.unjudged.endswith("there is no limit left that the device could miss: nothing about it can fail")
    assert Config(profile=MICRO).unjudged == ""
    assert Config(profile="esp32-s3", time_ms="unlimited").unjudged == ""


def test_arena_is_no_limit_where_the_runtime_has_none() -> None:
    assert Config(profile="esp32-s3", runtime="litert").budget.arena_bytes is None


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (["edge.profile=custom"], "profile custom says nothing of runtime, flash_kb, arena_kb, time_ms"),
        (["edge.profile=esp32-s4"], "did you mean esp32-s3?"),
        (["edge.profile=esp32-s3", "edge.flash_kb=lots"], "expected a number above 0, or unlimited, found 'lots'"),
        (["edge.profile=esp32-s3", "edge.arena_kb=0"], "expected a number above 0, or unlimited, found 0"),
        (["edge.profile=esp32-s3", "edge.flash_kb=true"], "expected a number above 0, or unlimited, found true"),
        (["edge.profile=esp32-s3", "edge.artifact=quantize.tflite.int8.batch4", "export.tflite=[int8, int8.batch4]"],
         "expected a file with a batch of one, or a dynamic one"),
        (["edge.profile=esp32-s3", "edge.time_ms=5"], "time_ms needs command, which times the file on the device"),
        (["edge.profile=esp32-s3", "edge.npu=[ethos-u55-12]"], "did you mean ethos-u55-128?"),
        (["edge.profile=esp32-s3", "edge.npu=[{accelerator: ethos-u55-128, memory_mode: Dedicated_Sram}]"],
         "expected one of Sram_Only, Shared_Sram, found 'Dedicated_Sram'"),
        (["edge.profile=raspberry-pi-4", "edge.npu=[ethos-u55-128]"], "npu is for the runtime tflite-micro"),
        (["edge.profile=raspberry-pi-4", "edge.arena_kb=5"], "arena_kb is for the runtime tflite-micro"),
        (["edge.profile=esp32-s3", "edge.command=[./it]"], "expected a word with {model}"),
        (["edge.profile=esp32-s3", "edge.artifact=train.tflite.int9"], "expected a .tflite that is exported"),
        (["edge.profile=raspberry-pi-4", "export.tflite=[float32]", "export.onnx=[]", "judge=null"],
         "add int8 to export.tflite"),
    ],
)  # fmt: skip
def test_section_that_cannot_be_is_refused_with_what_would_be_right(assignments: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        load(*assignments)
    assert said in str(caught.value)


def test_artifact_is_the_last_stages_where_several_have_such_a_file() -> None:
    plan = [Planned(stage, "tflite", "int8", "int8-ends.batch1") for stage in ("train", "quantize")]
    found = chosen(Config(profile="esp32-s3"), plan)
    assert found is not None
    assert found.stage == "quantize"


def test_recipe_of_a_stranger_runs_no_command_until_the_user_trusts_it(tmp_path: Path) -> None:
    path = tmp_path / "theirs.yaml"
    settings = yaml.safe_load(recipe.dump(load("edge.profile=esp32-s3")))
    settings["edge"]["command"] = ["rm", "{model}"]
    path.write_text(yaml.safe_dump(settings))
    with pytest.raises(InputError, match=r"edge\.command=\['rm', '\{model\}'\]"):
        recipe.load(str(path))
    assert recipe.load(str(path), trusted=True).edge is not None
    load("edge.profile=esp32-s3", "edge.command=[./mine, '{model}']")  # the user's own word
