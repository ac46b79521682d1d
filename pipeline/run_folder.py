"""A run's folder: whose it is, its log, its links into the store, the exported files and the report.

RUN/  recipe.yaml   log.txt   stages/STAGE -> store entries   artifacts/   report.json   report.html
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.artifact import MANIFEST, Artifact, Manifest
from pipeline.errors import BusyError, InputError
from pipeline.files import link_all
from pipeline.lock import Lock

LOCK, AGAIN = ".modelmill.lock", ".again.json"
REPORT, PAGE, LOG, RECIPE = "report.json", "report.html", "log.txt", "recipe.yaml"


class RunFolder:
    """The folder of one run; use it inside `held()`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def report(self) -> Path:
        return self.path / REPORT

    @property
    def log(self) -> Path:
        return self.path / LOG

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, keep other runs out, and remove an older run's report.

        Raises:
            InputError: it is somebody else's folder.
            BusyError: another run uses it.
            OSError: it cannot be written.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(
                f"{self.path} cannot be a run's folder",
                expected="a folder",
                found="a file",
                todo="choose another --out",
            )
        if self.path.is_dir() and not (self.path / LOCK).exists() and any(self.path.iterdir()):
            raise InputError(
                f"{self.path} is not a run's folder", expected="a new or empty folder, or one that modelmill made",
                found="a folder with other files in it", todo="choose another --out",
            )  # fmt: skip
        self.path.mkdir(parents=True, exist_ok=True)
        with Lock(self.path / LOCK) as lock:
            try:
                lock.own()
            except BlockingIOError:
                raise BusyError(
                    f"another run is using {self.path}", todo="wait until it has ended, or choose another --out"
                ) from None
            for name in (REPORT, PAGE):
                (self.path / name).unlink(missing_ok=True)
            yield

    def link(self, stage: str, entry: Path) -> Manifest | None:
        """Point stages/STAGE at a store entry; returns the manifest it pointed at before."""
        link = self.path / "stages" / stage
        link.parent.mkdir(exist_ok=True)
        before = None
        with suppress(OSError, ValueError):
            before = Manifest.model_validate_json((link / MANIFEST).read_bytes())
        target = os.path.relpath(entry, link.parent.resolve())
        if not link.is_symlink() or os.readlink(link) != target:  # noqa: PTH115 - relative, as it is written
            beside = link.with_name(f".{stage}.{os.getpid()}")
            beside.unlink(missing_ok=True)
            beside.symlink_to(target)
            beside.replace(link)
        return before

    def unlink(self, stages: Iterable[str]) -> None:
        """Remove the links of stages that the recipe does not have (any more)."""
        for stage in stages:
            (self.path / "stages" / stage).unlink(missing_ok=True)

    def publish_model(self, made: Artifact, stage: str) -> None:
        """Put a stage's model into artifacts/, as STAGE.keras: what a run without exported files is there for."""
        self.artifacts.mkdir(exist_ok=True)
        graph = made.folder / "model.saved_model"  # of a user's that has no layers
        suffix, model = ("saved_model", graph) if graph.exists() else ("keras", made.file("model.keras"))
        link_all(model, self.artifacts / f"{stage}.{suffix}")

    def publish(self, exported: Artifact | None, names: Iterable[str]) -> None:
        """Fill artifacts/ with hard links to the exported files, or copies where links cannot be."""
        target = self.artifacts
        if target.exists():
            shutil.rmtree(target)
        if exported is None:
            return
        for name in names:
            if exported.file(name).exists():
                target.mkdir(exist_ok=True)
                link_all(exported.file(name), target / name)

    def publish_beside(self, made: Artifact, name: str) -> None:
        """Put a folder that a later stage made beside the exported files."""
        self.artifacts.mkdir(exist_ok=True)
        link_all(made.file(name), self.artifacts / name)
