"""Batching parameters from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.events import Event
from pipeline.image import batching
from pipeline.measuring.measure_config import Config


def written(folder: Path, text: str) -> Path:
    file = folder / "batching_parameters.txt"
    file.write_text(text, encoding="utf-8")
    return file


def test_measurement_asks_for_nothing_larger_than_the_servers_batches(tmp_path: Path) -> None:
    notes: list[Event] = []
    found = batching.fitted(Config(), written(tmp_path, "max_batch_size { value: 16 }"), notes.append)
    assert (found.batch_size, found.latency.batch_size) == (16, 16)
    assert "max_batch_size 16" in str(notes)
    assert batching.fitted(Config(), written(tmp_path, "max_batch_size { value: 999 }"), notes.append) == Config()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "found with --grpc_max_threads=64, which this server lacks ("),
        (("--grpc_max_threads=32",), "lacks, and without --grpc_max_threads=32, which this server has ("),
        (("--grpc_max_threads=64",), ""),
    ],
)
def test_flags_that_the_parameters_were_not_found_with_are_said(
    flags: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    file = written(tmp_path, "max_batch_size { value: 16 }")
    notes: list[Event] = []
    batching.compare_flags(file, flags, notes.append)
    assert notes == []  # nothing beside it: it was written by hand
    file.with_suffix(".json").write_text('{"flags": ["--grpc_max_threads=64"]}', encoding="utf-8")
    batching.compare_flags(file, flags, notes.append)
    assert [words in str(note) and "search again" in str(note) for note in notes] == [True] * bool(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_batch_size: 16", "max_batch_size"),
        ("max_batch_size { value: 1 }", "nothing would be batched"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "Last entry in allowed_batch_sizes"),
    ],
)
def test_file_that_no_queue_can_follow_is_refused_with_the_reason(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        batching.most(written(tmp_path, text))
    assert words in str(caught.value)
    assert "leave --batching out" in str(caught.value)
