from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.compress import channel_graph
from pipeline.compress.channel_graph import ChannelGraph
from pipeline.errors import RunError
from pipeline.formats import keras_file
from pipeline.isolate import Child, CrashError
from pipeline.legacy_keras import load as load_keras
from pipeline.measuring import layer_measuring, layer_plan, layer_times, layer_timing
from pipeline.measuring.layer_operations import Operation, operations
from pipeline.measuring.layer_plan import Planned
from pipeline.measuring.layer_programs import litert, onnx
from pipeline.measuring.layer_times import Entry, LayerTimes
from pipeline.measuring.layer_times_config import TimedIn
from pipeline.predictor import Input, Spec, classifier
from pipeline.stages import profile
from pipeline.vectorizer import Vectorizer

SPEC = classifier("image", (8, 8, 3), (0.0, 1.0), ("a", "b", "c"))
IMAGES = np.random.default_rng(0).random((4, 8, 8, 3)).astype(np.float32)


def residual() -> Any:
    """Return stem; two equal blocks of conv_1, conv_2 and an addition; a separable layer; logits."""
    keras = load_keras()
    layers = keras.layers
    x = image = keras.Input((8, 8, 3), name="image")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same", name="stem")(x)))
    for block in "ab":
        y = layers.Conv2D(16, 3, padding="same", activation="relu", name=f"{block}_1")(x)
        y = layers.Conv2D(16, 3, padding="same", name=f"{block}_2")(y)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.SeparableConv2D(24, 3, padding="same", name="separable")(x)
    x = layers.Conv2DTranspose(16, 2, name="up")(x)
    return keras.Model(image, layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def model() -> Any:
    return residual()


@pytest.fixture(scope="module")
def graph(model: Any) -> ChannelGraph:
    return channel_graph.follow(model)


@pytest.fixture(scope="module")
def planned(model: Any, graph: ChannelGraph) -> tuple[dict[Planned, list[str]], dict[str, str]]:
    allowed = {group.name: tuple(range(8, group.size + 1, 8)) for group in graph.removable}
    return layer_plan.plan(model, graph, allowed, "litert")


def table(entries: list[Entry], whole_ms: float) -> LayerTimes:
    return LayerTimes(
        runtime="litert", precision="float32", threads=1, whole_ms=whole_ms, sum_ms=layer_times.total(entries),
        entries=entries,
    )  # fmt: skip


def test_time_is_that_of_the_grid_when_the_widths_are_in_it() -> None:
    entry = Entry(operation="conv", layers=["a"], inputs=[8, 16, 64], outputs=[8, 32], ms=[[1, 2], [3, 5], [7, 11]])
    found = [[entry.at(inputs, outputs) for outputs in entry.outputs] for inputs in entry.inputs]
    assert found == entry.ms


def test_time_is_bilinear_when_the_widths_are_between_those_of_the_grid() -> None:
    entry = Entry(operation="conv", layers=["a"], inputs=[8, 16], outputs=[8, 24], ms=[[1, 2], [3, 5]])
    assert entry.at(12, 16) == pytest.approx((1 + 2 + 3 + 5) / 4)
    assert entry.at(14, 8) == pytest.approx(1 + 0.75 * 2)
    assert entry.at(4, 100) == 2  # beyond the grid as at its border


def test_time_of_a_depthwise_layer_depends_on_one_width() -> None:
    entry = Entry(operation="depthwise", layers=["a"], inputs=[], outputs=[8, 16], ms=[[1, 3]])
    assert [entry.at(99, width) for width in (8, 12, 16)] == [1, 2, 3]


def test_cost_is_the_sum_of_the_layers_and_a_constant(graph: ChannelGraph) -> None:
    inner = Entry(operation="conv", layers=["a_1", "b_1"], inputs=[8, 16], outputs=[8, 16], ms=[[1, 2], [2, 4]])
    outer = Entry(operation="conv", layers=["stem"], inputs=[3], outputs=[8, 16], ms=[[1, 2]])
    cost = layer_times.cost(graph, table([inner, outer], whole_ms=15.0))
    assert cost({}) == pytest.approx(15.0)  # 2 * 4 + 2, and 5 that are in no layer
    assert cost({"a_1": 8}) == pytest.approx(15.0 - 2)
    assert cost({"a_1": 8, "b_1": 8}) == pytest.approx(15.0 - 4)
    assert cost({"a_1": 8, "b_1": 8, "stem": 8}) == pytest.approx(5.0 + 1 + 1 + 1)


def test_cost_is_in_proportion_when_the_layers_alone_take_longer_than_the_model(graph: ChannelGraph) -> None:
    outer = Entry(operation="conv", layers=["stem"], inputs=[3], outputs=[8, 16], ms=[[1, 2]])
    cost = layer_times.cost(graph, table([outer], whole_ms=1.0))
    assert cost({}) == pytest.approx(1.0)
    assert cost({"stem": 8}) == pytest.approx(0.5)


def test_cost_is_fast_enough_to_search_with(graph: ChannelGraph) -> None:
    inner = Entry(operation="conv", layers=["a_1", "b_1"], inputs=[8, 16], outputs=[8, 16], ms=[[1, 2], [2, 4]])
    cost = layer_times.cost(graph, table([inner], whole_ms=15.0))
    started = time.process_time()
    for width in range(1000):
        cost({"a_1": 8 + width % 8})
    assert time.process_time() - started < 1.0


def test_layers_share_an_entry_when_they_do_the_same(planned: tuple[dict[Planned, list[str]], dict[str, str]]) -> None:
    entries, _ = planned
    sharing = sorted(layers for layers in entries.values() if len(layers) > 1)
    assert sharing == [["a_1", "b_1"], ["a_2", "b_2"]]
    (inner,) = [one for one, layers in entries.items() if layers == ["a_1", "b_1"]]
    assert (inner.inputs, inner.outputs) == ((8, 16), (8, 16))
    assert inner.operation.activation == "relu"
    assert not inner.operation.add


def test_operation_includes_what_runtimes_fuse_with_it(model: Any) -> None:
    found, _ = operations(model)
    (stem,), (second,) = found["stem"], found["a_2"]
    assert (stem.norm, stem.add, stem.activation) == (True, False, "relu")
    assert (second.norm, second.add, second.activation) == (False, True, "relu")
    assert [one.kind for one in found["separable"]] == ["depthwise", "conv"]


def test_layer_is_named_when_its_kind_is_not_timed(planned: tuple[dict[Planned, list[str]], dict[str, str]]) -> None:
    assert planned[1] == {"up": "Conv2DTranspose is not among the kinds that are timed alone"}


def reference(operation: Operation, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    padding = "SAME" if operation.same else "VALID"
    return np.asarray(tf.nn.conv2d(x, kernel, operation.strides, padding, dilations=operation.dilation))


@pytest.mark.parametrize(
    "operation",
    [
        Operation("conv", (9, 8), (3, 3), (2, 2)),
        Operation("conv", (9, 8), (5, 3), dilation=(1, 2), same=False),
        Operation("conv", (1, 12), (1, 3)),
    ],
    ids=lambda one: one.name,
)
def test_programs_compute_the_operation_that_keras_does(operation: Operation) -> None:
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    shape = reference(operation, np.zeros((1, *operation.size, 4), np.float32), np.zeros((*operation.kernel, 4, 6)))
    assert operation.sides == shape.shape[1:3]
    interpreter = Interpreter(model_content=litert.content(operation, 4, 6, 2))
    interpreter.allocate_tensors()
    assert [tuple(end["shape"]) for end in interpreter.get_output_details()] == [shape.shape] * 2
    session = onnxruntime.InferenceSession(onnx.graph(operation, 4, 6, 2).SerializeToString())
    answers = session.run(None, {"x": np.zeros((1, 4, *operation.size), np.float32)})
    assert [answer.shape for answer in answers] == [(1, 6, 1, 1)] * 2


def measured(tmp_path: Path, planned: dict[Planned, list[str]], target: TimedIn) -> layer_measuring.Measured:
    keras_file.write(residual(), SPEC, tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    return layer_measuring.measure(tmp_path, planned, {}, target, {"image": IMAGES}, work, tell=lambda *_: None)


def wide_and_narrow(size: int) -> dict[Planned, list[str]]:
    operation = Operation("conv", (size, size), (3, 3), activation="relu")
    return {Planned(operation, (8, 64), (8, 64)): ["a_1"]}


@pytest.mark.parametrize("runtime", ["litert", "onnxruntime", "tensorflow"])
def test_wide_convolution_takes_longer_than_a_narrow_one(tmp_path: Path, runtime: Any) -> None:
    found = measured(tmp_path, wide_and_narrow(32), TimedIn(runtime=runtime))
    (entry,) = found.table.entries
    (narrow, _), (_, wide) = entry.ms
    assert 0 < 4 * narrow < wide  # 64 times the multiplications
    assert found.table.whole_ms > 0
    assert found.transient == ()


def test_int8_layers_are_timed(tmp_path: Path) -> None:
    found = measured(tmp_path, wide_and_narrow(32), TimedIn(precision="int8"))
    assert found.table.entries[0].ms[1][1] > 0


def test_layer_is_named_and_a_constant_when_its_operation_does_not_run(tmp_path: Path) -> None:
    impossible = Planned(Operation("conv", (2, 2), (5, 5), same=False), (8,), (8,))
    found = measured(tmp_path, {impossible: ["a_1", "b_1"], **wide_and_narrow(8)}, TimedIn())
    assert set(found.table.untimed) == {"a_1", "b_1"}
    assert found.table.entries == []  # a_1 is timed elsewhere, but not as a whole
    assert found.table.sum_ms == 0
    assert [reason.partition(": ")[0] for reason in found.transient] == ["a_1, b_1"]


def test_run_ends_when_the_model_itself_cannot_be_timed(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        layer_measuring.measure(
            tmp_path / "nothing", {}, {}, TimedIn(), {"image": IMAGES}, tmp_path, tell=lambda *_: None
        )
    assert "the model cannot be timed in litert float32" in str(caught.value)
    assert "what to do: choose another shrink.latency.runtime" in str(caught.value)


def test_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    entry = Entry(operation="conv", layers=["a"], inputs=[8], outputs=[8, 16], ms=[[0.25, 0.5]])
    written = table([entry], whole_ms=0.75)
    assert layer_times.read(tmp_path) is None
    layer_times.write(written, tmp_path)
    assert layer_times.read(tmp_path) == written


def test_target_wants_litert_when_the_precision_is_int8() -> None:
    build: Callable[..., TimedIn] = TimedIn
    with pytest.raises(ValueError, match="precision int8 needs the runtime litert, but runtime is onnxruntime"):
        build(runtime="onnxruntime", precision="int8")


VGG_FC1 = Operation("dense", (1, 1), activation="relu")


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_widths_take_turns_in_batches_when_all_their_weights_are_too_many(precision: Any) -> None:
    points = Planned(VGG_FC1, (3136, 8624, 13328, 19600, 25088), (512, 1408, 2304, 3200, 4096)).points
    target = TimedIn(precision=precision)
    found = layer_timing.batches(VGG_FC1, points, target)
    assert [point for batch in found for point in batch] == points
    held = [sum(layer_timing.held_bytes(VGG_FC1, *point, target) for point in batch) for batch in found]
    assert 1 < len(found) < len(points)
    assert all(bytes_ <= 2**31 or len(batch) == 1 for batch, bytes_ in zip(found, held, strict=True))
    # no batch could have taken what the next one begins with
    begun = [layer_timing.held_bytes(VGG_FC1, *batch[0], target) for batch in found]
    assert all(bytes_ + more > 2**31 for bytes_, more in zip(held, begun[1:], strict=False))


def test_all_widths_take_turns_at_once_when_their_weights_are_few() -> None:
    points = [(inputs, outputs) for inputs in range(64, 513, 64) for outputs in range(64, 513, 64)]
    assert layer_timing.batches(Operation("conv", (4, 4), (3, 3)), points, TimedIn()) == [points]


def time_dense_layers(held_bytes: int, folder: Path) -> float:
    """Time ten dense layers of 64 MiB, of which programs hold so many bytes at once; return the least of the times."""
    layer_timing._HELD_BYTES = held_bytes
    layer_timing._whole[folder] = lambda: None
    ms, _ = layer_timing.time_operation(folder, VGG_FC1, [(4096, 4096)] * 10, TimedIn())
    return min(ms)


def test_memory_is_bounded_when_widths_are_timed_in_batches(tmp_path: Path) -> None:
    with Child(deadline_s=240, memory_mb=1300, threads=1) as child:
        assert child.call(time_dense_layers, 2**28, tmp_path) > 0
        with pytest.raises(CrashError, match="more than its limit of 1300 MiB"):  # all ten at once hold 1,920 and more
            child.call(time_dense_layers, 2**40, tmp_path)


def test_times_of_batches_are_in_proportion_to_the_whole_model(monkeypatch: pytest.MonkeyPatch) -> None:
    # while the second batch is timed the machine takes twice as long for everything
    of_batch = iter([([1.0, 2.0], 10.0), ([6.0], 20.0), ([4.0], 10.0)])
    monkeypatch.setattr(layer_timing, "_time_batch", lambda *_: next(of_batch))
    monkeypatch.setattr(layer_timing, "batches", lambda *_: [[(8, 8), (8, 16)], [(16, 8)], [(16, 16)]])
    ms, whole = layer_timing.time_operation(Path("model"), VGG_FC1, [], TimedIn())
    assert (ms, whole) == ([1.0, 2.0, 3.0, 4.0], 10.0)


def test_dense_layer_is_named_when_channels_are_among_its_rows() -> None:
    keras = load_keras()
    layers = keras.layers
    sequence = keras.Input((12, 4), name="sequence")
    x = layers.Conv1D(16, 3, padding="same", name="first")(sequence)
    x = layers.Dense(16, name="of_channels")(x)
    x = layers.Permute((2, 1))(x)
    x = layers.Dense(8, name="of_places")(x)
    model = keras.Model(sequence, layers.Dense(3, name="logits")(layers.Flatten()(x)))
    followed = channel_graph.follow(model)
    allowed = {group.name: tuple(range(8, group.size + 1, 8)) for group in followed.removable}
    entries, untimed = layer_plan.plan(model, followed, allowed, "litert")
    assert untimed == {"of_places": "channels are among its rows"}
    inputs = {layers[0]: one.inputs for one, layers in entries.items()}
    assert inputs["of_channels"] == (8, 16)


def test_width_is_left_out_when_a_wider_one_is_no_slower(graph: ChannelGraph) -> None:
    inner = Entry(
        operation="conv", layers=["a_1"], inputs=[16], outputs=[4, 8, 10, 12, 14, 16], ms=[[3, 2, 5, 3, 4.5, 4]]
    )
    allowed = {"a_1": (4, 8, 10, 12, 14, 16), "b_1": (8, 16)}
    found = layer_times.undominated(graph, table([inner], whole_ms=15.0), allowed)
    # 14 takes longer than 16, 10 longer than 12 and 4 longer than 8; of b_1 nothing is known, and nothing gained
    assert found == {"a_1": (8, 12, 16), "b_1": (16,)}


def test_width_stays_when_what_its_readers_save_outweighs_its_own_layer(graph: ChannelGraph) -> None:
    # 8 channels take the layer that makes them longer, and save the one that reads them more
    made = Entry(operation="conv", layers=["a_1"], inputs=[16], outputs=[8, 16], ms=[[5, 4]])
    read = Entry(operation="conv", layers=["a_2"], inputs=[8, 16], outputs=[16], ms=[[1], [4]])
    assert layer_times.undominated(graph, table([made, read], 15.0), {"a_1": (8, 16)}) == {"a_1": (8, 16)}
    assert layer_times.undominated(graph, table([made], 15.0), {"a_1": (8, 16)}) == {"a_1": (16,)}


def test_time_falls_with_a_groups_width_when_dominated_widths_are_left_out(graph: ChannelGraph) -> None:
    random = np.random.default_rng(0)
    widths = tuple(range(1, 17))
    entries = [
        Entry(operation="conv", layers=[name], inputs=[16], outputs=list(widths), ms=[random.random(16).tolist()])
        for name in ("a_1", "b_1")
    ]
    times = table(entries, whole_ms=3.0)
    cost = layer_times.cost(graph, times)
    for group, some in layer_times.undominated(graph, times, {"a_1": widths, "b_1": widths}).items():
        priced = [cost({group: width}) for width in some]
        assert priced == sorted(set(priced))
        assert priced[0] == min(cost({group: width}) for width in widths)
        assert some[-1] == 16


def test_hint_says_that_times_hardly_change_with_the_width_when_they_do_not() -> None:
    flat = Entry(operation="conv", layers=["a", "b"], inputs=[8, 16], outputs=[8, 16], ms=[[0.9, 1], [1, 1]])
    steep = Entry(operation="conv", layers=["a"], inputs=[8, 16], outputs=[8, 16], ms=[[0.25, 0.5], [0.5, 1]])
    assert layer_times.hint(table([flat], whole_ms=3.0)) == (
        "in litert float32 on this CPU the layers take 90% of their time at the narrowest widths that were measured: "
        "their times hardly change with their width (the report's layer times)"
    )
    assert layer_times.hint(table([steep], whole_ms=3.0)) == ""
    assert layer_times.hint(table([], whole_ms=3.0)) == (
        "no layer of this model can be timed alone in litert float32 on this CPU"
    )


@pytest.mark.parametrize("runtime", ["litert", "tensorflow"])
def test_model_of_texts_is_timed_when_its_samples_are_token_ids(tmp_path: Path, runtime: Any) -> None:
    keras = load_keras()
    layers = keras.layers
    text = keras.Input((6,), name="text")
    x = layers.Dense(16, activation="relu", name="hidden")(layers.Flatten()(layers.Embedding(5, 8)(text)))
    words = Vectorizer(("buy", "now", "hello"), 6)
    spec = Spec((Input("text", (6,), (0.0, 4.0), vectorizer=words),), classifier("x", (1,), (0, 1), ("a", "b")).heads)
    keras_file.write(keras.Model(text, layers.Dense(2, name="logits")(x)), spec, tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    planned = {Planned(Operation("dense", (1, 1), activation="relu"), (48,), (8, 16)): ["hidden"]}
    found = layer_measuring.measure(
        tmp_path, planned, {}, TimedIn(runtime=runtime), profile._samples(spec), work, tell=lambda *_: None
    )
    assert found.table.whole_ms > 0
    assert found.table.untimed == {}
