"""Which batching parameters are worth a try."""

from __future__ import annotations

import pytest

from pipeline.batching.candidates import NONE, Candidate, Scaling, padded, worth_a_try
from serving.config import BatchingConfig

# a batch costs 4 ms and 0.5 ms a sample
CHEAP = Scaling(tuple((n, 0.004 + 0.0005 * n) for n in (1, 8, 32)))


def sizes(found: list[Candidate]) -> set[int | None]:
    return {one.batching.max_batch_size for one in found if one.batching}


def test_seconds_of_a_batch_go_on_in_straight_lines_beyond_what_was_measured() -> None:
    assert CHEAP.at(16) == pytest.approx(0.012)
    assert CHEAP.at(64) == pytest.approx(0.036)
    assert CHEAP.gain(32) == pytest.approx(32 * 4.5 / 20)


def test_batches_that_alone_take_longer_than_the_bound_are_not_tried() -> None:
    found, why = worth_a_try(CHEAP, 0.021, None, cores=2, at_once=64, most=99)
    assert sizes(found) == {2, 4, 8, 16, 32}
    assert why == ["batches of 64 take longer than the bound of 21 ms"]
    waits = {one.batching.batch_timeout_micros for one in found if one.batching and one.batching.max_batch_size == 32}
    assert waits == {0}  # with a wait of a twentieth of the bound they would be late as well


def test_batches_that_cannot_keep_up_with_the_rate_are_not_tried() -> None:
    found, why = worth_a_try(CHEAP, 0.1, 1100, cores=1, at_once=64, most=99)
    assert sizes(found) == {16, 32, 64}
    assert why == ["batches of 2, 4, 8 cannot keep up with 1100/s"]


def test_batches_larger_than_what_the_server_takes_at_once_are_not_tried() -> None:
    found, why = worth_a_try(CHEAP, 0.1, None, cores=2, at_once=8, most=99)
    assert sizes(found) == {2, 4, 8}
    assert why == ["batches of 16, 32, 64 never fill: the server takes 8 requests at once"]


def test_batches_that_save_nothing_per_sample_are_not_tried() -> None:
    linear = Scaling(tuple((n, 0.002 * n) for n in (1, 8, 32)))
    found, why = worth_a_try(linear, 1.0, None, cores=2, at_once=64, most=99)
    assert sizes(found) == {2}
    assert why == ["batches of 4, 8, 16, 32, 64 cost as much per sample as those of 2"]


def test_every_wait_and_number_of_threads_has_its_most_promising_size_first() -> None:
    found, why = worth_a_try(CHEAP, 0.04, None, cores=2, at_once=64, most=6)
    kinds = {(one.batching.batch_timeout_micros, one.batching.num_batch_threads) for one in found if one.batching}
    assert len(found) == len(kinds) == 6
    # a request that has just missed a batch waits for two: 2 x 20 ms are the bound
    assert {one.batching.max_batch_size for one in found[:2] if one.batching} == {32}
    assert "more combinations" in why[-1]


def test_queue_takes_as_many_batches_as_could_still_begin_in_time() -> None:
    found, _ = worth_a_try(CHEAP, 0.1, None, cores=2, at_once=64, most=99)
    queues = {
        one.batching.num_batch_threads: one.batching.max_enqueued_batches
        for one in found
        if one.batching and one.batching.max_batch_size == 32
    }
    assert queues == {1: 4, 2: 8}  # (100 - 20) ms / 20 ms a thread


def test_padded_twin_has_the_powers_of_two_up_to_the_size_and_no_twin_of_its_own() -> None:
    (twin,) = padded(Candidate(BatchingConfig(max_batch_size=12)))
    assert twin.batching is not None
    assert twin.batching.allowed_batch_sizes == (1, 2, 4, 8, 12)
    assert "padded to 1/2/4/8/12" in twin.name
    assert list(padded(twin)) == list(padded(NONE)) == []
