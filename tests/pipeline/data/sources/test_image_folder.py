from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from pipeline import data
from pipeline.data import DataConfig
from pipeline.data.sources import image_folder, images
from pipeline.data.sources.source import Source
from pipeline.errors import InputError

RED, GREEN, BLUE = (250, 10, 10), (10, 250, 10), (10, 10, 250)


def write(path: Path, colour: Any = RED, size: tuple[int, int] = (6, 8), **options: Any) -> Path:
    """Write an image of one colour; `size` is height and width, as in the recipe."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = "L" if isinstance(colour, int) else "RGB"
    Image.new(mode, size[::-1], colour).save(path, **options)
    return path


def two_classes(root: Path, count: int = 10, **options: Any) -> Path:
    """Write `count` red images of the class red and as many green ones of the class green."""
    for label, colour in (("red", RED), ("green", GREEN)):
        for number in range(count):
            write(root / label / f"{number:03}.png", colour, **options)
    return root


def config(root: Path, **keys: Any) -> DataConfig:
    return DataConfig(source="image_folder", path=str(root), **keys)


def load(given: DataConfig, folder: Path) -> Source:
    """Load a source, and decode into a folder anew."""
    folder.mkdir(exist_ok=True)

    def prepare(write: Any) -> Path:
        write(folder)
        return folder

    return image_folder.load(given, prepare)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "photos"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "arrays"


def test_folders_are_classes_in_the_order_of_their_names(root: Path, target: Path) -> None:
    source = load(config(two_classes(root)), target)
    x, found = source.x["image"], source.targets[""]
    assert found.classes == ("green", "red")
    assert (x.shape, x.dtype, found.y.dtype) == ((20, 6, 8, 3), np.uint8, np.int64)
    assert isinstance(x, np.memmap)
    for colour, label in ((GREEN, 0), (RED, 1)):
        assert (x[found.y == label] == colour).all()
    assert (source.given, source.notes) == ({}, ())
    assert data.input_shapes(config(root)) == {"image": (6, 8, 3)}
    splits = data.load(config(root))
    assert splits.spec.input.value_range == (0, 255)
    assert len(splits.train) == 12


def test_classes_may_be_in_the_order_of_the_users_model(root: Path, target: Path) -> None:
    two_classes(root)
    source = load(config(root, classes=("red", "green"), input_name="photo"), target)
    assert source.targets[""].classes == ("red", "green")
    assert (source.x["photo"][source.targets[""].y == 0] == RED).all()
    with pytest.raises(InputError, match=r"data\.classes are not the class folders"):
        load(config(root, classes=("red", "blue")), target)


@pytest.mark.parametrize("name", ["validation", "val"])
def test_folders_of_splits_are_kept(name: str, root: Path, target: Path) -> None:
    two_classes(root / "train", 6)
    two_classes(root / name, 3)
    two_classes(root / "test", 2)
    source = load(config(root), target)
    assert {part: len(found) for part, found in source.given.items()} == {"validation": 6, "test": 4}
    assert (source.x["image"][source.given["test"]] == [[[GREEN]], [[GREEN]], [[RED]], [[RED]]]).all()
    assert len(data.load(config(root)).validation) == 6


def test_train_can_be_what_images_show(root: Path, target: Path) -> None:
    two_classes(root)
    write(root / "train" / "a.png", BLUE)
    assert load(config(root), target).targets[""].classes == ("green", "red", "train")
    write(root / "test" / "a.png", BLUE)
    with pytest.raises(InputError, match="holds splits and something else") as refused:
        load(config(root), target)
    assert refused.value.found == "folders green, red, test, train"


def test_grey_images_have_one_channel_unless_one_has_colours(root: Path, target: Path) -> None:
    for label in ("a", "b"):
        for number in range(40):
            write(root / label / f"{number:02}.png", 200)
    assert load(config(root), target).x["image"].shape == (80, 6, 8, 1)
    write(root / "b" / "01.png", BLUE)  # not one of those that are glanced at
    assert data.input_shapes(config(root)) == {"image": (6, 8, 1)}
    source = load(config(root), target)
    assert source.x["image"].shape == (80, 6, 8, 3)
    assert (source.x["image"][41] == BLUE).all()
    grey = load(config(root, image_folder={"color": "grayscale"}), target)
    assert grey.x["image"].shape == (80, 6, 8, 1)
    assert grey.notes == ("1 of 80 images have colours and become grey",)


def test_images_are_resized_to_the_size_of_the_recipe_with_antialiasing(root: Path, target: Path) -> None:
    two_classes(root, 5)
    board = np.indices((32, 32)).sum(axis=0) % 2 * 255
    Image.fromarray(board.astype(np.uint8)).save(root / "red" / "board.png")
    given = config(root, image_folder={"size": [4, 4]})
    source = load(given, target)
    assert source.x["image"].shape == (11, 4, 4, 3)
    assert abs(source.x["image"][-1].astype(int) - 128).max() < 20  # a board seen from afar is grey
    assert source.notes == ("11 of 11 images are resized to 4x4 (height x width); they were 6x8 (10), 32x32 (1)",)
    assert data.input_shapes(given) == {"image": (4, 4, 3)}


def test_images_that_differ_in_size_are_refused_with_sizes_and_counts(root: Path, target: Path) -> None:
    two_classes(root, 40)
    write(root / "red" / "001.png", RED, (7, 9))
    for read in (data.load, lambda given: load(given, target)):
        with pytest.raises(InputError, match="differ in size") as refused:
            read(config(root))
        assert refused.value.found == "2 sizes: 6x8 (79), 7x9 (1)"
        assert "--set data.image_folder.size=[HEIGHT,WIDTH]" in refused.value.todo
    write(root / "green" / "000.png", RED, (7, 9))
    with pytest.raises(InputError, match="differ in size"):  # the first is glanced at when a recipe is read
        data.input_shapes(config(root))


def test_unreadable_images_are_all_counted_and_the_first_are_named(root: Path, target: Path) -> None:
    two_classes(root, 30)
    for number in range(7):
        (root / "red" / f"{number:03}.png").write_bytes(b"no image")
    whole = (root / "green" / "005.png").read_bytes()
    (root / "green" / "005.png").write_bytes(whole[:-30])
    with pytest.raises(InputError, match=r"8 of 60 images in .* cannot be decoded") as refused:
        load(config(root), target)
    assert refused.value.found.startswith("green/005.png (")
    assert "red/000.png (no image of a known format); " in refused.value.found
    assert refused.value.found.endswith("; and 3 more")
    assert refused.value.todo.endswith("--set data.image_folder.unreadable=skip")
    source = load(config(root, image_folder={"unreadable": "skip"}), target)
    assert source.x["image"].shape == (52, 6, 8, 3)
    assert (source.x["image"][source.targets[""].y == 1] == RED).all()
    assert np.bincount(source.targets[""].y).tolist() == [29, 23]
    (note,) = source.notes
    assert note.startswith("8 of 60 images cannot be decoded and are left out: green/005.png")


def test_nothing_but_unreadable_images_is_refused_whatever_the_recipe_says(root: Path, target: Path) -> None:
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        (root / label / "x.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match="2 of 2 images"):
        load(config(root, image_folder={"unreadable": "skip"}), target)


def test_image_that_unpacks_to_more_than_memory_holds_is_never_decoded(
    root: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_classes(root)
    write(root / "red" / "bomb.png", RED, (100, 101), optimize=True)
    monkeypatch.setattr(images, "MOST_PIXELS", 10_000)
    with pytest.raises(InputError) as refused:
        load(config(root, image_folder={"size": [6, 8]}), target)
    assert "red/bomb.png (claims more than" in refused.value.found
    assert "(101x100)" in refused.value.found


def test_one_class_is_refused_unless_images_are_to_be_rebuilt(root: Path, target: Path) -> None:
    for number in range(30):
        write(root / "only" / f"{number}.png", (8 * number, 0, 0))
    with pytest.raises(InputError, match="all of one class") as refused:
        load(config(root), target)
    assert refused.value.found == "'only' alone"
    assert data.load(config(root, task="reconstruction")).spec.head.task == "reconstruction"
    assert data.load(config(root / "only", task="reconstruction")).spec.input.shape == (6, 8, 3)


def test_folders_of_images_predict_no_numbers(root: Path) -> None:
    with pytest.raises(ValidationError, match="folders of images name classes"):
        config(root, task="regression")
    with pytest.raises(ValidationError, match="needs path, a folder with a folder of images for each class"):
        DataConfig(source="image_folder")
    with pytest.raises(
        ValidationError, match="the section image_folder is for the source image_folder, but source is digits"
    ):
        DataConfig(image_folder={"color": "rgb"})


def test_class_without_images_to_learn_from_is_refused(root: Path, target: Path) -> None:
    two_classes(root / "train")
    two_classes(root / "test")
    write(root / "test" / "blue" / "a.png", BLUE)
    with pytest.raises(InputError, match="have no images to learn from") as refused:
        load(config(root), target)
    assert refused.value.found == "none of blue"


def test_what_is_no_image_of_a_class_is_told(root: Path, target: Path) -> None:
    two_classes(root)
    write(root / "stray.png")
    (root / "empty").mkdir()
    (root / "red" / "notes.txt").write_text("about red", encoding="utf-8")
    for name in (".DS_Store", "Thumbs.db"):
        (root / "red" / name).write_text("", encoding="utf-8")
    write(root / ".thumbnails" / "a.png")
    source = load(config(root), target)
    assert source.notes == (
        "1 files are no images by their names, and left out: red/notes.txt",
        "1 images lie beside the class folders, and are left out: stray.png",
        "1 folders hold no images, and are no classes: empty",
    )
    assert len(source.x["image"]) == 20


def test_links_are_followed_only_to_images_inside(root: Path, target: Path, tmp_path: Path) -> None:
    two_classes(root)
    outside = write(tmp_path / "secret" / "a.png", BLUE)
    (root / "red" / "out.png").symlink_to(outside)
    (root / "red" / "in.png").symlink_to(root / "red" / "000.png")
    (root / "blue").symlink_to(outside.parent)
    (root / "red" / "again").symlink_to(root)
    source = load(config(root), target)
    assert source.targets[""].classes == ("green", "red")
    assert len(source.x["image"]) == 21
    (note,) = source.notes
    assert note == (
        "3 symbolic links to folders, or to what lies outside of the folder, are not followed: blue, red/again, "
        "red/out.png"
    )
    (tmp_path / "linked").symlink_to(root)  # the folder itself may be one
    assert len(load(config(tmp_path / "linked"), target).x["image"]) == 21


@pytest.mark.parametrize("kind", ["absent", "file", "empty", "flat"])
def test_what_is_no_folder_of_classes_is_refused(kind: str, root: Path) -> None:
    match kind:
        case "file":
            root.write_text("", encoding="utf-8")
        case "empty":
            root.mkdir()
        case "flat":
            write(root / "a.png")
    with pytest.raises(InputError) as refused:
        image_folder.files(config(root))
    assert refused.value.expected.startswith("FOLDER/CLASS/IMAGE")
    said = {"absent": "nothing at", "file": "a file", "empty": "nothing", "flat": "1 images lie beside"}
    assert refused.value.found.startswith(said[kind])
    if kind in ("absent", "file"):  # a recipe can be listed without its data
        assert data.input_shapes(config(root)) is None


def test_content_is_what_images_hold_and_where_they_lie(root: Path, tmp_path: Path) -> None:
    first = data.content_hash(config(two_classes(root)))
    assert data.content_hash(config(two_classes(tmp_path / "other"))) == first
    (root / "red" / "000.png").rename(root / "green" / "999.png")  # still between the same two
    moved = data.content_hash(config(root))
    assert moved != first
    write(root / "green" / "999.png", BLUE)
    assert data.content_hash(config(root)) not in (first, moved)
    assert [path.name for path in image_folder.files(config(root))][9:12] == ["009.png", "999.png", "001.png"]


def test_files_are_found_without_anything_that_decodes_them(root: Path) -> None:
    two_classes(root)
    code = (
        "import sys; from pipeline import data; from pipeline.data import DataConfig; "
        "data.content_hash(DataConfig(source='image_folder', path=sys.argv[1])); "
        "sys.exit(bool({'numpy', 'PIL', 'tensorflow'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code, str(root)], check=True)


def test_anomalies_may_be_in_the_test_split_alone(root: Path, tmp_path: Path) -> None:
    for part, label, colour in (("train", "good", GREEN), ("test", "good", GREEN), ("test", "broken", RED)):
        for number in range(20):
            write(root / part / label / f"{number}.png", colour)
    given = config(root, task="anomaly", anomaly=["broken"])
    splits = data.load(given, tmp_path / "store")
    assert (set(splits.train.y), set(splits.test.y)) == ({0}, {0, 1})
    with pytest.raises(InputError, match="have no images to learn from"):
        data.load(config(root), tmp_path / "store")
