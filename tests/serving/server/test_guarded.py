"""A model that modelmill exports, asked wrongly over both protocols: an error each time, and right answers after."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.serving.server.asking import Grpc, failure, predict_request
from tests.serving.server.running import Running

SHAPES = [(), (64,), (8, 8, 1), (2, 8, 8), (1, 2, 8, 8, 1), (2, 7, 8, 1), (2, 16, 16, 1), (2, 8, 8, 2), (2, 8, 8, 3),
          (1, 8, 8, 0), (2, 64)]  # fmt: skip
DTYPES = [np.float64, np.int32, np.uint8, np.float16, bool]


@pytest.fixture(scope="module")
def answers(models: Path) -> dict[str, np.ndarray]:
    """Samples, and what Keras answered."""
    return dict(np.load(models / "guarded" / "answers.npz"))


def require_right_answers(server: Running, client: Grpc, answers: dict[str, np.ndarray]) -> None:
    samples, logits = answers["samples"], answers["logits"]
    found = client.predict(predict_request("guarded", image=samples))
    assert np.abs(found["logits"] - logits).max() < 1e-4
    assert np.abs(found["probabilities"].sum(axis=1) - 1).max() < 1e-5
    rows = server.predict("guarded", {"instances": samples.tolist()})["predictions"]
    assert np.abs(np.array([row["logits"] for row in rows]) - logits).max() < 1e-4
    column = server.predict("guarded", {"inputs": {"image": samples.tolist()}})["outputs"]
    assert np.abs(np.array(column["logits"]) - logits).max() < 1e-4


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_wrong_shape_is_an_invalid_argument_over_both_protocols(
    server: Running, client: Grpc, answers: dict[str, np.ndarray], shape: tuple[int, ...]
) -> None:
    """Rule 3.4: rank, size or channels."""
    batch = np.zeros(shape, np.float32)
    code, text = failure(client.prediction.Predict, predict_request("guarded", image=batch))
    assert code == "INVALID_ARGUMENT"
    assert "is not compatible with expected shape [?,8,8,1]" in text
    status, rest_text = server.predict_error("guarded", {"inputs": batch.tolist()})
    assert status == 400
    assert rest_text.split(" [[")[0] == text.split(" [[")[0]
    if batch.ndim and len(batch):
        assert server.predict_error("guarded", {"instances": batch.tolist()})[0] == 400
    require_right_answers(server, client, answers)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_a_wrong_dtype_is_an_invalid_argument_over_grpc(
    server: Running, client: Grpc, answers: dict[str, np.ndarray], dtype: type
) -> None:
    """Rule 3.3, check 7; JSON has no float64, and integers are numbers there."""
    batch = answers["samples"].astype(dtype)
    code, text = failure(client.prediction.Predict, predict_request("guarded", image=batch))
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("Expects arg[0] to be float but ")
    require_right_answers(server, client, answers)


@pytest.mark.parametrize("value", [True, "1", None, {"b64": "YQ=="}], ids=str)
def test_a_wrong_json_type_is_an_invalid_argument_over_rest(
    server: Running, client: Grpc, answers: dict[str, np.ndarray], value: object
) -> None:
    batch = answers["samples"].tolist()
    batch[1][3][4][0] = value
    for form in ("instances", "inputs"):
        status, text = server.predict_error("guarded", {form: batch})
        assert (status, text.endswith("is not of expected type: float")) == (400, True)
    require_right_answers(server, client, answers)
