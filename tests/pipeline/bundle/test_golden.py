"""Golden pairs: which samples they are, how far others may be from them, and what is said of them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.bundle import contents, ends, examples, golden, microcontroller
from pipeline.bundle.golden import Answers, Pair
from pipeline.bundle.microcontroller import Micro
from pipeline.data.divide import Split
from pipeline.data.sources import images
from pipeline.edge import micro
from pipeline.errors import InputError
from pipeline.isolate import Child
from pipeline.predictor import Head, Input, Spec, classifier
from pipeline.signature import End, Signature
from pipeline.vectorizer import Rules, Vectorizer

IMAGES = classifier("image", (2,), (0.0, 1.0), ("a", "b", "c", "d"))


def split(labels: list[int]) -> Split:
    return Split(np.arange(2 * len(labels), dtype=np.float32).reshape(-1, 2), np.array(labels))


def answers(dtype: str, values: list[float], step: float = 0.0, elsewhere: float = 0.0) -> Answers:
    outputs = {"logits": np.array([values], dtype)}
    pair = Pair({"image": np.zeros((1, 2), np.float32)}, outputs)
    signature = Signature((End("image", "float32", (None, 2)),), (End("logits", dtype, (None, len(values))),))
    return Answers(signature, False, (pair,), {"logits": step}, {"logits": elsewhere})


def test_samples_are_of_different_classes_when_the_split_has_them() -> None:
    chosen = golden.choose(split([3, 3, 1, 3, 0, 2]), IMAGES, 1)
    assert [one.positions for one in chosen] == [(2,), (4,), (5,)]
    assert [one.positions for one in golden.choose(split([1, 1, 1]), IMAGES, 1)] == [(0,), (1,), (2,)]
    assert [one.positions for one in golden.choose(split([1, 1]), IMAGES, 1)] == [(0,), (1,)]


def test_file_with_a_fixed_batch_gets_as_many_samples() -> None:
    chosen = golden.choose(split([0, 1, 2]), IMAGES, 2)
    assert [one.positions for one in chosen] == [(0, 1), (1, 2), (2, 0)]
    assert chosen[2].given["image"].tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert chosen[2].wanted[""].tolist() == [2, 0]


@pytest.mark.parametrize(
    ("found", "tolerance"),
    [
        (answers("int8", [5, -5]), 1.0),
        (answers("int8", [5, -5], elsewhere=3), 6.0),
        (answers("float32", [0.5, -0.5]), 5e-5),
        (answers("float32", [1e-5, -2e-5]), 2e-9),
        (answers("float32", [200.0, -500.0]), 0.05),
        (answers("float32", [0.5, -0.5], step=0.25), 0.25),
        (answers("float32", [0.5, -0.5], step=0.25, elsewhere=0.5), 1.0),
    ],
)
def test_tolerance_is_a_step_and_twice_what_other_kernels_differ_by(found: Answers, tolerance: float) -> None:
    assert found.tolerance(found.signature.gives[0]) == pytest.approx(tolerance)


def test_kernels_that_disagree_more_than_the_samples_widen_no_tolerance_and_are_told() -> None:
    one = answers("int8", [100, -100], elsewhere=60)
    other = Pair(one.pairs[0].inputs, {"logits": np.array([[-100, 100]], np.int8)})
    found = dataclasses.replace(one, pairs=(*one.pairs, other))
    assert (found.tolerance(found.signature.gives[0]), found.disagree) == (1.0, {"logits": 60})
    assert "other kernels differ by 60 in logits" in next(contents.disagreements(found))
    near = dataclasses.replace(found, elsewhere={"logits": 50})
    assert (near.tolerance(near.signature.gives[0]), near.disagree) == (100.0, {})
    assert not list(contents.disagreements(near))


def refusing(*_: object) -> dict[str, float]:
    raise RuntimeError("no reference kernel for X")


def test_kernels_that_refuse_a_file_cost_no_bundle_and_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "elsewhere", refusing)
    known = answers("int8", [5, -5])
    before = dataclasses.replace(known, elsewhere={})
    with Child(deadline_s=60, memory_mb=None) as child:
        found, notes = contents._compared("tflite", Path("m.tflite"), before, child)
    assert found.tolerance(found.signature.gives[0]) == 1.0
    assert notes == [
        "LiteRT's reference kernels did not answer (RuntimeError: no reference kernel for X): the tolerance knows "
        "nothing of other kernels"
    ]


def test_file_with_other_inputs_than_the_data_is_told(content: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content["train.onnx.float32.onnx"])
    with pytest.raises(InputError, match=r"no file of this run(.|\n)*expected: the inputs picture\n  found: image"):
        golden.answer(path, "onnx", [{"picture": np.zeros((1, 8, 8, 1), np.float32)}])


def test_kernels_that_are_nearer_change_no_tolerance() -> None:
    found = answers("int8", [5, -5], elsewhere=3)
    assert found.beside({"logits": 2.0}).elsewhere == {"logits": 3}
    assert found.beside({"logits": 4.0}).elsewhere == {"logits": 4}


def test_texts_are_told_beside_their_token_ids() -> None:
    vectorizer = Vectorizer(("good", "bad"), 4, Rules("lower", "whitespace", "keep"))
    one = Input("text", (4,), (0.0, 3.0), vectorizer)
    spec = Spec((one,), (Head("classification", (2,), ("no", "yes")),))
    chosen = golden.choose(Split(np.array(["good day", "BAD"], object), np.array([1, 0])), spec, 1)
    ids = [spec.named(spec.tokens(each.given))["text"].astype(np.int32) for each in chosen]
    outputs = {"logits": np.zeros((1, 2), np.float32)}
    signature = Signature((End("text", "int32", (None, 4)),), (End("logits", "float32", (None, 2)),))
    pairs = tuple(Pair({"text": each}, outputs) for each in ids)
    found = Answers(signature, True, pairs, {"logits": 0.0}, {"logits": 0.0})
    files = ends.golden(found, chosen, spec, "LiteRT")
    index = json.loads(files[ends.INDEX])
    assert [pair["texts"] for pair in index["pairs"]] == [{"text": ["good day"]}, {"text": ["BAD"]}]
    assert [pair["right"] for pair in index["pairs"]] == [{"logits": ["yes"]}, {"logits": ["no"]}]
    assert files["golden/1.text.bin"] == np.array([3, 0, 0, 0], "<i4").tobytes()
    said = ends.signature(
        found, spec, model="model.tflite", key="serving_default", source="text",
        beside=["text.tokens.json", "text.vocabulary.txt"], labels=[],
    )  # fmt: skip
    assert said["inputs"][0]["kind"] == "token ids of a text"
    assert said["inputs"][0]["files"] == ["text.tokens.json", "text.vocabulary.txt"]
    assert said["keeps_state_between_calls"]


@pytest.mark.parametrize(
    ("source", "channels", "order"),
    [("cifar10", 3, "RGB"), ("npz", 3, "as in the data, which says no more"), ("npz", 1, "one channel")],
)
def test_colour_order_is_told_where_it_is_known(source: str, channels: int, order: str) -> None:
    spec = classifier("image", (4, 4, channels), (0.0, 255.0), ("a", "b"))
    signature = Signature((End("image", "float32", (None, 4, 4, channels)),), (End("logits", "float32", (None, 2)),))
    said = ends.signature(
        Answers(signature, False, (), {}, {}), spec, model="m", key="", source=source, beside=[], labels=["labels.txt"]
    )
    assert said["inputs"][0]["colour_order"] == order
    assert said["inputs"][0]["decoding"] == "as in the data, which has pixels"
    assert said["outputs"][0]["labels"] == "labels.txt"
    assert said["signature_key"] is None


def test_what_becomes_of_an_image_file_is_told_step_by_step() -> None:
    spec = classifier("image", (4, 4, 3), (0.0, 255.0), ("a", "b"))
    signature = Signature((End("image", "uint8", (None, 4, 4, 3), (1.0, 0)),), (End("logits", "float32", (None, 2)),))
    known = Answers(signature, False, (), {})
    said = ends.signature(known, spec, model="m", key="", source="image_folder", beside=[], labels=[])["inputs"][0]
    assert said["decoding"] == list(images.DECODING)
    assert any("EXIF" in step for step in said["decoding"])
    assert said["takes"] == ends.TAKES_INTEGERS


def test_columns_of_a_table_have_a_range_each() -> None:
    one = Input("row", (2,), (0.0, 9.0), None, ("age", "sex"), ((19.0, 79.0), (1.0, 2.0)))
    spec = Spec((one,), (Head("regression", (1,)),))
    signature = Signature((End("row", "float32", (None, 2)),), (End("value", "float32", (None, 1)),))
    known = Answers(signature, False, (), {})
    said = ends.signature(known, spec, model="m", key="", source="diabetes", beside=[], labels=[])["inputs"][0]
    assert said["raw_ranges"] == {"age": [19.0, 79.0], "sex": [1.0, 2.0]}
    assert "raw_range" not in said


def test_missing_runtime_of_microcontrollers_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro.importlib.util, "find_spec", lambda _: None)
    pair = answers("int8", [1, 2]).pairs[0]
    found = microcontroller.made(Path("any.tflite"), [{"image": np.zeros((1, 2), np.float32)}], [pair], [])
    assert found.why.endswith("which is not installed: pip install 'modelmill[micro]'")
    assert not found.sources


def test_file_that_keeps_a_state_has_no_example_for_what_refuses_it() -> None:
    found = dataclasses.replace(answers("int8", [1, 2]), stateful=True)
    names = set(examples.files("tflite", "model.tflite", found, None, {}))
    assert {name.split("/")[1] for name in names} == {"python", "kotlin", "golden.h"}
    both = examples.files("tflite", "model.tflite", found, Micro(sources={"model.c": b""}), {})
    assert {name for name in both if "/c/" in name} == {
        "examples/c/check.c", "examples/c/golden_data.c", "examples/c/model.c", "examples/c/run.h",
        "examples/c/run_tflm.c",
    }  # fmt: skip
    told = list(contents.notes("tflite", found, None))
    assert told == [
        "no C or C++ example for LiteRT is in it: its C API refuses a file that keeps a state from call to call"
    ]


def test_type_that_c_has_no_name_for_is_refused() -> None:
    with pytest.raises(InputError, match=r"x cannot be bundled(.|\n)*float32(.|\n)*logits float64 \[\?, 2\]"):
        examples.require_known(answers("float64", [1, 2]), "x")
