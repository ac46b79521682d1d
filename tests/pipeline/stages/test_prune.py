"""Patterns and the policy of prune: what a recipe may ask for, and what of it is in the files in the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

import models
from pipeline import data, foresight, recipe
from pipeline.compress import kernels, masks
from pipeline.compress.pattern_config import NOfM
from pipeline.errors import InputError
from pipeline.events import Event, Note
from pipeline.formats import keras_file, tflite
from pipeline.measuring import anatomy
from pipeline.report.model import read_models, write_models
from pipeline.stages import export, prune, quantize
from tests.pipeline.stages.small import DATA, by_id, job

TWO_OF_FOUR = NOfM(zeros=2, of=4)
FAST = {"epochs": 1, "batch_size": 256, "tensorboard": False, "max_accuracy_loss": 1.0}


def refused(*assignments: str) -> str:
    with pytest.raises(InputError) as caught:
        recipe.load("digits", ["prune=null", *assignments])
    return str(caught.value)


def asked(*assignments: str) -> prune.Config:
    found = recipe.load("digits", ["prune=null", *assignments]).prune
    assert found is not None
    return found


def test_n_of_m_says_itself_how_much_becomes_zero(tmp_path: Path) -> None:
    assert asked("prune={pattern: {name: n-of-m}}").final_sparsity == 0.5
    assert asked("prune={pattern: {name: n-of-m, zeros: 3, of: 4}}").final_sparsity == 0.75
    assert asked("prune={pattern: {name: block}}").final_sparsity == 0.8
    whole = recipe.load("digits", ["prune={pattern: {name: n-of-m}, layers: {'conv_*': 0.5, logits: null}}"])
    path = tmp_path / "again.yaml"
    path.write_text(recipe.dump(whole), encoding="utf-8")
    assert recipe.load(str(path)) == whole
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["prune"]["final_sparsity"] == 0.5


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (
            "{pattern: {name: n-of-m}, final_sparsity: 0.8, layers: {conv_1: 0.6}}",
            "pattern n-of-m makes 2 of 4 weights zero, a share of 0.5, but final_sparsity is 0.8; layers.conv_1 is "
            "0.6: set prune.final_sparsity=0.5 and prune.layers.conv_1=0.5, or the pattern to block or to "
            "unstructured, which is none (prune.pattern={name: unstructured})",
        ),
        ("{pattern: {name: n-of-m, zeros: 4, of: 4}}", "zeros must be fewer than of (4), but is 4: nothing would be"),
        ("{pattern: {name: block, size: [1, 1]}}", "size wants two numbers of 1 or more, not both 1, but is [1, 1]"),
        ("{pattern: {name: block, size: [0, 4]}}", "size wants two numbers of 1 or more, not both 1, but is [0, 4]"),
        ("{pattern: {name: blocks}}", "prune.pattern"),
        (
            "{policy: xnnpack, final_sparsity: 0.6}",
            "policy xnnpack wants a final_sparsity above two thirds, but has 0.6: with fewer zeros XNNPACK computes",
        ),
        ("{policy: xnnpack, pattern: {name: n-of-m}}", "wants a final_sparsity above two thirds, but has 0.5"),
    ],
)  # fmt: skip
def test_impossible_patterns_are_refused_with_the_reason(section: str, words: str) -> None:
    assert words in refused(f"prune={section}")


def test_sparse_files_are_refused_when_nothing_makes_zeros() -> None:
    text = refused("export.tflite=[float32, sparse-float32, int8]")
    assert "export.tflite asks for sparse-float32, but nothing makes zeros: add a section prune, or drop it" in text
    assert recipe.load("digits", ["export.tflite=[float32, sparse-float32, int8]"]).export is not None
    planned = export.plan(export.Config(tflite=("float32", "sparse-float32"), onnx=()), ["train", "prune", "cluster"])
    assert [item.id for item in planned if item.precision == "sparse-float32"] == ["cluster.tflite.sparse-float32"]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("{policy: xnnpack}", "prune.policy xnnpack: XNNPACK would compute this model densely, zeros or not"),
        (
            "{policy: xnnpack}",
            "found: sparse kernels begin behind a convolution of 3 x 3, with stride 2, of 3 channels",
        ),
        ("{pattern: {name: block, size: [64, 64]}}", "there is nothing to prune in the model"),
        ("{pattern: {name: n-of-m}, layers: {conv_1: 0.5}}", "conv_1: its 1 inputs are no multiple of 4"),
        ("{layers: {conv_9: 0.5}}", "prune.layers names what is no layer of the model"),
    ],
)
def test_model_that_does_not_fit_is_told_before_it_is_trained(section: str, words: str, tmp_path: Path) -> None:
    small = "model={architecture: cnn, filters: [16, 32], head: average}"
    wanted = recipe.load(
        "digits", [small, "distill=null", "shrink=null", "quantize=null", "judge=null", f"prune={section}"]
    )
    with pytest.raises(InputError) as caught:
        foresight.check(wanted, {}, tmp_path)
    assert words in str(caught.value)


@pytest.mark.parametrize(("size", "possible"), [(8, True), (64, False)])
def test_pattern_is_refused_when_no_width_that_shrink_may_leave_fits_it(
    size: int, possible: bool, tmp_path: Path
) -> None:
    small = ["model={architecture: cnn, filters: [16, 32], head: average}", "distill=null", "quantize=null"]
    section = f"prune={{pattern: {{name: block, size: [{size}, {size}]}}}}"
    wanted = recipe.load("digits", [*small, "judge=null", "shrink={macs: 0.5}", section])
    if possible:
        foresight.check(wanted, {}, tmp_path)
        return
    with pytest.raises(InputError) as caught:
        foresight.check(wanted, {}, tmp_path)
    assert "no width that shrink may leave fits the pattern: its inputs must be a multiple of 64" in str(caught.value)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small network whose first convolution has too few inputs for a pattern."""
    folder = tmp_path_factory.mktemp("train")
    spec = data.load(DATA).spec
    config = models.MODELS["cnn"].Config.model_validate(
        {"architecture": "cnn", "filters": [8], "convolutions": 2, "head": "average"}
    )
    model = models.build(config, spec, seed=0)
    keras_file.write(model, spec, folder)
    write_models([anatomy.describe(model, "train")], folder)
    return folder


