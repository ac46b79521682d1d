"""What is malformed has its code and harms nothing, and no rank ends the process (3.3 to 3.6, 4.1 to 4.6)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf

from tests.benchmarks.malformed import runner
from tests.benchmarks.malformed.__main__ import CLIENTS, served
from tests.serving.server.asking import Grpc, failure, predict_request
from tests.serving.server.running import Running

INVALID, EXHAUSTED = "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"
IMAGE = np.ones((1, 8, 8, 1), np.float32)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that has to survive everything here."""
    with served(tmp_path_factory.mktemp("malformed")) as running:
        yield running
        assert running.process.poll() is None, running.err


@pytest.fixture(scope="module")
def stubs(hostile: Running) -> Iterator[Grpc]:
    with Grpc(hostile.port) as connected:
        yield connected


@pytest.mark.rule("3.3", "3.4", "3.5", "3.6", "4.1", "4.2", "4.6")
def test_malformed_requests_get_the_code_of_the_specification_and_take_no_memory(hostile: Running, stubs: Grpc) -> None:
    result = runner.run(hostile.process.pid, hostile.port, hostile.rest_port, 5000, seed=0, clients=CLIENTS)
    assert not result.wrong, result.wrong[:20]
    assert len(result.outcomes) == 5000
    assert result.memory_is_kept, result.memory
    assert stubs.predict(predict_request("half", x=np.ones(1, np.float32)))["y"] == [2.5]
    assert hostile.predict("half", {"instances": [1]}) == {"predictions": [2.5]}


@pytest.mark.rule("3.4")
@pytest.mark.parametrize("shape", [(), (8,), (8, 8), (8, 8, 1), (0, 0, 0), (1, 1, 8, 8, 1), (1,) * 32], ids=str)
@pytest.mark.parametrize("signature", ["serving_default", "loop", "branch"])
def test_a_rank_that_would_end_the_process_is_refused_with_the_kernels_words(
    hostile: Running, stubs: Grpc, signature: str, shape: tuple[int, ...]
) -> None:
    """The convolution is in a function, in the body of a loop, in a branch."""
    request = predict_request("convolution", signature, image=np.ones(shape, np.float32))
    sizes = ",".join(map(str, shape))
    expected = f"convolution input must be 4-dimensional: [{sizes}]"
    assert failure(stubs.prediction.Predict, request) == (INVALID, expected)
    body = {"signature_name": signature, "inputs": np.ones(shape).tolist()}
    if np.prod(shape):
        assert hostile.predict_error("convolution", body) == (400, expected)
    assert stubs.predict(predict_request("convolution", signature, image=IMAGE))["y"].shape[0] == 1


@pytest.mark.rule("3.4")
def test_a_rank_is_not_refused_when_the_kernels_take_it(stubs: Grpc) -> None:
    """A reshape before a convolution, before a dense layer, and a placeholder of unknown rank."""
    for shape in ((64,), (1, 64), (8, 8), (1, 8, 8, 1), (2, 2, 4, 2, 2)):
        found = stubs.predict(predict_request("convolution", "flat", image=np.ones(shape, np.float32)))
        assert found["y"].tolist() == stubs.predict(predict_request("convolution", image=IMAGE))["y"].tolist()
        assert stubs.predict(predict_request("flatten", x=np.ones(shape, np.float32)))["y"].shape == (4, 3)
        assert stubs.predict(predict_request("graph1", x=np.ones(shape, np.float32)))["y"].shape == shape
    request = predict_request("convolution", "flat", image=np.ones(3, np.float32))
    code, text = failure(stubs.prediction.Predict, request)
    told = "Input to reshape is a tensor with 3 values, but the requested shape requires a multiple of 64"
    assert (code, text.partition("\n")[0]) == (INVALID, told)


@pytest.mark.rule("3.4")
def test_a_depth_that_would_end_the_process_is_refused(stubs: Grpc) -> None:
    """x * sigmoid(x) is one kernel of oneDNN, which has 12 dimensions; beyond 32 there is no array."""
    deep = np.ones((1,) * 12, np.float32)
    assert stubs.predict(predict_request("convolution", "swish", image=deep))["y"].shape == deep.shape
    code, text = failure(stubs.prediction.Predict, predict_request("convolution", "swish", image=deep[None]))
    assert (code, text) == (INVALID, "this model cannot take tensors of more than 12 dimensions: 13")
    assert stubs.predict(predict_request("half", x=np.ones((1,) * 32, np.float32)))["y"].shape == (1,) * 32
    tensor = tf.make_tensor_proto(np.array([b"x"]), shape=(1,) * 33)
    expected = (INVALID, "tensor parsing error: s")
    assert failure(stubs.prediction.Predict, predict_request("text", s=tensor)) == expected


@pytest.mark.rule("3.5")
@pytest.mark.parametrize("values", [[], [1.0]])
def test_little_that_claims_to_be_much_is_refused_before_memory_is_taken(stubs: Grpc, values: list[float]) -> None:
    tensor = tf.make_tensor_proto(np.zeros(0, np.float32), shape=[0])
    tensor.float_val.extend(values)
    for size, expected in ((2**31, EXHAUSTED), (2**40, EXHAUSTED), (2**62, EXHAUSTED)):
        tensor.tensor_shape.dim[0].size = size
        code, text = failure(stubs.prediction.Predict, predict_request("half", x=tensor))
        assert (code, text.partition(":")[0]) == (expected, f"a tensor of {size} elements is not made of "
                                                            f"{len(values)} values")  # fmt: skip
    tensor.tensor_shape.dim[0].size = 2**20
    assert stubs.predict(predict_request("half", x=tensor))["y"].size == 2**20


def test_a_kernels_text_is_an_answer_when_it_holds_bytes_that_are_no_utf8(hostile: Running, stubs: Grpc) -> None:
    request = predict_request("number", s=np.array([b"\xff\xfe"], object))
    code, text = failure(stubs.prediction.Predict, request)
    assert (code, "StringToNumberOp could not correctly convert string: \ufffd\ufffd" in text) == (INVALID, True)
    assert hostile.predict_error("number", {"inputs": [{"b64": "//4="}]})[0] == 400
