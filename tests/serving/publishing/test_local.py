"""Versions in a folder: their numbers, and that nobody ever sees half of one."""

from __future__ import annotations

import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.publishing import local
from tests.serving.publishing.versions import FILES, make


@pytest.fixture
def version(tmp_path: Path) -> dict[str, Path]:
    return make(tmp_path / "source")


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("there", "number"),
    [((), 1), (("1",), 2), (("1", "7"), 8), (("007", "2"), 8), (("3", "9.tmp", ".12.tmp-ab", "latest", "-4"), 4)],
)
def test_version_gets_the_number_after_the_greatest(
    there: tuple[str, ...], number: int, version: dict[str, Path], tmp_path: Path
) -> None:
    base = tmp_path / "models" / "m"
    for name in there:
        (base / name).mkdir(parents=True)
    assert local.publish(version, base) == base / str(number)
    assert content(base / str(number)) == FILES
    assert sorted(path.name for path in base.iterdir()) == sorted({*there, str(number)})


def test_version_is_a_copy_that_its_owner_may_remove_and_everybody_may_read(
    version: dict[str, Path], tmp_path: Path
) -> None:
    place = local.publish(version, tmp_path / "m")
    for path in (place, *place.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o755 if path.is_dir() else 0o644), path
        assert path.is_dir() or path.stat().st_nlink == 1


def test_a_number_that_was_taken_meanwhile_is_left_alone(
    version: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, names = tmp_path / "m", local._names
    local.publish(version, base)
    (base / "1" / "saved_model.pb").write_bytes(b"another's")
    (base / "2").write_bytes(b"a file")
    stale = iter([["0"], ["0"], ["1"]])  # as they were before somebody else came
    monkeypatch.setattr(local, "_names", lambda folder: next(stale, None) or names(folder))
    assert local.publish(version, base) == base / "3"
    assert (base / "1" / "saved_model.pb").read_bytes() == b"another's"
    assert (base / "2").read_bytes() == b"a file"


def test_versions_are_whole_and_none_is_lost_when_many_are_published_at_once(
    version: dict[str, Path], tmp_path: Path
) -> None:
    base, halves, stop = tmp_path / "m", [], threading.Event()
    base.mkdir()

    def watch() -> None:
        while not stop.is_set():
            for path in base.iterdir():
                if path.name.isdigit() and content(path) != FILES:
                    halves.append(path.name)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            places = list(pool.map(lambda _: local.publish(version, base), range(16)))
    finally:
        stop.set()
        watcher.join()
    assert sorted(int(place.name) for place in places) == list(range(1, 17))
    assert halves == []
    assert len(list(base.iterdir())) == 16


def test_nothing_is_left_when_a_version_cannot_be_copied(version: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        local.publish(version | {"variables/gone": tmp_path / "gone"}, tmp_path / "m")
    assert list((tmp_path / "m").iterdir()) == []
