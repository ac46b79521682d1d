"""Good model files, and a module that says so when it is imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.legacy_keras import load as load_keras
from tests.pipeline.compress import tiny

SUFFIXES = (".keras", ".h5")


def saved(model: Any, path: Path) -> Path:
    model.save(path, save_format="keras" if path.suffix == ".keras" else "h5")
    return path


@dataclass(frozen=True)
class Good:
    """Model files of Keras 2: plain, with a Lambda, and with a Lambda in a model inside."""

    folder: Path
    marker: Path

    def file(self, name: str, suffix: str) -> Path:
        return self.folder / f"{name}{suffix}"


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Good:
    """Files whose Lambdas write `marker` when they run."""
    keras = load_keras()
    folder = tmp_path_factory.mktemp("good")
    marker = folder / "ran"
    touch = eval(f"lambda x: (__import__('pathlib').Path({str(marker)!r}).touch(), x)[1]")

    def row(*more: Any) -> Any:
        layers = [*more, keras.layers.Flatten(name="flat"), keras.layers.Dense(3, name="ends")]
        return tiny.sequential(*layers)

    def code() -> Any:
        return keras.layers.Lambda(touch, name="code")

    models = {
        "plain": tiny.cnn(),
        "lambda": row(code()),
        "nested": row(keras.Sequential([keras.Input((6, 6, 1)), code()], name="inner")),
    }
    for name, model in models.items():
        for suffix in SUFFIXES:
            saved(model, folder / f"{name}{suffix}")
    return Good(folder, marker)


@pytest.fixture
def marker(good: Good, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that is there when code of a model file ran: a Lambda's, or that of the module `planted`."""
    good.marker.unlink(missing_ok=True)
    text = f"""
import pathlib
import tf_keras
pathlib.Path({str(good.marker)!r}).touch()
def f(*arguments, **options):
    return arguments[0]
class Layer(tf_keras.layers.Layer):
    def call(self, x):
        return x
"""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "planted.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    yield good.marker
    sys.modules.pop("planted", None)
    good.marker.unlink(missing_ok=True)
