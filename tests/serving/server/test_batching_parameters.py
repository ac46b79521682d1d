"""BatchingParameters in text format (rule 7), as they are read and refused; no TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving import layout
from serving.config import BatchingConfig
from serving.server import flags
from serving.server.batching import parameters as batching_parameters
from serving.server.batching.parameters import Parameters
from serving.server.status import StatusError


def read(folder: Path, text: str) -> Parameters:
    path = folder / "batching.config"
    path.write_text(text)
    return batching_parameters.read(path)


@pytest.mark.rule("7")
def test_parameters_are_read_as_tf_serving_writes_them(tmp_path: Path) -> None:
    text = """
        max_batch_size { value: 128 } batch_timeout_micros { value: 1000 } max_enqueued_batches { value: 3 }
        num_batch_threads { value: 5 } thread_pool_name { value: "any" } allowed_batch_sizes: 8
        allowed_batch_sizes: 128 pad_variable_length_inputs: true  # a comment
        enable_large_batch_splitting { value: true } max_execution_batch_size { value: 16 }
    """
    expected = Parameters(128, 1000, 3, 5, (8, 128), True, True, 16)
    assert read(tmp_path, text) == expected
    assert (expected.execution_size, read(tmp_path, "max_batch_size { value: 7 }").execution_size) == (16, 7)


@pytest.mark.rule("7")
def test_defaults_are_those_of_rule_7_when_nothing_is_set(tmp_path: Path) -> None:
    found = read(tmp_path, "")
    assert (found.max_batch_size, found.batch_timeout_micros, found.max_enqueued_batches) == (1000, 0, 10)
    assert found.num_batch_threads == flags.cpus()
    assert (found.allowed_batch_sizes, found.pad_variable_length_inputs, found.execution_size) == ((), False, 1000)


def test_what_a_recipe_says_is_read_as_it_was_meant(tmp_path: Path) -> None:
    config = BatchingConfig(max_batch_size=8, batch_timeout_micros=5, num_batch_threads=2, allowed_batch_sizes=(4, 8),
                            pad_variable_length_inputs=True)  # fmt: skip
    written = layout.write(layout.Deployment("m", {}, 1, 1, config), tmp_path, str(tmp_path))
    found = batching_parameters.of(flags.parse(written).values)
    assert found == Parameters(8, 5, 10, 2, (4, 8), True)


@pytest.mark.rule("7", "1.2")
def test_nothing_is_batched_when_the_flag_is_not_given() -> None:
    assert batching_parameters.of(flags.parse(["--enable_per_model_batching_parameters"]).values) is None
    assert batching_parameters.of(flags.parse(["--enable_batching"]).values) == Parameters()


@pytest.mark.parametrize("text", ["max_batch_size: 3", "max_batch: 3", "max_batch_size {", "\x00\xff"])
def test_a_file_is_refused_when_it_does_not_parse(tmp_path: Path, text: str) -> None:
    with pytest.raises(StatusError, match=r"INVALID_ARGUMENT: Invalid protobuf file: '.*/batching.config'"):
        read(tmp_path, text)


@pytest.mark.rule("7")
@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"max_batch_size": 8, "allowed_batch_sizes": (2, 4)}, "Last entry in allowed_batch_sizes must match "
         "max_batch_size; last entry was 4; expected 8"),
        ({"allowed_batch_sizes": (2, 4)}, "last entry was 4; expected 1000"),
        ({"max_batch_size": 0}, "input_batch_size_limit must be positive; was 0"),
        ({"batch_timeout_micros": -1}, "batch_timeout_micros must be non-negative; was -1"),
        ({"enable_large_batch_splitting": True, "max_enqueued_batches": 0}, "max_enqueued_batches must be positive"),
        ({"enable_large_batch_splitting": True, "max_batch_size": 4, "max_execution_batch_size": 8},
         "input_batch_size_limit must be greater than or equal to max_execution_batch_size"),
    ],
)  # fmt: skip
def test_parameters_are_refused_when_no_queue_can_follow_them(given: dict[str, Any], text: str) -> None:
    with pytest.raises(StatusError, match=f"INVALID_ARGUMENT: .*{text}"):
        Parameters(**given).check()
    Parameters().check()
