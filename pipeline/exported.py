"""An artifact of a finished run, and the files that may leave it: `push`, `bundle`, `bench` and others find it here.

A run's folder may be a stranger's. What its report names lies in its artifacts/, no link is followed, and every file
holds what export wrote down: nothing else of this machine gets into a version, an image or a measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pipeline.artifact import MANIFEST, Manifest
from pipeline.errors import InputError
from pipeline.files import DamagedError, plain_hashes

if TYPE_CHECKING:
    from pipeline.report.document import Artifact, Report

SERVABLE = ("saved_model", "tflite")
_WORDS = {"saved_model": "a SavedModel", "tflite": "a .tflite", "onnx": "an .onnx"}
_FOLDER = "artifacts"
_EXPORT = Path("stages", "export")


@dataclass(frozen=True)
class Exported:
    """An artifact whose files are those that the run wrote.

    Attributes:
        run: the run's folder.
        item: what the report says of it.
        files: of it and of what is beside it, names below artifacts/ -> sha256.
    """

    run: Path
    item: Artifact
    files: Mapping[str, str]

    @property
    def path(self) -> Path:
        """The file, or a SavedModel's folder above its version."""
        return self.run / str(self.item.path)

    def below(self, folder: str) -> dict[str, Path]:
        """Return what its own folder holds below a folder in it: name in there -> where the file lies."""
        start = f"{self.path.name}/{folder}/"
        return {name.removeprefix(start): self._at(name) for name in self.files if name.startswith(start)}

    def beside(self) -> dict[str, Path]:
        """Return the files that belong to it: names of classes, columns, vocabularies."""
        return {name: self._at(name) for name in (*self.item.labels, *self.item.beside)}

    def store(self) -> Path | None:
        """Return the store that the run's results lie in; None where they lie in the run's own folder."""
        entry = self.run / _EXPORT
        return entry.resolve().parent if entry.is_symlink() else None

    def _at(self, name: str) -> Path:
        return self.path.parent / name


def named(text: str | Path, artifact: str | None = None) -> tuple[Path, str | None]:
    """Return the run and the artifact that RUN[:ARTIFACT] and --artifact name; None: the one to serve.

    A folder with a colon in its name is a run.

    Raises:
        InputError: they name different ones.
    """
    whole = Path(text)
    run, colon, behind = str(text).rpartition(":")
    if not colon or whole.exists() or Path("runs", whole).exists():
        return whole, artifact
    if not run or not behind:
        raise InputError(
            f"{text} names no artifact of a run", expected="RUN or RUN:ARTIFACT", found=str(text), todo="correct it"
        )
    if artifact is not None and artifact != behind:
        raise InputError(
            f"{text} and --artifact {artifact} name different ones", expected="one artifact", found="two",
            todo=f"leave out --artifact, or :{behind}",
        )  # fmt: skip
    return Path(run), behind


def find(folder: Path, report: Report, wanted: str | None, formats: Sequence[str] = SERVABLE) -> Exported:
    """Return a run's artifact by its id, or the one that the run says is to be served; its files are hashed.

    Args:
        folder: the run's.
        formats: those that can be used.

    Raises:
        InputError: there is none, it could not be made, it is of another format, or its files are not the run's.
    """
    return checked(folder, _chosen(folder, report, wanted, formats))


def _chosen(folder: Path, report: Report, wanted: str | None, formats: Sequence[str]) -> Artifact:
    able = [one for one in report.artifacts if one.format in formats and one.path]
    there = ", ".join(one.id for one in able) or "none; the recipe has no section export, or the run did not reach it"
    kinds = " or ".join(_WORDS[one] for one in formats)
    found = next((one for one in report.artifacts if one.id == (wanted or report.to_serve)), None)
    if found is None:
        raise InputError(
            f"{folder} has no artifact {wanted}" if wanted else f"{folder} has no artifact to serve",
            expected=f"{kinds}, one of: {there}" if able else kinds, found=wanted if able and wanted else there,
            todo="name one, RUN:ARTIFACT; `modelmill show` lists them",
        )  # fmt: skip
    if found.path is None:
        raise InputError(f"{found.id} could not be made", found=found.error or "", todo=f"choose another: {there}")
    if found not in able:
        raise InputError(
            f"{found.id} is {_WORDS[found.format]}", expected=kinds, found=found.format, todo=f"choose another: {there}"
        )
    return found


def checked(folder: Path, item: Artifact) -> Exported:
    """Compare an artifact's files, and those beside it, with the hashes that export wrote down.

    Args:
        folder: the run's.
        item: one that could be made.

    Raises:
        InputError: a file was changed, removed, added or made a link; or what export wrote down is gone.
    """
    path = folder / str(item.path)
    names = (path.name, *item.labels, *item.beside)
    written = {name: digest for name, digest in _written(folder).items() if name.partition("/")[0] in names}
    there = _hashes(folder, item.id, names)
    if wrong := sorted({name for name, _ in written.items() ^ there.items()}):
        raise InputError(
            f"{item.id} is damaged", expected="the files as the run wrote them",
            found=f"changed, removed or added: {', '.join(wrong)}",
            todo="run the recipe again: it is exported anew",
        )  # fmt: skip
    return Exported(folder, item, there)


def _written(folder: Path) -> Mapping[str, str]:
    manifest = folder / _EXPORT / MANIFEST
    try:
        return Manifest.model_validate_json(manifest.read_bytes()).files
    except (OSError, ValidationError) as error:
        found = "a file that is none" if isinstance(error, ValidationError) else str(error.strerror)
    todo = "run the recipe again: what is stored is reused"
    if (entry := folder / _EXPORT).is_symlink() and not entry.exists():
        found = f"{entry} links to {entry.readlink()}, which is not there"
        todo = f"copy the run from where it was made with what its links point to, `cp -rL`; else {todo}"
    raise InputError(
        f"{folder} cannot be checked for damage", expected=f"{manifest}, a part of the store that it was made in",
        found=found, todo=todo,
    )  # fmt: skip


def _hashes(folder: Path, name: str, files: Iterable[str]) -> dict[str, str]:
    root = folder / _FOLDER
    try:
        if root.is_symlink():
            raise DamagedError(f"{root} is a link")
        return {key: digest for file in files for key, digest in plain_hashes(root / file, root).items()}
    except DamagedError as error:
        raise InputError(
            f"{name} has files that are not the run's own", expected="files and folders, none of them a link",
            found=str(error), todo="run the recipe again: it is exported anew",
        ) from None  # fmt: skip
