"""One run of real files for all tests of bundles, and what `modelmill bundle` makes of it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import cli
from tests.pipeline.bundle import small

Bundled = Callable[[str], Path]


@pytest.fixture(scope="session")
def content() -> dict[str, bytes]:
    return small.files()


@pytest.fixture
def run(content: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run's folder, runs/mine of the working directory, for a test that changes it."""
    monkeypatch.chdir(tmp_path)
    return small.run(Path("runs/mine"), content)


@pytest.fixture(scope="session")
def bundled(content: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Bundled:
    """What is in the bundle of an artifact, unpacked once for all who only look."""
    home = tmp_path_factory.mktemp("bundled")
    there = small.run(home / "runs/mine", content)
    made: dict[str, Path] = {}

    def unpacked(artifact: str) -> Path:
        if artifact not in made:
            path = home / f"{artifact}.zip"
            cli.app(["bundle", f"{there}:{artifact}", "--out", str(path), "--quiet"], standalone_mode=False)
            with zipfile.ZipFile(path) as archive:
                archive.extractall(home)
            made[artifact] = home / artifact
        return made[artifact]

    return unpacked
