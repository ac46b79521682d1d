"""A SavedModel folder is told by its files, before TensorFlow is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import recipe as recipes
from pipeline.errors import InputError, RunError
from pipeline.formats.plain import folder


def written(path: Path, *, keras: bool = False) -> Path:
    (path / "variables").mkdir(parents=True)
    (path / "assets").mkdir()
    for name in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
        (path / name).write_bytes(name.encode())
    (path / "fingerprint.pb").write_bytes(b"another at every save")
    if keras:
        (path / "keras_metadata.pb").write_bytes(b"")
    return path


def test_digest_is_of_the_graph_and_the_weights_alone(tmp_path: Path) -> None:
    one, other = written(tmp_path / "one"), written(tmp_path / "other")
    (other / "fingerprint.pb").unlink()
    assert folder.digest(one) == folder.digest(other)
    (other / "variables/variables.data-00000-of-00001").write_bytes(b"others")
    assert folder.digest(one) != folder.digest(other)
    assert (folder.kind(one), folder.kind(written(tmp_path / "keras", keras=True))) == ("plain", "keras")


def test_files_that_a_graph_would_read_and_links_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "one")
    (path / "assets/vocabulary.txt").write_text("a\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"more than a graph and its weights(.|\n)*found: vocabulary\.txt"):
        folder.digest(path)
    (path / "assets/vocabulary.txt").unlink()
    (path / "variables/variables.data-00001-of-00002").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match=r"found: variables\.data-00001-of-00002"):
        folder.digest(path)


def test_folder_that_changed_since_the_run_began_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "one")
    before = folder.digest(path)
    folder.copied(path, tmp_path / "copy", before)
    assert folder.digest(tmp_path / "copy") == before
    (path / "saved_model.pb").write_bytes(b"later")
    with pytest.raises(RunError, match="changed while the run was going on"):
        folder.copied(path, tmp_path / "again", before)


def test_sections_that_need_layers_are_refused_at_once_and_by_name(tmp_path: Path) -> None:
    path = written(tmp_path / "one")
    sections = {
        "train": {}, "distill": {"student": {"architecture": "mlp"}}, "shrink": {"macs": 0.5}, "prune": {},
        "quantize": {}, "export": {},
    }  # fmt: skip
    document = {"name": "own", "data": {"source": "digits"}, "model": {"path": str(path)}}
    for name in ("train", "distill", "shrink", "prune", "quantize"):
        with pytest.raises(InputError, match=rf"{name}: the SavedModel .*one holds a graph and no Keras layers"):
            recipes.check({**document, name: sections[name]}, "own.yaml")
    assert recipes.check({**document, "export": {}}, "own.yaml").stages() == ("import", "export")
    written(tmp_path / "keras", keras=True)
    recipes.check({**document, **sections, "model": {"path": str(tmp_path / "keras")}}, "own.yaml")
