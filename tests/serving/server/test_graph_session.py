"""A SavedModel in a session: quick runs in the thread that asks, deadlines all the same (3.4, 3.7)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from serving.server.sessions import graph as graph_session
from serving.server.status import StatusError


def load(path: Path) -> tuple[graph_session.GraphSession, str, str]:
    """Return a session, and what its default signature feeds and fetches."""
    session, signatures = graph_session.load(path, ["serve"], tf.compat.v1.ConfigProto())
    signature = signatures["serving_default"]
    (feed,), (fetch,) = signature.inputs.values(), signature.outputs.values()
    return session, feed.name, fetch.name


@pytest.mark.rule("3.4")
@pytest.mark.parametrize("timeout_ms", [None, 30_000])
def test_answers_are_the_same_when_a_graph_has_turned_out_to_be_quick(models: Path, timeout_ms: int | None) -> None:
    session, feed, fetch = load(models / "half" / "1")
    for size in (1, 100, 7, 0, 3):
        for _ in range(20):
            (found,) = session.run({feed: np.arange(size, dtype=np.float32)}, [fetch], timeout_ms)
            assert found.tolist() == [number / 2 + 2 for number in range(size)]
    (matrix,) = session.run({feed: np.ones((2, 1), np.float32)}, [fetch], timeout_ms)
    assert matrix.tolist() == [[2.5], [2.5]]
    with pytest.raises(StatusError, match=r"INVALID_ARGUMENT: Expects arg\[0\] to be float but double is provided"):
        session.run({feed: np.ones(1)}, [fetch], timeout_ms)


@pytest.mark.rule("3.7")
def test_a_run_is_given_up_at_its_deadline_when_earlier_ones_of_the_same_size_were_quick(models: Path) -> None:
    session, feed, fetch = load(models / "slow" / "1")
    for _ in range(50):
        assert session.run({feed: np.array(3)}, [fetch], 10_000)[0] == 3
    with pytest.raises(StatusError, match="DEADLINE_EXCEEDED"):
        session.run({feed: np.array(2**60)}, [fetch], 300)


def test_a_graph_is_bounded_unless_it_loops_or_waits_for_others() -> None:
    def graph(*operations: str, inside: str = "Add") -> tf.compat.v1.GraphDef:
        found = tf.compat.v1.GraphDef()
        for operation in operations:
            found.node.add(op=operation)
        found.library.function.add().node_def.add(op=inside)
        return found

    assert graph_session._bounded(graph("Conv2D", "PartitionedCall", "If", "MatMul"))
    for operation in ("While", "StatelessWhile", "Enter", "PyFunc", "EagerPyFunc", "QueueDequeueV2", "IteratorGetNext"):
        assert not graph_session._bounded(graph("Add", operation))
        assert not graph_session._bounded(graph("Add", inside=operation))
