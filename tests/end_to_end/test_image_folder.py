"""A model file and a folder of images, and no code: three flags take them through the whole line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline import legacy_keras
from tests.end_to_end.command import BRIEFLY, modelmill, options

QUICK = (*BRIEFLY, "serving=null", "judge={gates: {max_accuracy_drop: 0.2}}")
COLOURS = {"blue": (60, 60, 200), "green": (60, 200, 60), "red": (200, 60, 60)}


def noisy(colour: tuple[int, int, int], size: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    return np.clip(random.normal(colour, 60, (*size, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos/ of three classes in two sizes, one of them damaged, and own.keras for 12x10 pixels."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for label, colour in COLOURS.items():
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(60):
            image = Image.fromarray(noisy(colour, (24, 20) if number % 3 else (12, 10), random))
            image.save(folder / "photos" / label / f"{number:02}.{'png' if number % 2 else 'jpg'}")
    keras = legacy_keras.load()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 10, 3)), layers.Rescaling(1 / 255), layers.Conv2D(8, 3, activation="relu", name="conv"),
            layers.GlobalAveragePooling2D(name="mean"), layers.Dense(16, activation="relu", name="hidden"),
            layers.Dense(3, activation="softmax", name="ends"),
        ]
    )  # fmt: skip
    y = np.arange(300) % 3
    x = np.stack([noisy(list(COLOURS.values())[label], (12, 10), random) for label in y])
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(x, y, epochs=15, verbose=0)
    model.save(folder / "own.keras", save_format="keras")
    return folder


def report(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return loaded


def test_three_flags_take_a_model_and_a_folder_through_the_whole_line(cwd: Path) -> None:
    (cwd / "photos" / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    sets = options(["model.path=own.keras", "data.source=image_folder", "data.path=photos"])
    done = modelmill("run", *sets, *options(QUICK), cwd=cwd)
    assert done.returncode == 2
    assert "1 of 181 images in photos cannot be decoded" in done.stderr
    assert "red/broken.jpg" in done.stderr
    (cwd / "photos" / "red" / "broken.jpg").unlink()

    done = modelmill("run", *sets, *options(QUICK), cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "import: every image has the shape of the model's input: 12x10x3" in done.stderr
    assert "import: 120 of 180 images are resized to 12x10 (height x width); they were 24x20 (120)" in done.stderr
    found = report(cwd / "runs" / "own")
    assert [stage["name"] for stage in found["stages"] if stage["status"] == "run"] == [
        "import", "prune", "quantize", "export", "measure",
    ]  # fmt: skip
    assert found["final"] == "quantize.tflite.int8"
    for artifact in found["artifacts"]:
        assert artifact["error"] is None
        assert artifact["runs"][0]["metrics"]["accuracy"]["value"] > 0.9
    assert "image_folder:\n    size:\n    - 12\n    - 10\n    color: rgb" in (cwd / "runs/own/recipe.yaml").read_text(
        "utf-8"
    )

    again = modelmill("run", *sets, *options(QUICK), cwd=cwd)
    assert again.returncode == 0, again.stderr
    assert {stage["status"] for stage in report(cwd / "runs" / "own")["stages"]} <= {"reused", "skipped"}


@pytest.mark.long
def test_single_step_takes_a_folder_of_images(cwd: Path) -> None:
    sets = options([*BRIEFLY, "serving=null", "quantize.epochs=2", "quantize.max_accuracy_loss=0.5"])
    done = modelmill("quantize", "--model", "own.keras", "--data", "photos", "--out", "small", *sets, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (cwd / "small" / "artifacts" / "quantize.tflite.int8.tflite").is_file()


def test_moved_image_is_another_data_set(cwd: Path) -> None:
    sets = options(["model.path=own.keras", "data.source=image_folder", "data.path=photos"])
    (cwd / "photos" / "red" / "00.jpg").rename(cwd / "photos" / "green" / "60.jpg")
    done = modelmill("run", *sets, *options(QUICK), "--until", "import", cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert "import: runs, data changed" in done.stderr
