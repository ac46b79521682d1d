"""What counts as malformed, and how a predictor that takes it in this or that way is judged; no server here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.errors import RejectedError, ServerError, UnavailableError
from pipeline.measuring import guard
from pipeline.measuring.guard import Guard, Malformed, malformed
from pipeline.predictor import Spec, classifier
from tests.pipeline.formats import text

SHAPES = [(8, 8, 1), (28, 28, 3), (64,), (1,), (2,), (2, 2), (1, 1, 1), (2, 1, 2, 1), (3, 5, 7, 2)]


def _spec(shape: tuple[int, ...]) -> Spec:
    return classifier("image", shape, (0.0, 1.0), ("a", "b"))


SPEC = _spec((8, 8, 1))
SAMPLE = np.arange(192, dtype=np.float32).reshape(3, 8, 8, 1)


def _is_right(batch: np.ndarray, spec: Spec) -> bool:
    return batch.dtype == np.float32 and batch.ndim == len(spec.input.shape) + 1 and batch.shape[1:] == spec.input.shape


@pytest.mark.parametrize("shape", SHAPES)
def test_no_malformed_request_is_right_by_accident_and_none_comes_twice(shape: tuple[int, ...]) -> None:
    requests = malformed(_spec(shape))
    assert not [request for request in requests if _is_right(request.batch(_spec(shape)), _spec(shape))]
    assert len({(request.shape, request.dtype) for request in requests}) == len(requests)
    assert len({str(request) for request in requests}) == len(requests)


@pytest.mark.parametrize("shape", SHAPES)
def test_malformed_requests_have_every_wrong_rank_size_and_type(shape: tuple[int, ...]) -> None:
    requests = malformed(_spec(shape))
    found = {request.shape for request in requests}
    right = len(shape) + 1
    assert {len(one) for one in found} == set(range(right + 2))
    assert shape in found
    for axis, size in enumerate(shape):
        for wrong in (size - 1, size + 1, 2 * size):
            assert (2, *shape[:axis], wrong, *shape[axis + 1 :]) in found
    for channels in {1, 2, 3, 4} - {shape[-1]}:
        assert (2, *shape[:-1], channels) in found
    if len(shape) > 1:
        assert (2, int(np.prod(shape))) in found
    types = {request.dtype for request in requests if request.shape == (2, *shape)}
    assert types == {"float64", "int32", "int64", "uint8", "bool", "string"}


def test_malformed_requests_have_the_sizes_in_another_order() -> None:
    found = {request.shape for request in malformed(_spec((3, 5, 2)))}
    assert {(2, 5, 3, 2), (2, 2, 5, 3), (2, 3, 2, 5), (2, 2, 3, 5), (3, 2, 5, 2)} <= found


def test_malformed_request_is_zeros_of_its_shape_and_type_and_says_what_is_wrong() -> None:
    request = Malformed("type string", (2, 3), "string")
    assert request.batch(_spec((3,))).tolist() == [[b""] * 3] * 2
    assert Malformed("type bool", (1,), "bool").batch(_spec((3,))).tolist() == [False]
    assert Malformed("rank 1", (4,)).batch(_spec((3,))).dtype == np.float32
    assert str(request) == "a request of shape [2, 3] (type string)"


def test_malformed_texts_have_every_wrong_rank_and_type_and_none_is_right_by_accident() -> None:
    requests = malformed(text.SPEC)
    assert {len(request.shape) for request in requests} == {0, 1, 2}
    assert {request.dtype for request in requests if len(request.shape) != 1} == {"string"}
    assert {request.dtype for request in requests if len(request.shape) == 1} == {
        "float32", "int32", "int64", "uint8", "bool"
    }  # fmt: skip
    assert len({(request.shape, request.dtype) for request in requests}) == len(requests)


def test_right_requests_beside_a_malformed_one_are_texts_where_texts_go_in() -> None:
    spec = Spec((*text.SPEC.inputs, *SPEC.inputs), text.SPEC.heads)
    batches = [request.batch(spec) for request in malformed(spec) if request.input == "image"]
    assert all(isinstance(batch, dict) and batch["text"].tolist() == [b"", b""] for batch in batches)


class Server:
    """Answers the sum of each sample; refuses what is malformed, except for what `exception` does with it."""

    def __init__(self, exception: Callable[[np.ndarray], dict[str, np.ndarray] | None] = lambda _: None) -> None:
        self.exception = exception
        self.batches: list[np.ndarray] = []

    def predict(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        self.batches.append(batch)
        outcome = self.exception(batch)
        if outcome is not None:
            return outcome
        if not _is_right(batch, SPEC):
            raise RejectedError("m refuses the request", code="INVALID_ARGUMENT", found="INVALID_ARGUMENT: shape")
        return {"logits": batch.reshape(len(batch), -1)[:, :2]}

    def close(self) -> None:
        pass


def _fails(shape: tuple[int, ...], kind: type[ServerError], code: str) -> Server:
    def exception(batch: np.ndarray) -> None:
        if batch.shape == shape:
            raise kind("m does something", code=code, found=f"{code}: the server's text")

    return Server(exception)


def test_guard_has_no_problems_when_all_is_refused_and_each_right_request_answered_as_before() -> None:
    server = Server()
    assert guard.check(server, SPEC, SAMPLE, "grpc") == Guard(len(malformed(SPEC)), (), False)
    assert [request.shape for request in malformed(SPEC)] == [batch.shape for batch in server.batches[1::2]]
    assert all(batch is SAMPLE for batch in server.batches[::2])


def test_guard_sends_over_rest_what_json_can_say() -> None:
    server = Server()
    found = guard.check(server, SPEC, SAMPLE, "rest")
    sent = server.batches[1::2]
    assert found.requests == len(sent)
    assert {batch.dtype.name for batch in sent} == {"float32", "bool", "bytes8"}
    assert not [batch for batch in sent if batch.size == 0]
    assert {batch.shape for batch in sent} >= {(), (8, 8, 1), (2, 8, 8, 2)}


def test_guard_says_which_request_was_answered() -> None:
    server = Server(lambda batch: {"logits": np.ones((2, 2))} if batch.shape == (2, 8, 8, 2) else None)
    found = guard.check(server, SPEC, SAMPLE, "grpc")
    assert found.problems == ("a request of shape [2, 8, 8, 2] (dimension 3 more) was answered",)
    assert (found.died, found.requests) == (False, len(malformed(SPEC)))
    assert all(batch is SAMPLE for batch in server.batches[::2])  # also after that one


@pytest.mark.parametrize(
    ("kind", "code"),
    [(ServerError, "INTERNAL"), (RejectedError, "UNIMPLEMENTED")],
)
def test_guard_says_the_code_and_the_text_when_the_code_is_another(kind: type[ServerError], code: str) -> None:
    found = guard.check(_fails((2, 64), kind, code), SPEC, SAMPLE, "rest")
    assert found.problems == (
        "a request of shape [2, 64] (samples flattened) was not refused with INVALID_ARGUMENT, "
        f"but got {code}: the server's text",
    )
    assert not found.died


def test_guard_ends_when_the_server_is_gone_after_a_malformed_request() -> None:
    server = _fails((8, 8), UnavailableError, "UNAVAILABLE")
    found = guard.check(server, SPEC, SAMPLE, "grpc")
    assert found.problems == ("the server was gone after a request of shape [8, 8] (rank 2)",)
    assert found.died
    assert found.requests == len(server.batches[1::2]) < len(malformed(SPEC))


def test_guard_ends_when_the_server_is_gone_at_the_right_request_that_follows() -> None:
    server = Server()

    def gone(batch: np.ndarray) -> None:
        if _is_right(batch, SPEC) and server.batches[-2:-1] and server.batches[-2].shape == (8, 8):
            raise UnavailableError("m does not answer", code="UNAVAILABLE")

    server.exception = gone
    found = guard.check(server, SPEC, SAMPLE, "grpc")
    assert found.problems == ("the server was gone after a request of shape [8, 8] (rank 2)",)
    assert found.died


@pytest.mark.parametrize("code", ["DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"])
def test_guard_gives_up_when_the_server_hangs_or_is_overloaded_because_that_is_no_word_on_the_model(code: str) -> None:
    server = _fails((8, 8), UnavailableError, code)
    with pytest.raises(UnavailableError) as caught:
        guard.check(server, SPEC, SAMPLE, "grpc")
    assert caught.value.code == code
    assert caught.value.transient


def test_guard_says_when_a_right_request_is_refused_or_answered_otherwise_afterwards() -> None:
    server = Server()

    def damaged(batch: np.ndarray) -> dict[str, np.ndarray] | None:
        before = server.batches[-2].shape if len(server.batches) > 1 else None
        if before == (8, 8):
            raise ServerError("m failed", code="INTERNAL", found="INTERNAL: no memory")
        if before == (2, 8):
            return {"logits": batch.reshape(3, -1)[:, :2] + np.float32(0.01)}
        return None

    server.exception = damaged
    assert guard.check(server, SPEC, SAMPLE, "grpc").problems == (
        "after a request of shape [8, 8] (rank 2) a right request was not answered, but got INTERNAL: no memory",
        "after a request of shape [2, 8] (rank 2) a right request was answered otherwise than before",
    )


def test_guard_asks_nothing_when_the_first_right_request_fails() -> None:
    with pytest.raises(RejectedError):
        guard.check(_fails(SAMPLE.shape, RejectedError, "NOT_FOUND"), SPEC, SAMPLE, "grpc")


def test_malformed_token_ids_are_wrong_in_shape_or_in_type_where_no_strings_are_taken() -> None:
    length = text.SPEC.input.shape[0]
    requests = malformed(text.SPEC, strings=False)
    wrong_types = [request.dtype for request in requests if request.shape == (2, length)]
    assert wrong_types == ["float32", "float64", "int64", "uint8", "bool", "string"]
    shapes = {request.shape: request.dtype for request in requests if request.shape != (2, length)}
    assert {(), (length,), (2, length - 1), (2, length + 1)} <= shapes.keys()
    assert set(shapes.values()) == {"int32"}
