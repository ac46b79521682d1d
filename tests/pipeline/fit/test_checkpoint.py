from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import DiskError
from pipeline.files import DamagedError
from pipeline.fit import checkpoint

GROUPS = {"weights": [np.arange(6, dtype=np.float32).reshape(2, 3), np.float32([])], "optimizer": [np.int64(7)]}


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_checkpoint_survives_a_round_trip_with_dtypes_and_order(tmp_path: Path) -> None:
    many = {**GROUPS, "best": [np.full(2, place) for place in range(12)]}
    checkpoint.save(tmp_path / "new", 3, many, {"metrics": {"loss": [0.1]}})
    loaded = checkpoint.load(tmp_path / "new", 3)
    for name, group in many.items():
        for before, after in zip(group, loaded.groups[name], strict=True):
            assert np.array_equal(before, after)
            assert np.asarray(before).dtype == after.dtype
    assert (loaded.epoch, loaded.facts) == (3, {"metrics": {"loss": [0.1]}})


def test_the_one_before_is_kept_and_all_others_go(tmp_path: Path) -> None:
    (tmp_path / "epoch-000001.npz.part").write_bytes(b"left by a kill")
    (tmp_path / "notes.txt").write_text("not ours")
    for epoch in (1, 2, 10):
        checkpoint.save(tmp_path, epoch, GROUPS, {})
    assert checkpoint.epochs(tmp_path) == [10, 2]
    kept = ["epoch-000002.json", "epoch-000002.npz", "epoch-000010.json", "epoch-000010.npz", "notes.txt"]
    assert _names(tmp_path) == kept


def test_newer_ones_go_when_an_earlier_epoch_is_saved_because_they_could_not_be_used(tmp_path: Path) -> None:
    for epoch in (7, 8, 1):
        checkpoint.save(tmp_path, epoch, GROUPS, {})
    assert checkpoint.epochs(tmp_path) == [1]


def test_there_are_no_epochs_when_the_folder_is_empty_or_absent(tmp_path: Path) -> None:
    assert checkpoint.epochs(tmp_path) == checkpoint.epochs(tmp_path / "absent") == []


def _without_arrays(folder: Path) -> None:
    (folder / "epoch-000002.npz").unlink()


def _cut_off(folder: Path) -> None:
    arrays = folder / "epoch-000002.npz"
    arrays.write_bytes(arrays.read_bytes()[:-10])


def _one_bit(folder: Path) -> None:
    arrays = folder / "epoch-000002.npz"
    content = bytearray(arrays.read_bytes())
    content[len(content) // 2] ^= 1
    arrays.write_bytes(content)


def _garbled(folder: Path) -> None:
    (folder / "epoch-000002.json").write_text('{"epoch": 2')


def _of_another_kind(folder: Path) -> None:
    (folder / "epoch-000002.json").write_text("[]")


def _edited(folder: Path) -> None:
    facts = folder / "epoch-000002.json"
    facts.write_text(facts.read_text().replace("0.25", "0.75"))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_without_arrays, "epoch-000002.npz is missing"),
        (_cut_off, "epoch-000002.npz was changed or cut off"),
        (_one_bit, "epoch-000002.npz was changed or cut off"),
        (_garbled, "epoch-000002.json cannot be read"),
        (_of_another_kind, "epoch-000002.json cannot be read"),
        (_edited, "epoch-000002.json was changed"),
    ],
)
def test_damaged_checkpoint_is_refused_with_the_reason_and_the_one_before_is_whole(
    tmp_path: Path, damage: Any, reason: str
) -> None:
    for epoch in (1, 2):
        checkpoint.save(tmp_path, epoch, GROUPS, {"lr_factor": 0.25})
    damage(tmp_path)
    with pytest.raises(DamagedError, match=reason):
        checkpoint.load(tmp_path, 2)
    assert checkpoint.epochs(tmp_path) == [2, 1]
    assert checkpoint.load(tmp_path, 1).facts == {"lr_factor": 0.25}


def test_old_checkpoint_stays_and_the_disk_is_named_when_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, 1, GROUPS, {})

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(DiskError, match=f"cannot write {tmp_path}") as refused:
        checkpoint.save(tmp_path, 2, GROUPS, {})
    assert "free some space" in refused.value.todo
    assert checkpoint.epochs(tmp_path) == [1]
    assert checkpoint.load(tmp_path, 1).epoch == 1
