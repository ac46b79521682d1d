"""Warm-up records: what is in them, and what is left of them for a server with small batches."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from serving import warmup
from serving.client.tensors import decode

SAMPLES = {"image": np.arange(24, dtype=np.float32).reshape(3, 2, 4), "text": np.array(["a", "b", "ü"], object)}


def test_requests_hold_every_input_in_batches_that_repeat_the_samples(tmp_path: Path) -> None:
    warmup.write(tmp_path, SAMPLES, (1, 4))
    one, four = (record.predict_log.request for record in warmup.read(tmp_path))
    assert one.inputs["image"].tensor_content == SAMPLES["image"][:1].tobytes()
    assert decode(four.inputs["image"]).tolist() == SAMPLES["image"][[0, 1, 2, 0]].tolist()
    assert list(four.inputs["text"].string_val) == [b"a", b"b", "ü".encode(), b"a"]
    for request in (one, four):  # what our client and REST ask for: all outputs
        assert (request.model_spec.signature_name, list(request.output_filter)) == ("serving_default", [])


def test_records_of_equal_samples_are_equal_bytes(tmp_path: Path) -> None:
    turned = dict(reversed(SAMPLES.items()))
    first, second = (warmup.write(tmp_path / name, given, (1, 2)) for name, given in (("a", SAMPLES), ("b", turned)))
    assert first.read_bytes() == second.read_bytes()


def test_limit_leaves_out_what_a_servers_batches_cannot_take_and_spares_what_it_was_linked_to(tmp_path: Path) -> None:
    file = warmup.write(tmp_path / "1", SAMPLES, (1, 8, 32))
    before, other = file.read_bytes(), tmp_path / "linked"
    os.link(file, other)
    assert warmup.limit(tmp_path / "1", 8) == (32,)
    assert [warmup.batch(record) for record in warmup.read(tmp_path / "1")] == [1, 8]
    assert warmup.limit(tmp_path / "1", 8) == ()
    assert other.read_bytes() == before
    assert warmup.limit(tmp_path / "1", 0) == (1, 8)
    assert not file.exists()
    assert warmup.limit(tmp_path / "1", 8) == ()
