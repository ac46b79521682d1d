"""What shrink would refuse is told of the model that it is going to get, before there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import data, foresight, recipe
from pipeline.errors import InputError
from pipeline.formats import keras_file
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.stages.small import stored

CNN = "model={architecture: cnn, filters: [16, 32], head: average}"
SMALL = "distill={student: {architecture: cnn, filters: [16], convolutions: 1, head: average}}"


def of_recipe(*assignments: str) -> recipe.Recipe:
    return recipe.load("digits", ["prune=null", "quantize=null", "judge=null", *assignments])


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        ([CNN, "distill=null", "shrink={macs: 0.5, layers: {conv_9: null}}"], "found: conv_9"),
        ([CNN, "distill=null", "shrink={macs: 0.5, layers: {'*': null}}"], "shrink: all channels are to stay"),
        ([CNN, "distill=null", "shrink={parameters: 0.001}"], "0.1% of the parameters cannot be reached"),
        ([CNN, SMALL, "shrink={macs: 0.5, layers: {conv_2: null}}"], "found: conv_2"),
        ([CNN, "distill=null", "shrink={latency: {share: 0.5}, layers: {conv_9: 0.5}}"], "found: conv_9"),
    ],
)
def test_mistake_is_told_of_a_model_that_is_not_trained_yet(assignments: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        foresight.check(of_recipe(*assignments), {}, tmp_path)
    assert words in str(refused.value)


def test_mistake_is_told_of_a_file_that_is_to_be_fine_tuned(tmp_path: Path) -> None:
    keras = load_keras()
    start = keras.Input((8, 8, 1), name="image")
    ends = keras.layers.Dense(10, name="logits")(keras.layers.Flatten(name="flat")(start))
    keras_file.write(keras.Model(start, ends), data.load(data.DataConfig()).spec, tmp_path)
    asked = of_recipe("model={path: a.keras}", "distill=null", "shrink={macs: 0.5}")
    with pytest.raises(InputError, match="there is nothing to remove in this model"):
        foresight.check(asked, {"import": stored(tmp_path, "import")}, tmp_path)


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (["distill.teach={features: {method: attention, layers: {relu_1: relu_9}}}"], "found: relu_9 of the teacher"),
        (["distill.teach={features: {method: fitnet, layers: {pool_1: relu_1}}}"],
         "distill.teach.features.layers compares layers of different resolutions"),
        (["distill.student={architecture: mlp, dense: [8]}", "distill.teach={features: {method: attention}}"],
         "no layers of student and teacher match by themselves"),
        (["distill=null", "prune.teach={relations: {layers: {nix: logits}}}"],
         "prune.teach.relations.layers names what cannot be compared"),
        (["distill=null", "shrink={macs: 0.5, teach: {relations: {layers: {nix: relu_1}}}}"],
         "found: nix of the student"),
        (["distill=null", "cluster.teach={features: {method: fitnet, layers: {nix: relu_1}}}"],
         "found: nix of the student"),
        (["distill=null", "quantize.teach={features: {method: fitnet, layers: {nix: relu_1}}}"],
         "found: nix of the student"),
    ],
)  # fmt: skip
def test_layers_that_cannot_be_compared_with_the_teachers_are_told_before_anything_is_trained(
    assignments: list[str], words: str, tmp_path: Path
) -> None:
    student = [SMALL] if not any("distill=null" in one for one in assignments) else []
    with pytest.raises(InputError) as refused:
        foresight.check(of_recipe(CNN, "shrink=null", *student, *assignments), {}, tmp_path)
    assert words in str(refused.value)


def test_time_is_left_to_its_table_and_what_is_possible_passes(tmp_path: Path) -> None:
    for target in ("macs: 0.5", "latency: {share: 0.001}"):
        foresight.check(of_recipe(CNN, "distill=null", f"shrink={{{target}}}"), {}, tmp_path)
