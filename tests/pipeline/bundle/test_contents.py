"""What is in a bundle of a file that takes a text and a row at once, two samples each time, and gives two outputs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from pipeline.bundle import contents
from pipeline.bundle.subject import Subject
from pipeline.data.divide import Split, Splits
from pipeline.exported import Exported
from pipeline.isolate import Child
from pipeline.predictor import Head, Input, Spec
from pipeline.report.document import Artifact
from pipeline.vectorizer import Rules, Vectorizer
from tests.pipeline.report import shapes

NAME = "train.onnx.float32"
SPEC = Spec(
    (
        Input("text", (4,), (0.0, 3.0), Vectorizer(("good", "bad"), 4, Rules("lower", "whitespace", "keep"))),
        Input("row", (3,), (0.0, 9.0)),
    ),
    (Head("classification", (2,), ("no", "yes")),),
)


def write(path: Path) -> None:
    """Write a file that takes two samples at once, no more and no fewer."""
    draw = np.random.default_rng(2)
    weights = {"a": draw.normal(size=(4, 2)), "b": draw.normal(size=(3, 2))}
    nodes = [
        helper.make_node("Cast", ["text"], ["ids"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["ids", "a"], ["left"]), helper.make_node("MatMul", ["row", "b"], ["right"]),
        helper.make_node("Add", ["left", "right"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]  # fmt: skip
    takes = [
        helper.make_tensor_value_info("text", TensorProto.INT32, [2, 4]),
        helper.make_tensor_value_info("row", TensorProto.FLOAT, [2, 3]),
    ]
    gives = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in ("logits", "probabilities")]
    constants = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "two", takes, gives, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString(deterministic=True))


def test_file_of_a_text_and_a_row_with_a_batch_of_two_is_bundled_and_checks_itself(tmp_path: Path) -> None:
    artifacts, private, out = tmp_path / "artifacts", tmp_path / "private", tmp_path / "out"
    for folder in (artifacts, private):
        folder.mkdir()
    write(artifacts / f"{NAME}.onnx")
    beside = {"labels.txt": "no\nyes\n", "text.tokens.json": "{}", "text.vocabulary.txt": "good\nbad\n"}
    for name, text in beside.items():
        (artifacts / name).write_text(text)
    item = Artifact(
        id=NAME, stage="train", format="onnx", precision="float32", path=f"artifacts/{NAME}.onnx", batch=2,
        labels=["labels.txt"], beside=["text.tokens.json", "text.vocabulary.txt"],
    )  # fmt: skip
    texts = np.array(["good day", "bad bad", "a GOOD", "bad"], object)
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    test = Split({"text": texts, "row": rows}, np.array([1, 0, 1, 0]))
    report = shapes.report(artifacts=[item], verdict="incomplete")
    subject = Subject(Exported(tmp_path, item, {}), report, "shape", "csv")
    with Child(deadline_s=100, memory_mb=None, log=tmp_path / "log.txt") as child:
        made = contents.made(subject, Splits(SPEC, test, test, test, test), child, private)
    assert made.notes == ()
    for name, content in made.files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    signature = json.loads((out / "signature.json").read_text())
    assert signature["batch"] == 2
    assert [end["takes"].partition(":")[0] for end in signature["inputs"]] == [
        "token ids, made of a text as the files say", "raw values",
    ]  # fmt: skip
    index = json.loads((out / "golden/index.json").read_text())
    assert [pair["test_samples"] for pair in index["pairs"]] == [[0, 1], [1, 2], [2, 3]]
    assert index["pairs"][0]["texts"] == {"text": ["good day", "bad bad"]}
    assert index["pairs"][0]["right"] == {"logits": ["yes", "no"]}
    card = (out / "MODEL_CARD.md").read_text()
    assert "- text takes token ids, made of a text as the files say (text.tokens.json, text.vocabulary.txt)." in card
    assert "- row takes raw values: the model scales them itself." in card
    assert "- Other batches than 2: it takes no other." in card
    done = subprocess.run(
        [sys.executable, out / "examples/python/check.py", "--exact"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "good"), done.stdout + done.stderr
    assert done.stdout.count(", answer ") == 12  # of three pairs, two outputs and two samples
