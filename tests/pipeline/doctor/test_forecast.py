"""What is said of models small enough to know by heart, and of what cannot work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.compress import fake_quant, lowering
from pipeline.compress.cluster_config import Config as Cluster
from pipeline.compress.distillation import layers
from pipeline.compress.pattern_config import Block, NOfM
from pipeline.compress.prune_config import Config as Prune
from pipeline.compress.quantize_config import Config as Quantize
from pipeline.compress.shrink_config import Config as Shrink
from pipeline.doctor import forecast
from pipeline.doctor.forecast import Asked, Subject
from pipeline.formats import export_config as export
from pipeline.legacy_keras import load as load_keras
from pipeline.plan import Planned
from pipeline.predictor import classifier
from pipeline.report.forecast import Fate, Line

SPEC = classifier("samples", (8, 8, 1), (0, 255), "abc")


def squeezed() -> Any:
    """Return a net with a multiplication, which stays float, and a layer that cannot be pruned."""
    keras = load_keras()
    layers = keras.layers
    inputs = keras.Input((8, 8, 1), name="samples")
    values = layers.Conv2D(16, 3, padding="same", name="conv")(inputs)
    gate = layers.Dense(16, activation="sigmoid", name="gate")(layers.GlobalAveragePooling2D(name="mean")(values))
    values = layers.Multiply(name="scale")([values, layers.Reshape((1, 1, 16), name="shape")(gate)])
    values = layers.DepthwiseConv2D(3, name="depthwise")(values)
    return keras.Model(inputs, layers.Dense(3, name="logits")(layers.Flatten(name="flat")(values)))


def recurrent(cell: str = "GRU", steps: int = 8) -> Any:
    keras = load_keras()
    inputs = keras.Input((steps, 4), name="samples")
    values = getattr(keras.layers, cell)(4, name="cell")(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(values))


def foresee(model: Any, planned: tuple[Planned, ...] = (), **sections: Any) -> Line:
    stages = ("train", *sections)
    return forecast.foresee(Subject("", model), SPEC, Asked(stages, sections, planned, unrolled_steps=16))


def fates(line: Line, stage: str) -> dict[str, Fate]:
    return {layer.name: layer for one in line.stages if one.stage == stage for layer in one.layers}


def test_pattern_of_no_layer_is_told_before_anything_is_trained() -> None:
    planned = (Planned("train", "tflite", "mixed"),)
    asked = Asked(("train",), {}, planned, mixed={"dense*": "weight-int4"})
    line = forecast.foresee(Subject("", squeezed()), SPEC, asked)
    (problem,) = line.problems
    assert problem.stage == "export"
    assert "patterns of conv, gate, depthwise, logits" in problem.message
    assert line.files[0].refused == "export.mixed names what is no layer with a kernel"


def test_each_layer_has_its_fate_and_reason_in_each_stage() -> None:
    shrink = Shrink(parameters=0.8, multiple=None)
    line = foresee(squeezed(), shrink=shrink, prune=Prune(final_sparsity=0.5), quantize=Quantize())
    assert line.problems == []
    assert [one.stage for one in line.stages] == ["train", "shrink", "prune", "quantize"]
    assert {name: one.how for name, one in fates(line, "shrink").items()}["logits"] == "whole"
    assert fates(line, "shrink")["conv"].made == "fewer channels"
    pruned = fates(line, "prune")
    assert (pruned["conv"].how, pruned["conv"].made) == ("yes", "50% zeros")
    assert (pruned["depthwise"].how, pruned["flat"].how) == ("dense", "nothing")
    assert "TF-MOT does not prune depthwise kernels" in pruned["depthwise"].reason
    quantized = fates(line, "quantize")
    assert (quantized["conv"].how, quantized["conv"].made) == ("yes", "int8 per-channel")
    assert quantized["logits"].how == "yes"


def test_numbers_are_the_models_own_and_said_to_be_about_behind_shrink() -> None:
    model = squeezed()
    line = foresee(model, shrink=Shrink(parameters=0.5, multiple=None))
    train, shrunk = line.stages
    assert train.parameters == model.count_params()
    assert train.macs == 8 * 8 * 9 * 16 + 16 * 16 + 6 * 6 * 9 * 16 + 6 * 6 * 16 * 3
    assert (train.about, shrunk.about) == (False, True)
    assert shrunk.parameters <= train.parameters / 2
    # conv's output and what it is scaled to, beside each other
    assert train.activation_bytes_int8 == 2 * 8 * 8 * 16 + 16
    assert train.activation_bytes == 4 * train.activation_bytes_int8


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"prune": Prune(layers={"conv_9": 0.5})}, "prune.layers names what is no layer of the model"),
        ({"prune": Prune(layers={"depthwise": 0.5})}, "prune.layers asks for zeros in layers that cannot be pruned"),
        ({"shrink": Shrink(parameters=0.001)}, "0.1% of the parameters cannot be reached"),
        ({"shrink": Shrink(macs=0.5, layers={"conv_9": None})}, "found: conv_9"),
    ],
)
def test_what_a_stage_would_refuse_is_a_problem_in_its_words(sections: dict[str, Any], words: str) -> None:
    line = foresee(squeezed(), **sections)
    (problem,) = line.problems
    assert words in problem.message
    assert {layer.how for layer in fates(line, problem.stage).values()} == {"refused"}


def test_layers_of_a_net_that_imitates_int8_are_known_to_its_teacher_by_the_names_that_are_foreseen() -> None:
    lowered, _ = lowering.lower(squeezed())
    names = [list(layers.outputs(model, "")) for model in (lowered, fake_quant.build(lowered, {}))]
    assert names[0] == names[1]


def chained(first: int = 8, second: int = 16) -> Any:
    """Return two convolutions in a row, whose channels shrink may choose."""
    keras = load_keras()
    inputs = keras.Input((8, 8, 1), name="samples")
    values = keras.layers.Conv2D(first, 3, padding="same", name="conv_1")(inputs)
    values = keras.layers.Conv2D(second, 3, padding="same", name="conv_2")(values)
    values = keras.layers.GlobalAveragePooling2D(name="mean")(values)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(values))


HALF = Shrink(macs=0.5)


def test_pattern_that_no_width_fits_is_refused_though_shrink_comes_first() -> None:
    pattern = NOfM(zeros=5, of=10)
    line = foresee(chained(), shrink=HALF, prune=Prune(final_sparsity=0.5, pattern=pattern))
    (problem,) = line.problems
    assert "there is nothing to prune in the model" in problem.message
    assert (
        "conv_2 (no width that shrink may leave fits the pattern: its inputs must be a multiple of 10 and may be 1 "
        "to 7)" in (problem.message)
    )


def test_pattern_that_fits_some_widths_is_left_to_shrink_and_doubted_where_none_is_sure() -> None:
    line = foresee(chained(), shrink=HALF, prune=Prune(final_sparsity=0.5, pattern=Block(size=(4, 4))))
    assert line.problems == []
    (doubt,) = line.doubts
    assert doubt.stage == "prune"
    assert "prune.pattern 4x4 may fit none of the layers that are to have it" in doubt.message
    assert "expected: conv_2: its inputs must be a multiple of 4 and may be 1 to 7" in doubt.message
    pruned = fates(line, "prune")
    assert (pruned["conv_2"].how, pruned["conv_2"].decided_by) == ("yes", ["shrink"])
    assert (pruned["conv_1"].how, pruned["logits"].how) == ("dense", "dense")


def test_pattern_that_fits_every_width_of_a_layer_is_sure_of_it() -> None:
    line = foresee(chained(), shrink=HALF, prune=Prune(final_sparsity=0.5, pattern=NOfM()))
    assert line.doubts == []
    pruned = fates(line, "prune")
    # 16 channels become a multiple of 8, 8 channels any number
    assert (pruned["logits"].how, pruned["logits"].decided_by) == ("yes", [])
    assert (pruned["conv_2"].how, pruned["conv_2"].decided_by) == ("yes", ["shrink"])
    assert pruned["conv_1"].reason == "its 1 inputs are no multiple of 4, of which 2 are to be zero"


def test_layer_that_must_have_a_pattern_and_may_not_fit_it_is_doubted() -> None:
    prune = Prune(final_sparsity=0.5, pattern=NOfM(), layers={"conv_2": 0.5})
    (doubt,) = foresee(chained(), shrink=HALF, prune=prune).doubts
    assert "prune.pattern 2:4 may not fit all of the layers that are to have it" in doubt.message


def test_only_layers_that_may_keep_all_channels_are_left_open_by_shrink() -> None:
    shrunk = fates(foresee(chained(), shrink=HALF), "shrink")
    # half of the MACs are out of reach with all of conv_1's channels, not with all of conv_2's
    assert {name: one.decided_by for name, one in shrunk.items() if one.how == "yes"} == {
        "conv_1": [], "conv_2": ["shrink"],
    }  # fmt: skip


def test_what_is_measured_first_is_left_to_sensitivity_with_what_goes_along() -> None:
    auto: dict[str, Any] = {"exclude": "auto"}
    line = foresee(
        chained(), shrink=Shrink(macs=0.5, **auto), prune=Prune(final_sparsity=0.5, **auto),
        cluster=Cluster(**auto), quantize=Quantize(**auto),
    )  # fmt: skip
    assert fates(line, "shrink")["conv_1"].decided_by == ["sensitivity", "shrink"]
    for stage in ("prune", "cluster", "quantize"):
        found = fates(line, stage)
        assert all(found[name].decided_by == ["sensitivity"] for name in ("conv_1", "conv_2", "logits")), stage
        assert found["mean"].decided_by == []


def test_sparse_file_of_a_stage_that_cannot_work_is_not_told_to_lack_zeros() -> None:
    planned = (Planned("prune", "tflite", "sparse-float32"),)
    line = foresee(chained(), planned, prune=Prune(final_sparsity=0.8, policy="xnnpack"))
    assert [problem.stage for problem in line.problems] == ["prune"]
    assert line.files[0].refused == ""


def test_all_problems_are_told_at_once() -> None:
    line = foresee(squeezed(), shrink=Shrink(parameters=0.001), prune=Prune(layers={"conv_9": 0.5}))
    assert [problem.stage for problem in line.problems] == ["shrink", "prune"]


def test_net_of_which_nothing_can_be_int8_cannot_be_quantized() -> None:
    keras = load_keras()
    inputs = keras.Input((6, 4), name="samples")
    line = foresee(keras.Model(inputs, keras.layers.LSTM(3, name="logits")(inputs)), quantize=Quantize())
    assert "there is nothing to quantize in the model" in line.problems[0].message


def test_long_loops_cannot_be_int8_and_take_one_sample_at_a_time_otherwise() -> None:
    line = foresee(recurrent(steps=17), export.plan(export.Config(), ["train"]))
    files = {one.id: one for one in line.files}
    assert "cannot quantize the loop over time of cell" in files["train.tflite.int8"].refused
    assert files["train.onnx.int8"].refused
    assert files["train.tflite.float32"].batch == 1
    assert (files["train.onnx.float32"].batch, files["train.onnx.float32"].refused) == (None, "")
    assert any("one sample at a time" in one or "1 sample at a time" in one for one in line.no_faster)
    short = foresee(recurrent(steps=16), export.plan(export.Config(), ["train"]))
    assert all(not one.refused and one.batch is None for one in short.files)


def test_formats_that_make_nothing_faster_are_named_with_the_reason() -> None:
    entries = ("int16x8", "weight-int4", "float16", "int8")
    planned = [Planned("train", "tflite", entry) for entry in entries]
    planned += [Planned("train", "tflite", "float32", batch) for batch in ("batch4", "batch1")]
    found = dict(one.split(": ", 1) for one in foresee(squeezed(), planned).no_faster)
    assert "slower than float32 on a CPU" in found["train.tflite.int16x8"]
    assert "int4 weights are unpacked for each sample" in found["train.tflite.weight-int4"]
    assert "converted when it is loaded" in found["train.tflite.float16"]
    assert "train.tflite.int8" not in found
    assert found["train.tflite.float32.batch4"].startswith("a call takes 4 samples")
    assert found["train.tflite.float32.batch1"].startswith("it takes 1 sample at a time")


def test_layers_that_stay_float_are_named_in_the_file_and_with_their_share_of_the_work() -> None:
    line = foresee(recurrent(), (Planned("quantize", "tflite", "int8"),), quantize=Quantize())
    assert line.files[0].floating == ["cell"]
    assert any("float fallback in cell" in one for one in line.no_faster)
    assert any(one.startswith("quantize: layers that stay float have ") for one in line.no_faster)


def test_sparse_file_is_as_small_as_its_zeros_let_it_be() -> None:
    planned = (Planned("prune", "tflite", "float32"), Planned("prune", "tflite", "sparse-float32"))
    dense, sparse = foresee(squeezed(), planned, prune=Prune(final_sparsity=0.9)).files
    assert dense.bytes is not None
    assert sparse.bytes is not None
    assert sparse.bytes < 0.9 * dense.bytes
    _, refused = foresee(squeezed(), planned, prune=Prune(final_sparsity=0.2)).files
    assert "no kernel has zeros enough" in refused.refused


def test_layer_that_no_tflite_can_hold_refuses_the_files_and_says_which() -> None:
    keras = load_keras()
    inputs = keras.Input((8, 8, 4), name="samples")
    values = keras.layers.Flatten(name="flat")(keras.layers.GroupNormalization(groups=2, name="groups")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(values))
    refused = {one.id: one.refused for one in foresee(model, export.plan(export.Config(), ["train"])).files}
    assert {name for name, why in refused.items() if why} == {
        "train.tflite.float32", "train.tflite.float16", "train.tflite.dynamic-int8", "train.tflite.int8",
        "train.onnx.int8",
    }  # fmt: skip
    assert "groups (GroupNormalization)" in refused["train.tflite.float32"]


@pytest.mark.parametrize("per_channel", [False, True])
def test_kernel_that_is_clustered_as_a_whole_has_one_range(per_channel: bool) -> None:
    line = foresee(squeezed(), cluster=Cluster(clusters=4, per_channel=per_channel), quantize=Quantize())
    assert fates(line, "cluster")["conv"].made == f"4 weights per {'channel' if per_channel else 'tensor'}"
    assert fates(line, "quantize")["conv"].made == ("int8 per-channel" if per_channel else "int8")


def test_integer_ends_are_refused_where_what_is_next_to_them_stays_float_after_training_for_int8() -> None:
    planned = tuple(
        Planned(stage, "tflite", "int8", f"{ends}-ends")
        for stage in ("train", "quantize")
        for ends in ("int8", "uint8")
    )
    line = foresee(squeezed(), planned, quantize=Quantize())
    assert [one.refused for one in line.files] == [""] * 4
    line = foresee(squeezed(), planned, quantize=Quantize(exclude=("logits",)))
    assert [one.refused for one in line.files] == [
        "", "", *(f"with {ends} ends, but what is computed next to logits, probabilities stays float"
                  for ends in ("int8", "uint8"))
    ]  # fmt: skip
    assert all("next to samples, " not in one.refused for one in line.files)
    line = foresee(squeezed(), planned, quantize=Quantize(exclude=("conv",)))
    assert "next to samples stays float" in line.files[2].refused


@pytest.mark.parametrize(
    ("steps", "refused"), [(8, ""), (40, "export.mixed asks for kernels that cannot be quantized")]
)
def test_kernels_of_a_loop_are_quantized_by_layer_only_where_its_steps_are_written_out(
    steps: int, refused: str
) -> None:
    asked = Asked(
        ("train",), {}, (Planned("train", "tflite", "mixed"),), unrolled_steps=16, mixed={"*": "dynamic-int4"}
    )
    (file,) = forecast.foresee(Subject("", recurrent(steps=steps)), SPEC, asked).files
    assert file.refused.startswith(refused) and bool(file.refused) == bool(refused)
    assert ("set export.mixed.cell=float32" in file.refused) == bool(refused)


def test_what_a_file_brings_along_stays() -> None:
    model = squeezed()
    kernel, bias = model.get_layer("logits").get_weights()
    clusters = np.where(np.arange(kernel.size) % 2, 0.5, 0).reshape(kernel.shape)
    model.get_layer("logits").set_weights([clusters, bias])
    planned = (Planned("import", "tflite", "float32"),)
    sparse = forecast.foresee(Subject("", model), SPEC, Asked(("import",), {}, planned))
    dense = forecast.foresee(Subject("", squeezed()), SPEC, Asked(("import",), {}, planned))
    assert sparse.files[0].bytes == dense.files[0].bytes
    assert (sparse.files[0].gzip_bytes or 0) < 0.8 * (dense.files[0].gzip_bytes or 0)


def test_zeros_and_clusters_make_a_file_smaller_only_after_gzip() -> None:
    planned = (Planned("train", "tflite", "float32"), Planned("prune", "tflite", "float32"))
    line = foresee(squeezed(), planned, prune=Prune(final_sparsity=0.9))
    dense, sparse = line.files
    assert dense.bytes == sparse.bytes
    assert dense.gzip_bytes is not None
    assert sparse.gzip_bytes is not None
    assert sparse.gzip_bytes < 0.8 * dense.gzip_bytes
    assert any("dense kernels multiply zeros as they multiply anything" in one for one in line.no_faster)


def test_model_is_left_as_it_is() -> None:
    model = squeezed()
    before = [layer.get_config() for layer in model.layers]
    weights = [array.tobytes() for array in model.get_weights()]
    foresee(model, shrink=Shrink(parameters=0.5), prune=Prune(), quantize=Quantize())
    assert [layer.get_config() for layer in model.layers] == before
    assert [array.tobytes() for array in model.get_weights()] == weights
    assert all(len(layer._inbound_nodes) == 1 for layer in model.layers)
