"""All files of Keras 3, made once, in one process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from pipeline.formats.model_file.keras3 import translated
from pipeline.formats.model_file.scan import scan
from pipeline.isolate import Child
from tests.pipeline.formats.model_file.keras3.generate import Made, made


@dataclass(frozen=True)
class Keras3:
    """What Keras 3 made, and where."""

    folder: Path
    made: Made

    def translated(self, name: str, suffix: str) -> Any:
        """Look through a file and translate it."""
        with TemporaryDirectory() as folder:
            return translated(scan(self.folder / f"{name}{suffix}", Path(folder)))


@pytest.fixture(scope="session")
def keras_3(tmp_path_factory: pytest.TempPathFactory) -> Keras3:
    folder = tmp_path_factory.mktemp("keras3")
    with Child(deadline_s=600, memory_mb=None) as child:
        return Keras3(folder, child.call(made, folder))
