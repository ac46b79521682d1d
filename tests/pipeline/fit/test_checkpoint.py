from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import DiskError
from pipeline.fit import checkpoint

GROUPS = {"weights": [np.arange(6, dtype=np.float32).reshape(2, 3), np.float32([])], "optimizer": [np.int64(7)]}


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_checkpoint_survives_a_round_trip_with_dtypes_and_order(tmp_path: Path) -> None:
    many = {**GROUPS, "best": [np.full(2, place) for place in range(12)]}
    checkpoint.save(tmp_path / "new", 3, many, {"metrics": {"loss": [0.1]}})
    loaded = checkpoint.load(tmp_path / "new")
    assert loaded is not None
    arrays, facts = loaded
    for name, group in many.items():
        for before, after in zip(group, arrays[name], strict=True):
            assert np.array_equal(before, after)
            assert np.asarray(before).dtype == after.dtype
    assert (facts["epoch"], facts["metrics"]) == (3, {"loss": [0.1]})


def test_older_checkpoints_are_removed_when_the_new_one_is_there(tmp_path: Path) -> None:
    (tmp_path / "epoch-000001.npz.part").write_bytes(b"left by a kill")
    (tmp_path / "notes.txt").write_text("not ours")
    for epoch in (1, 2, 10):
        checkpoint.save(tmp_path, epoch, GROUPS, {})
    assert _names(tmp_path) == ["epoch-000010.json", "epoch-000010.npz", "notes.txt"]


def test_checkpoint_is_none_when_the_folder_is_empty_or_absent(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path) is None
    assert checkpoint.load(tmp_path / "absent") is None


def _without_arrays(folder: Path) -> None:
    (folder / "epoch-000002.npz").unlink()


def _cut_off(folder: Path) -> None:
    arrays = folder / "epoch-000002.npz"
    arrays.write_bytes(arrays.read_bytes()[:-10])


def _garbled(folder: Path) -> None:
    (folder / "epoch-000002.json").write_text('{"epoch": 2')


def _of_another_kind(folder: Path) -> None:
    (folder / "epoch-000002.json").write_text("[]")


@pytest.mark.parametrize("damage", [_without_arrays, _cut_off, _garbled, _of_another_kind])
def test_last_whole_checkpoint_is_used_when_a_newer_one_is_damaged(tmp_path: Path, damage: Any) -> None:
    checkpoint.save(tmp_path / "one", 1, GROUPS, {})
    checkpoint.save(tmp_path, 2, GROUPS, {})
    for path in (tmp_path / "one").iterdir():
        shutil.copy(path, tmp_path)
    damage(tmp_path)
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert loaded[1]["epoch"] == 1


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
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert loaded[1]["epoch"] == 1
