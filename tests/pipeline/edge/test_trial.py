"""The calls of a trial: each with a deadline of its own, and kept."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from pipeline.edge.trial import KERNELS, Trial
from pipeline.isolate import Child, CrashError
from pipeline.parts import Parts
from tests.pipeline.edge import small
from tests.pipeline.formats import tiny


class Nobody:
    """A child that must not be called."""

    def call(self, *_: object) -> None:
        raise AssertionError("it was answered before")


def test_interrupted_trial_goes_on_with_what_was_answered(child: Child, files: Path, tmp_path: Path) -> None:
    file, samples = files / small.INT8_ENDS, tiny.samples(8, seed=1)
    first = Trial(file, samples, child, 120, Parts(tmp_path))
    ran = first.in_micro()
    found = [first.beside_litert(ran, kernels) for kernels in KERNELS]
    again = Trial(file, samples, Nobody(), 120, Parts(tmp_path))  # type: ignore[arg-type]
    kept = again.in_micro()
    assert kept.arena == ran.arena
    for one, other in zip(dataclasses.astuple(kept)[:2], dataclasses.astuple(ran)[:2], strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    assert [again.beside_litert(kept, kernels) for kernels in KERNELS] == found


def test_call_that_is_not_done_by_the_deadline_names_the_key(files: Path, tmp_path: Path) -> None:
    with Child(deadline_s=0.2, memory_mb=None) as child:
        trial = Trial(files / small.INT8_ENDS, tiny.samples(8, seed=1), child, 0.2, Parts(tmp_path))
        with pytest.raises(CrashError, match=r"--set edge\.deadline_s=SECONDS") as error:
            trial.in_micro()
    assert error.value.transient
    assert list(tmp_path.iterdir()) == []
