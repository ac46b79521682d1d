from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from pipeline.formats import keras_file
from tests.pipeline.compress import tiny


def test_model_and_spec_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    model = tiny.cnn()
    keras_file.write(model, tiny.SPEC, tmp_path / "entry")
    found, spec = keras_file.read(tmp_path / "entry")
    assert spec == tiny.SPEC
    assert np.array_equal(tiny.answers(found), tiny.answers(model))
    assert sorted(path.name for path in (tmp_path / "entry").iterdir()) == ["model.keras", "spec.json"]


def test_equal_models_become_equal_bytes_whenever_they_are_written(tmp_path: Path) -> None:
    model = tiny.cnn()
    written = []
    for name in ("one", "two"):
        keras_file.write(model, tiny.SPEC, tmp_path / name)
        written.append((tmp_path / name / "model.keras").read_bytes())
        time.sleep(2.1)  # an archive counts in steps of two seconds
    assert written[0] == written[1]


def test_predictor_gives_logits_and_their_softmax() -> None:
    model = tiny.cnn()
    predictor = keras_file.KerasPredictor(model, tiny.SPEC)
    found = predictor.predict(tiny.SPLITS.test.x)
    predictor.close()
    assert np.allclose(found["logits"], model.predict(tiny.SPLITS.test.x, verbose=0), atol=1e-6)
    powers = np.exp(found["logits"])
    assert np.allclose(found["probabilities"], powers / powers.sum(axis=1, keepdims=True), atol=1e-6)
