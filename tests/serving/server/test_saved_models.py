"""Predict on models that TensorFlow 1 and TensorFlow 2 wrote, with variables, tables and assets (3.3, 9.3)."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from tests.serving.server.asking import Grpc, example, predict_request
from tests.serving.server.running import Running

GOOD, PLAIN = example(x=1.5, word=b"good"), example(x=0.25)


@pytest.mark.rule("3.3", "9.3")
@pytest.mark.parametrize(
    ("model", "version", "signature", "given", "answered"),
    [
        ("tf1", 1, "predict", "examples", "value"),
        ("tf1", 2, "predict", "examples", "value"),
        ("tf1", 2, "regress", "inputs", "outputs"),  # a signature of another method is as good
        ("tf2", 1, "regress", "inputs", "outputs"),
    ],
)
def test_predict_answers_alike_whoever_wrote_the_model(
    client: Grpc, server: Running, model: str, version: int, signature: str, given: str, answered: str
) -> None:
    examples = [GOOD.SerializeToString(), PLAIN.SerializeToString()]
    found = client.predict(predict_request(model, signature, version, **{given: np.array(examples)}))
    assert found[answered].tolist() == [[4.0], [-0.5]]
    instances = [{"b64": base64.b64encode(data).decode()} for data in examples]
    body = {"signature_name": signature, "instances": instances}
    assert server.predict(f"{model}/versions/{version}", body) == {"predictions": [[4.0], [-0.5]]}
