"""What goes into an image."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.image import context, document
from serving.config import BatchingConfig, ServingConfig
from serving.target import docker_build


def model(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name, encoding="utf-8")
    return folder


def flags(made: context.Context) -> list[str]:
    return (made.folder / "models/flags").read_text(encoding="utf-8").splitlines()


def test_flags_leave_threads_to_the_server_where_the_recipe_names_none(tmp_path: Path) -> None:
    made = context.write(tmp_path / "image", "m", model(tmp_path / "1", "saved_model.pb"), ServingConfig(), None, {})
    assert flags(made) == list(made.flags)
    assert "--model_config_file=/models/models.config" in made.flags
    assert "--monitoring_config_file=/models/monitoring.config" in made.flags
    assert "--tensorflow_intra_op_parallelism=0" in made.flags
    assert not [flag for flag in made.flags if "batching" in flag or "tflite" in flag]


def test_flags_follow_the_recipe_and_the_batching_file_takes_the_place_of_its_batching(tmp_path: Path) -> None:
    serving = ServingConfig(batching=BatchingConfig(max_batch_size=8), intra_op_threads=3, flags=("--x=a b",))
    source = model(tmp_path / "1", "saved_model.pb")
    ours = context.write(tmp_path / "image", "m", source, serving, None, {})
    assert "--batching_parameters_file=/models/batching_parameters.txt" in ours.flags
    assert {"--tensorflow_intra_op_parallelism=3", "--x=a b"} <= set(ours.flags)
    file = model(tmp_path, "mine.txt") / "mine.txt"
    theirs = context.write(tmp_path / "image", "m", source, serving, file, {})
    assert [flag for flag in flags(theirs) if "parameters_file" in flag] == [
        "--batching_parameters_file=/models/batching_parameters.txt"
    ]
    assert (theirs.folder / "models/batching_parameters.txt").read_text(encoding="utf-8") == "mine.txt"
    assert set(theirs.files()) == {
        "m/1/saved_model.pb", "models.config", "monitoring.config", "flags", "batching_parameters.txt"
    }  # fmt: skip


def test_tflite_version_is_preferred_by_the_server(tmp_path: Path) -> None:
    made = context.write(tmp_path / "image", "m", model(tmp_path / "1", "model.tflite"), ServingConfig(), None, {})
    assert "--prefer_tflite_model=true" in made.flags


def test_labels_hold_any_text_when_they_are_written_into_the_dockerfile(tmp_path: Path) -> None:
    labels = {"modelmill.run": 'a "b" $c \\d\ne', docker_build.LAST_LABEL: "x"}
    made = context.write(
        tmp_path / "image", "m", model(tmp_path / "1", "saved_model.pb"), ServingConfig(), None, labels
    )
    last = (made.folder / "Dockerfile").read_text(encoding="utf-8").splitlines()[-1]
    assert last == r'LABEL modelmill.run="a \"b\" \$c \\d e" modelmill.artifact="x"'


def test_same_content_has_the_same_digest_and_other_content_another(tmp_path: Path) -> None:
    source = model(tmp_path / "1", "saved_model.pb")
    one, other = (
        document.digest(context.write(tmp_path / folder, "m", source, ServingConfig(), None, {}).files())
        for folder in ("a", "b")
    )
    assert one == other
    (source / "saved_model.pb").write_text("another", encoding="utf-8")
    assert document.digest(context.write(tmp_path / "c", "m", source, ServingConfig(), None, {}).files()) != one


def test_dockerfile_says_whose_it_is_before_it_copies_anything() -> None:
    text = docker_build.dockerfile().read_text(encoding="utf-8")
    assert text.index(f"LABEL {docker_build.BUILD_LABEL}=") < text.index("\nCOPY ")
    assert re.search(r"^ARG BASE=tensorflow/serving:\d", text, re.MULTILINE)
    assert docker_build.LAST_LABEL not in text


@pytest.mark.parametrize("name", ["digits", "shop/digits:7", "localhost:5000/a/b:v1.2_x", "ghcr.io/a-b/c__d"])
def test_name_of_an_image_is_known(name: str) -> None:
    assert docker_build.is_name(name)


def test_digest_is_a_part_of_the_name_of_a_base_and_of_no_tag() -> None:
    pinned = f"tensorflow/serving:2.20.0@sha256:{'0a' * 32}"
    assert docker_build.is_name(pinned, digest=True)
    assert not docker_build.is_name(pinned)
    assert not docker_build.is_name(pinned[:-1], digest=True)
    assert not docker_build.is_name(f"{pinned}\n", digest=True)


@pytest.mark.parametrize("name", ["", "Digits", "digits:", "a b", "a/:1", "-a", "a:.b", "a//b", f"a:{'x' * 129}"])
def test_no_name_of_an_image_is_known_as_none(name: str) -> None:
    assert not docker_build.is_name(name)
