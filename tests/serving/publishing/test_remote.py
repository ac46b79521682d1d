"""Versions in a store of objects: a server that speaks S3, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serving.publishing import remote
from tests.serving.publishing.s3 import Bucket, serving
from tests.serving.publishing.versions import FILES, make

NAMES = sorted(FILES)


@pytest.fixture(scope="module")
def server() -> Iterator[Bucket]:
    with serving() as bucket:
        yield bucket


@pytest.fixture
def base(server: Bucket, tmp_path: Path) -> str:
    """A base path of the test's own."""
    return f"{server.name}/{tmp_path.name}/m"


@pytest.fixture
def version(tmp_path: Path) -> dict[str, Path]:
    return make(tmp_path / "source")


def there(store: Any, base: str) -> dict[str, bytes]:
    """Return all objects below a base path."""
    store.invalidate_cache()
    return {name.removeprefix(f"{base}/"): store.cat_file(name) for name in store.find(base)}


def test_version_is_uploaded_whole_under_the_number_after_the_greatest(
    server: Bucket, base: str, version: dict[str, Path]
) -> None:
    store = server.store()
    for number in (1, 2):
        assert remote.publish(version, base, store) == f"{base}/{number}"
    store.pipe_file(f"{base}/010/saved_model.pb", b"by hand")
    store.pipe_file(f"{base}/next/saved_model.pb", b"no number")
    assert remote.publish(version, f"{base}/", store) == f"{base}/11"
    wanted = {f"{number}/{name}": content for number in (1, 2, 11) for name, content in FILES.items()}
    by_hand = {"010/saved_model.pb": b"by hand", "next/saved_model.pb": b"no number"}
    assert there(store, base) == wanted | by_hand


class Watched:
    """A store that looks before each copy into the version, and can break off."""

    def __init__(self, store: Any, fails_at: str = "") -> None:
        self.store, self.fails_at = store, fails_at
        self.copied: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def cp_file(self, source: str, target: str) -> None:
        if self.fails_at and target.endswith(self.fails_at):
            raise OSError("the connection broke")
        self.copied.append(target.partition("/1/")[2])
        self.store.cp_file(source, target)


def test_model_comes_last_so_that_no_server_loads_half_a_version(
    server: Bucket, base: str, version: dict[str, Path]
) -> None:
    watched = Watched(server.store())
    remote.publish(version, base, watched)
    assert sorted(watched.copied) == NAMES
    assert watched.copied[-1] == "saved_model.pb"


@pytest.mark.parametrize("name", ["variables.index", "saved_model.pb"])
def test_nothing_is_left_and_the_number_is_free_when_it_breaks_off(
    name: str, server: Bucket, base: str, version: dict[str, Path]
) -> None:
    store = server.store()
    with pytest.raises(OSError, match="the connection broke"):
        remote.publish(version, base, Watched(store, fails_at=name))
    assert there(store, base) == {}
    assert remote.publish(version, base, store) == f"{base}/1"


def test_none_is_lost_when_many_are_published_at_once(server: Bucket, base: str, version: dict[str, Path]) -> None:
    with ThreadPoolExecutor(4) as pool:
        places = list(pool.map(lambda _: remote.publish(version, base, server.store()), range(8)))
    assert sorted(places) == sorted(f"{base}/{number}" for number in range(1, 9))
    wanted = {f"{number}/{name}": content for number in range(1, 9) for name, content in FILES.items()}
    assert there(server.store(), base) == wanted


def test_number_that_a_killed_push_took_is_left_out(server: Bucket, base: str, version: dict[str, Path]) -> None:
    store = server.store()
    store.pipe_file(f"{base}/{remote.CLAIMS}/1", b"")
    assert remote.publish(version, base, store) == f"{base}/2"


def test_number_whose_version_came_while_it_was_taken_is_not_taken_again(
    server: Bucket, base: str, version: dict[str, Path]
) -> None:
    """Another finishes between the look at the numbers and the claim."""
    store = server.store()

    class Late(Watched):
        def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
            if not there(store, base):
                remote.publish(version, base, store)
                store.pipe_file(f"{base}/1/assets.extra/whose", b"another's")
            self.store.pipe_file(path, value, **options)

    assert remote.publish(version, base, Late(store)) == f"{base}/2"
    assert there(store, base)["1/assets.extra/whose"] == b"another's"
