from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import data
from pipeline.data import DataConfig
from pipeline.data.sources import text
from pipeline.data.sources.source import Source
from pipeline.errors import InputError
from tests.pipeline.data.sources.preparing import prepare_in

Read = Callable[..., Source]
_LINES = ("Label\tSMS", 'ham\tGo until "jurong', "spam\tWin\u00a0£100 now", "ham\tok", "spam\tFREE")


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., DataConfig]:
    """Write lines, or bytes, and return the config that names the file; `keys` are of `data`."""

    def written(*lines: str, name: str = "a.tsv", keys: dict[str, Any] | None = None, **section: Any) -> DataConfig:
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        fields = {"source": "text", "path": str(tmp_path / name), **(keys or {})}
        return DataConfig.model_validate(fields | ({"text_file": section} if section else {}))

    return written


@pytest.fixture
def read(tmp_path: Path) -> Callable[[DataConfig], Source]:
    return lambda config: text.load(config, prepare_in(tmp_path))


def test_rows_are_texts_and_labels_whatever_quotation_marks_are_in_them(config: Any, read: Read) -> None:
    source = read(config(*_LINES))
    assert list(source.x["text"]) == ['Go until "jurong', "Win\u00a0£100 now", "ok", "FREE"]
    assert source.x["text"].dtype == object
    assert source.targets[""].classes == ("ham", "spam")
    assert source.targets[""].y.tolist() == [0, 1, 0, 1]
    assert source.notes == ("data.text_file is not given: SMS is the text and Label its label, by their names",)
    assert data.input_shapes(config(*_LINES)) == {"text": ()}


@pytest.mark.parametrize(
    ("header", "section", "said"),
    [
        ("a,b", {}, "by their lengths"),
        ("label,other", {}, "by their names"),
        ("a,b", {"text": "b"}, None),
        ("a,b", {"label": "a"}, None),
        ("a,b", {"label": "a", "text": "b"}, None),
    ],
)
def test_the_text_is_the_column_that_is_named_or_the_longer_one(
    header: str, section: dict[str, str], said: str | None, config: Any, read: Read
) -> None:
    rows = ["x,a longer text", 'y,"one, with a comma"', "x,c", "y,d"]
    source = read(config(header, *rows, name="a.csv", **section))
    assert list(source.x["text"][:2]) == ["a longer text", "one, with a comma"]
    assert source.targets[""].classes == ("x", "y")
    assert [note.endswith(said) for note in source.notes] == ([True] if said else [])


def test_texts_of_a_group_are_told(config: Any, read: Read) -> None:
    rows = ["who\tlabel\ttext", "ann\ta\tone", "bob\tb\ttwo", "ann\tb\tthree", "cid\ta\tfour"]
    assert read(config(*rows, text="text", label="label", group="who")).groups.tolist() == [0, 1, 0, 2]
    with pytest.raises(InputError, match="does not tell which column is the text"):
        read(config(*rows))
    with pytest.raises(InputError, match=r"has no column txt[\s\S]*did you mean text\?"):
        read(config(*rows, text="txt", label="label"))


def test_labels_can_be_numbers_to_predict(config: Any, read: Read) -> None:
    rows = ["text\tstars", "good\t4.5", "bad\t1", "so\t2", "fine\t4.5"]
    target = read(config(*rows, text="text", label="stars", keys={"task": "regression"})).targets[""]
    assert (target.classes, target.y.tolist()) == (None, [4.5, 1, 2, 4.5])
    with pytest.raises(InputError, match="holds cells that are no numbers"):
        read(config(*rows, "x\tfive", text="text", label="stars", keys={"task": "regression"}))


def test_empty_texts_are_counted_and_missing_labels_refused(config: Any, read: Read) -> None:
    assert read(config(*_LINES, "ham\t", "ham\t  ")).notes[1] == "2 of 6 texts are empty: line 6, 7"
    with pytest.raises(InputError, match="have no label") as refused:
        read(config(*_LINES, "\ttext"))
    assert refused.value.found == "1 of 5 without (line 6)"


