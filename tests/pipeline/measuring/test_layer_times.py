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
from pipeline.legacy_keras import load as load_keras
from pipeline.measuring import layer_measuring, layer_plan, layer_times
from pipeline.measuring.layer_operations import Operation, operations
from pipeline.measuring.layer_plan import Planned
from pipeline.measuring.layer_programs import litert, onnx
from pipeline.measuring.layer_times import Entry, LayerTimes
from pipeline.measuring.layer_times_config import TimedIn
from pipeline.predictor import classifier

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
