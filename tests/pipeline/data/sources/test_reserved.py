from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline import data
from pipeline.data import DataConfig
from pipeline.data.sources import reserved, stored
from pipeline.data.sources.source import Source, Target
from pipeline.errors import translate_os_error


def _refuse(number: int) -> Any:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("lacking", [None, errno.EOPNOTSUPP])
def test_space_of_an_array_is_taken_before_it_is_filled(
    lacking: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lacking is not None:
        monkeypatch.setattr(os, "posix_fallocate", _refuse(lacking))
    made = reserved.array(tmp_path / "x.npy", (1000, 3000), "uint8")
    assert (tmp_path / "x.npy").stat().st_blocks * 512 >= made.nbytes
    assert not made.any()
    made[-1] = 7
    again = np.load(tmp_path / "x.npy")
    assert (again.shape, again.dtype, again[-1, 0]) == ((1000, 3000), np.uint8, 7)


def test_full_disk_is_an_error_about_the_disk_and_nothing_half_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for label in ("red", "green"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (8, 6), label).save(tmp_path / "photos" / label / f"{number}.png")
    config = DataConfig(source="image_folder", path=str(tmp_path / "photos"))
    monkeypatch.setattr(os, "posix_fallocate", _refuse(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left") as full:
        data.load(config, tmp_path / "store")
    disk = translate_os_error(full.value)
    assert disk is not None
    assert (disk.exit_code, "images.npy" in disk.what) == (4, True)
    assert [path.name for path in (tmp_path / "store").iterdir() if path.is_dir()] == []
    monkeypatch.undo()
    assert len(data.load(config, tmp_path / "store").train.x) > 0


@pytest.mark.parametrize("number", [2, 3])
def test_full_disk_is_an_error_at_each_of_the_arrays(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source({"a": np.ones((4, 2))}, {"": Target(np.arange(4) % 2, ("no", "yes"))}, groups=np.arange(4))
    calls = []

    def allocate(*_: int) -> None:
        calls.append(1)
        if len(calls) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", allocate)
    with pytest.raises(OSError, match="No space left"):
        stored.keep(tmp_path, source)
    monkeypatch.undo()
    stored.keep(tmp_path, source)
    groups = stored.read(tmp_path).groups
    assert groups is not None
    assert groups.tolist() == [0, 1, 2, 3]