def test_columns_that_hold_no_classes_are_refused(config: Any, read: Read) -> None:
    with pytest.raises(InputError, match=r"the column SMS of the data file .* has no classes") as refused:
        read(config(*_LINES, text="Label", label="SMS"))
    assert refused.value.found.startswith("4 different cells in 4 rows, such as 'Go until")
    with pytest.raises(InputError, match=r"the column Label of the data file .* has no classes") as refused:
        read(config("Label\tSMS", "0.5\ta", "1.5\tb"))
    assert "such as 0.5, 1.5" in refused.value.found
    with pytest.raises(InputError, match=r"has labels that data\.classes has not") as refused:
        read(config(*_LINES, keys={"classes": ["ham", "eggs"]}))
    assert refused.value.found == "'spam'"


def test_bad_utf_8_is_named_with_its_line(config: Any, read: Read) -> None:
    made = config(*_LINES)
    with Path(made.path).open("ab") as file:
        file.write(b"ham\tcaf\xe9\n")
    with pytest.raises(InputError, match="no UTF-8 in line 6"):
        read(made)


def _folders(root: Path, texts: dict[str, bytes]) -> DataConfig:
    for name, content in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return DataConfig(source="text", path=str(root))


def test_folders_are_classes_and_their_splits_are_kept(tmp_path: Path, read: Read) -> None:
    made = _folders(tmp_path / "mails", {
        "train/ham/b.txt": b"two\n", "train/ham/a.txt": b"\xef\xbb\xbfone", "train/spam/c.txt": "drei ä".encode(),
        "test/spam/d.txt": b"", "test/ham/e.txt": b"five", "readme.txt": b"no class",
    })  # fmt: skip
    source = read(made)
    assert list(source.x["text"]) == ["one", "two", "drei ä", "five", ""]
    assert source.targets[""].y.tolist() == [0, 0, 1, 0, 1]
    assert {name: list(positions) for name, positions in source.given.items()} == {"test": [3, 4]}
    assert source.notes == ("1 of 5 texts are empty",)
    assert len(text.files(made)) == 5
    before = data.content_hash(made)
    (tmp_path / "mails" / "train" / "ham").rename(tmp_path / "mails" / "train" / "eggs")
    assert data.content_hash(made) != before


def test_val_is_a_split_and_what_is_none_beside_splits_is_refused(tmp_path: Path, read: Read) -> None:
    made = _folders(tmp_path / "mails", {
        "train/ham/a.txt": b"one", "train/spam/b.txt": b"two", "val/ham/c.txt": b"three", "test/spam/d.txt": b"four",
    })  # fmt: skip
    given = {name: list(positions) for name, positions in read(made).given.items()}
    assert given == {"validation": [2], "test": [3]}
    (tmp_path / "mails" / "more").mkdir()
    with pytest.raises(InputError, match="holds splits and something else") as refused:
        read(made)
    assert refused.value.found == "folders more, test, train, val"


def test_folders_without_splits_are_classes_and_bad_files_are_named(tmp_path: Path, read: Read) -> None:
    made = _folders(tmp_path / "mails", {"ham/a.txt": b"one", "spam/b.txt": b"two"})
    assert read(made).given == {}
    (tmp_path / "mails" / "ham" / "c.txt").write_bytes(b"fine\nbad \xff")
    with pytest.raises(InputError, match="are no UTF-8") as refused:
        read(made)
    assert refused.value.found == "1 of 3: ham/c.txt, line 2"
    with pytest.raises(InputError, match="holds no texts"):
        read(DataConfig(source="text", path=str(tmp_path / "mails" / "ham")))
    with pytest.raises(InputError, match="cannot be read"):
        read(DataConfig(source="text", path=str(tmp_path / "none")))


def test_texts_become_token_ids_of_the_training_vocabulary(config: Any) -> None:
    lines = [f"{'ham' if row % 2 else 'spam'}\t{'hello you' if row % 2 else 'win money'} {row}" for row in range(40)]
    splits = data.load(config("Label\tSMS", *lines, keys={"text": {"vocabulary": 100, "length": 4}}))
    assert splits.train.x.shape == (24, 4)
    assert splits.spec.input.vectorizer is not None
    assert {"hello", "you", "win", "money"} <= set(splits.spec.input.vectorizer.words)
