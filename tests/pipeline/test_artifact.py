from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from pipeline.artifact import Artifact, Damaged, Store, fingerprint
from pipeline.garbage import collect

BASIS = {"settings": {"a": 1}}
KEY = fingerprint(BASIS)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs" / ".store")


def made(store: Store, basis: dict[str, object] = BASIS, **changes: object) -> Artifact:
    key = fingerprint(basis)
    with store.lock("train", key) as lock:
        lock.own()
        folder, _ = store.begin("train", key, afresh=False)
        (folder / "sub").mkdir()
        (folder / "sub" / "model").write_text("weights", encoding="utf-8")
        manifest = {"stage": "train", "fingerprint": key, "basis": basis, "seconds": 1.0, "metrics": {}}
        return store.commit(manifest | changes, folder)


def test_entry_is_found_when_its_basis_is_equal(store: Store) -> None:
    stored = made(store)
    found = store.find("train", {"settings": {"a": 1}})
    assert isinstance(found, Artifact)
    assert found.manifest == stored.manifest
    assert found.manifest.files.keys() == {"sub/model"}


def test_entry_is_not_found_when_any_part_of_the_basis_differs(store: Store) -> None:
    made(store)
    assert store.find("train", {"settings": {"a": 2}}) is None
    assert store.find("export", BASIS) is None


def test_entry_is_not_there_before_it_is_whole(store: Store) -> None:
    folder, _ = store.begin("train", KEY, afresh=False)
    (folder / "model").write_text("half", encoding="utf-8")
    assert store.find("train", BASIS) is None
    folder, _ = store.begin("train", KEY, afresh=False)
    assert list(folder.iterdir()) == []


def test_unfinished_work_survives_and_is_forgotten_when_afresh(store: Store) -> None:
    _, work = store.begin("train", KEY, afresh=False)
    (work / "checkpoint").write_text("epoch 3", encoding="utf-8")
    assert store.unfinished("train", KEY)
    _, work = store.begin("train", KEY, afresh=False)
    assert (work / "checkpoint").exists()
    _, work = store.begin("train", KEY, afresh=True)
    assert not (work / "checkpoint").exists()


def test_commit_removes_unfinished_work(store: Store) -> None:
    made(store)
    assert not store.unfinished("train", KEY)
    assert sorted(path.name for path in store.root.iterdir()) == [f"train-{KEY}", f"train-{KEY}.lock"]


def test_entry_whose_file_was_changed_is_not_used_and_says_which(store: Store) -> None:
    stored = made(store)
    path = stored.file("sub/model")
    path.chmod(0o644)
    path.write_text("other weights", encoding="utf-8")
    assert store.find("train", BASIS) == Damaged("its files were changed (sub/model)")


def test_entry_without_a_readable_manifest_is_not_used(store: Store) -> None:
    (made(store).file("manifest.json")).write_text('{"stage": "train"', encoding="utf-8")
    assert store.find("train", BASIS) == Damaged("its manifest cannot be read")


def test_entry_with_a_foreign_manifest_is_not_used(store: Store) -> None:
    path = made(store).file("manifest.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    document["basis"] = {"settings": {"a": 2}}
    path.write_text(json.dumps(document), encoding="utf-8")
    assert store.find("train", BASIS) == Damaged("its manifest belongs to something else")


def test_entry_with_a_failure_of_the_moment_is_not_used_and_says_which(store: Store) -> None:
    made(store, transient=("a time-out",))
    found = store.find("train", BASIS)
    assert isinstance(found, Damaged)
    assert "a time-out" in found.reason


def test_commit_replaces_an_entry_that_could_not_be_used(store: Store) -> None:
    made(store, transient=("a time-out",))
    made(store)
    assert isinstance(store.find("train", BASIS), Artifact)


def test_maker_waits_for_those_who_use_an_entry_and_they_do_not_wait_for_each_other(store: Store) -> None:
    using, waiting = threading.Event(), threading.Event()
    released: list[str] = []

    def use() -> None:
        with store.lock("train", KEY) as lock:
            lock.share()
            using.set()
            assert waiting.wait(10)
            released.append("user")

    thread = threading.Thread(target=use)
    thread.start()
    assert using.wait(10)
    with store.lock("train", KEY) as lock:
        lock.share()
        with pytest.raises(BlockingIOError):
            lock.own()
        lock.own(waiting.set)
        assert released == ["user"]
    thread.join()


def linked_run(store: Store, name: str) -> Path:
    run = store.root.parent / name
    (run / "stages").mkdir(parents=True)
    (run / "stages" / "train").symlink_to(f"../../.store/train-{KEY}")
    return run


def test_gc_keeps_what_a_run_refers_to(store: Store) -> None:
    made(store)
    linked_run(store, "digits")
    assert collect(store) == []
    assert isinstance(store.find("train", BASIS), Artifact)


def test_gc_keeps_what_a_run_elsewhere_refers_to(store: Store, tmp_path: Path) -> None:
    made(store)
    run = tmp_path / "elsewhere"
    (run / "stages").mkdir(parents=True)
    (run / "stages" / "train").symlink_to(store.entry("train", KEY))
    store.refer("train", KEY, run)
    assert collect(store) == []


def test_run_can_refer_to_what_is_about_to_be_made_where_there_is_no_store_yet(store: Store, tmp_path: Path) -> None:
    assert not store.root.exists()
    store.refer("data", KEY, tmp_path / "run")
    store.refer("data", KEY, tmp_path / "run")
    assert Path(f"{store.entry('data', KEY)}.runs").read_text(encoding="utf-8") == f"{tmp_path / 'run'}\n"


def test_gc_removes_what_no_run_refers_to_and_unfinished_work_with_it(store: Store) -> None:
    made(store)
    other = fingerprint({"settings": {"a": 2}})
    _, work = store.begin("train", other, afresh=False)
    (work / "checkpoint").write_text("epoch 3", encoding="utf-8")
    store.refer("train", KEY, store.root.parent / "gone")
    assert {name for name, _ in collect(store, dry_run=True)} == {f"train-{KEY}", f"train-{other}"}
    assert isinstance(store.find("train", BASIS), Artifact)
    assert {name for name, _ in collect(store)} == {f"train-{KEY}", f"train-{other}"}
    assert store.find("train", BASIS) is None
    assert not work.exists()


def test_gc_leaves_an_entry_alone_that_is_being_made(store: Store) -> None:
    _, work = store.begin("train", KEY, afresh=False)
    (work / "checkpoint").write_text("epoch 3", encoding="utf-8")
    with store.lock("train", KEY) as lock:
        lock.share()
        assert collect(store) == []
    assert collect(store) != []


def test_gc_leaves_everything_alone_whose_name_is_not_an_entrys(store: Store) -> None:
    mine = store.root / "my-thesis"
    mine.mkdir(parents=True)
    (mine / "chapter-1.txt").write_text("mine", encoding="utf-8")
    (store.root / "notes-2024.txt").write_text("mine", encoding="utf-8")
    assert collect(store) == []
    assert sorted(path.name for path in store.root.rglob("*")) == ["chapter-1.txt", "my-thesis", "notes-2024.txt"]


def test_begin_clears_what_a_killed_commit_left_and_keeps_the_work(store: Store) -> None:
    made(store)
    folder, work = store.begin("train", KEY, afresh=False)
    (work / "checkpoint").write_text("epoch 3", encoding="utf-8")
    (folder.parent / "replaced").mkdir()
    (folder.parent / "replaced" / "old").write_text("old", encoding="utf-8")
    made(store)
    assert isinstance(store.find("train", BASIS), Artifact)
