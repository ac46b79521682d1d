from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline import legacy_keras, recipe
from pipeline.errors import InputError
from pipeline.formats.model_file import importing, shape
from pipeline.formats.model_file.shape import image_shape
from tests.pipeline.data.sources.test_image_folder import two_classes, write


def test_numbers_to_predict_make_a_regression_of_a_recipe_that_names_no_task() -> None:
    sets = ["data={source: diabetes}", "model={architecture: mlp}", "distill=null", "shrink=null", "prune=null"]
    assert recipe.load("digits", sets).data.task == "regression"
    assert recipe.load("digits", [*sets, "data.source=wine"]).data.task is None


def network(shape: tuple[int | None, ...], *, nested: bool = False, sequential: bool = True) -> Any:
    keras = legacy_keras.load()
    layers = [keras.layers.Conv2D(4, 3, name="conv"), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input(shape), *layers])
    if not sequential:
        model = keras.Model(model.inputs, model.outputs)
    if nested:
        ends = keras.Input(shape)
        model = keras.Model(ends, model(ends))
    return model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of 12x10 colour images in every kind of file, and some with other inputs."""
    folder = tmp_path_factory.mktemp("models")
    model = network((12, 10, 3))
    model.save(folder / "model.keras", save_format="keras")
    model.save(folder / "model.h5")
    model.save(folder / "saved", save_format="tf")
    network((12, 10, 3), nested=True).save(folder / "nested.keras", save_format="keras")
    network((12, 10, 3), sequential=False).save(folder / "functional.h5")
    network((None, None, 1)).save(folder / "any.keras", save_format="keras")
    keras = legacy_keras.load()
    keras.Sequential([keras.layers.Conv2D(2, 3, input_shape=(12, 10, 3))]).save(folder / "bare.h5")
    keras.Sequential([keras.Input((12,)), keras.layers.Dense(2)]).save(folder / "flat.h5")
    (folder / "damaged.h5").write_bytes((folder / "model.h5").read_bytes()[:500])
    return folder


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "saved", "nested.keras", "functional.h5", "bare.h5"])
def test_shape_of_images_is_read_from_any_file_without_loading_the_model(name: str, models: Path) -> None:
    assert image_shape(models / name) == (12, 10, 3)


def test_shape_is_unknown_where_the_model_takes_any_or_no_image(models: Path) -> None:
    assert image_shape(models / "any.keras") == (None, None, 1)
    assert image_shape(models / "flat.h5") is None
    assert image_shape(models / "damaged.h5") is None
    assert image_shape(models / "absent.keras") is None


@pytest.mark.parametrize("name", ["model.h5", "saved"])
def test_what_native_code_reads_is_read_by_a_process_that_may_die_of_it(
    name: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise AssertionError("this process reads nothing of it")

    for reads in ("_hdf5", "_signature"):
        monkeypatch.setattr(shape, reads, refuse)
    assert image_shape(models / name) == (12, 10, 3)
    monkeypatch.setattr(importing, "SCAN_S", 0.01)
    assert image_shape(models / name) is None  # it took too long


def sets(models: Path, photos: Path, name: str = "model.keras", *more: str) -> list[str]:
    return [f"model.path={models / name}", "data.source=image_folder", f"data.path={photos}", *more]


def test_images_get_the_size_and_colours_of_the_model_file(models: Path, tmp_path: Path) -> None:
    two_classes(tmp_path)
    write(tmp_path / "red" / "large.png", size=(40, 50))
    found = recipe.load(None, sets(models, tmp_path))
    assert found.data.image_folder is not None
    assert (found.data.image_folder.size, found.data.image_folder.color) == ((12, 10), "rgb")
    assert recipe.check(recipe.parse(recipe.dump(found), "dumped"), "dumped") == found
    own = recipe.load(None, sets(models, tmp_path, "model.keras", "data.image_folder.size=[9,9]"))
    assert own.data.image_folder is not None
    assert own.data.image_folder.size == (9, 9)


def test_images_need_a_size_where_the_model_takes_any(models: Path, tmp_path: Path) -> None:
    two_classes(tmp_path)
    write(tmp_path / "green" / "000.png", size=(40, 50))
    with pytest.raises(InputError, match="differ in size"):
        recipe.load(None, sets(models, tmp_path, "any.keras"))
    found = recipe.load(None, sets(models, tmp_path, "any.keras", "data.image_folder.size=[9,9]"))
    assert found.data.image_folder is not None
    assert (found.data.image_folder.size, found.data.image_folder.color) == ((9, 9), "grayscale")