@pytest.mark.long  # a fine-tuning with and one without fake quantization, and three conversions
def test_two_of_four_are_zero_in_the_model_after_quantize_and_in_the_files(network: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    pruned, quantized, exported = (tmp_path / name for name in ("prune", "quantize", "export"))
    config = prune.Config.model_validate(FAST | {"pattern": {"name": "n-of-m"}, "final_sparsity": 0.5})
    prune.run(job(pruned, events, train=network), data=DATA, prune=config, seed=0)
    (dense,) = [event.text for event in events if isinstance(event, Note) and "stays dense" in event.text]
    assert dense.endswith("stays dense: its 1 inputs are no multiple of 4, of which 2 are to be zero")
    learning = quantize.Config.model_validate(FAST | {"freeze_ranges_epochs": 0})
    quantize.run(job(quantized, events, train=network, prune=pruned), data=DATA, quantize=learning, seed=0)
    for folder in (pruned, quantized):
        (described,) = read_models(folder)
        patterns = {layer.name: layer.pattern for layer in described.layers if layer.pattern}
        assert set(patterns.values()) == {"2:4"}
        assert len(patterns) == 2
        model, _ = keras_file.read(folder)
        for layer, _, values in kernels.named(model):
            assert (values.shape[-2] % 4 == 0) == (layer.name in patterns)
            assert layer.name not in patterns or masks.broken(values, TWO_OF_FOUR, 0.5) == ""
    wanted = export.Config(saved_model=("float32",), tflite=("float32", "sparse-float32", "int8"), onnx=("float32",))
    export.run(job(exported, events, train=network, prune=pruned, quantize=quantized), data=DATA, export=wanted)
    found = by_id(exported)
    assert {item.error for item in found.values()} == {None}
    for name in ("prune.tflite.float32", "prune.tflite.sparse-float32", "quantize.tflite.int8"):
        stored = tflite.kernels(exported / Path(str(found[name].path)).name)
        # OHWI: the inputs are on the last axis
        inner = [array for array in stored.values() if array.shape[-1] % 4 == 0]
        assert len(inner) == 2
        for array in inner:
            zeros = (array.reshape(-1, 4) == 0).sum(axis=-1)
            assert zeros.min() >= 2
            assert np.count_nonzero(array) > 0
    assert "prune.onnx.float32" in found
