"""A model of texts, through the whole command: strings where it is served, token ids in the files for devices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import texts
from tests.end_to_end.command import BRIEFLY, modelmill, options

QUICK = [*BRIEFLY, "serving.target=embedded"]
RECIPE = f"""
name: texts
data:
  source: npz
  path: texts.npz
  classes: [{", ".join(texts.SETS)}]
  text: {{vocabulary: {texts.VOCABULARY}, length: {texts.WORDS}}}
model: {{architecture: text_transformer, embedding: 16, feed_forward: 32}}
train: {{epochs: 15, early_stopping: null, tensorboard: false}}
prune: {{final_sparsity: 0.5, epochs: 3, on_regression: continue, tensorboard: false}}
export: {{tflite: [float32, int8]}}
measure: {{}}
judge: {{gates: {{max_accuracy_drop: 0.3, min_parity: 0.9}}}}
"""


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    texts.write(folder / "texts.npz")
    (folder / "texts.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


def run(cwd: Path, *overrides: str) -> Any:
    return modelmill("run", "texts.yaml", *options([*QUICK, *overrides]), cwd=cwd)


@pytest.mark.long
def test_texts_are_served_as_strings_and_run_as_token_ids_with_what_makes_them_beside(cwd: Path) -> None:
    done = run(cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "attention_1 stays dense: its projections are layers inside a layer" in done.stderr
    folder = cwd / "runs" / "texts"
    found = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert found["verdict"] == "pass"
    for item in found["artifacts"]:
        assert item["error"] is None
        served = item["format"] == "saved_model"
        assert item["beside"] == ([] if served else ["text.tokens.json", "text.vocabulary.txt"])
        assert [one["protocol"] for one in item["runs"]] == (["grpc", "rest"] if served else [None])
        for one in item["runs"]:
            assert one["metrics"]["accuracy"]["value"] > 0.7
            assert one["parity"]["top1_agreement"] >= (0.9 if item["precision"] == "int8" else 1)
            assert one["parity"]["max_abs_error"] < (2 if item["precision"] == "int8" else 1e-4)
            assert [check["problems"] for check in one["checks"]] == ([[]] if served else [])
    assert "token ids" in (folder / "report.html").read_text(encoding="utf-8")
    words = (folder / "artifacts" / "text.vocabulary.txt").read_text(encoding="utf-8").split("\n")
    assert (words[:2], len(words)) == (["", "[UNK]"], texts.VOCABULARY + 1)
    _answers_with_nothing_but_the_files(folder, words)


def _answers_with_nothing_but_the_files(folder: Path, words: list[str]) -> None:
    """Make token ids as text.tokens.json says, and ask ONNX Runtime; the answers are those that were measured."""
    import onnxruntime

    from pipeline import data
    from pipeline.data import DataConfig, TextConfig

    described = json.loads((folder / "artifacts" / "text.tokens.json").read_text(encoding="utf-8"))
    config = DataConfig(
        source="npz", path=str(folder.parent.parent / "texts.npz"), classes=texts.SETS,
        text=TextConfig(vocabulary=texts.VOCABULARY, length=texts.WORDS),
    )  # fmt: skip
    removed = str.maketrans("", "", described["steps"][1].partition(": ")[2])
    ids = np.full((20, described["length"]), described["padding_id"], np.int32)
    for row, text in zip(ids, np.asarray(data.load(config, strings=True).test.x)[:20], strict=True):
        split = text.lower().translate(removed).split()
        known = [words.index(word) if word in words else described["unknown_id"] for word in split]
        row[: len(known)] = known
    session = onnxruntime.InferenceSession(str(folder / "artifacts" / "prune.onnx.float32.onnx"))
    (logits,) = session.run(["logits"], {described["input"]: ids})
    with np.load(folder / "stages" / "measure" / "logits.npz") as answers:
        for name in ("prune.keras", "prune.saved_model.float32@grpc", "prune.tflite.float32"):
            assert np.abs(answers[name][:20] - logits).max() < 1e-4


def test_architecture_of_numbers_is_refused_for_texts_before_anything_is_trained(cwd: Path) -> None:
    done = run(cwd, "model={architecture: mlp}", "name=other")
    assert done.returncode == 2
    assert "model.architecture 'mlp' takes numbers" in done.stderr
    assert "set model.architecture to text_rnn or text_transformer" in done.stderr
    assert not (cwd / "runs" / "other").exists()
