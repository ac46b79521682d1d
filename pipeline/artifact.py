"""The store: every stage's result as a folder that is whole or not there, found by its fingerprint.

STORE/STAGE-FINGERPRINT/            files and manifest.json, read-only
STORE/STAGE-FINGERPRINT.partial/    work/ (checkpoints) and entry/ (being written), while it is made
STORE/STAGE-FINGERPRINT.lock        held by whoever makes it
STORE/STAGE-FINGERPRINT.runs        the runs that refer to it, one absolute path a line
"""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.config import Frozen
from pipeline.files import canonical, hashes, write_json
from pipeline.lock import Lock

MANIFEST = "manifest.json"
_TURN_S = 0.2

Basis = dict[str, Any]


class Manifest(Frozen):
    """What an artifact is made of and what it holds.

    Attributes:
        basis: everything that decided the result; the fingerprint is its hash.
        files: path below the folder -> sha256.
        metrics: figures for the report.
        transient: failures of the moment in this result; such an artifact is not used by another run.
        fits: how fast its models were trained, as `report/speed.py` has it.
        compute: what they were trained on, as the report has it; null: it trained nothing.
    """

    stage: str
    fingerprint: str
    basis: dict[str, Any]
    files: dict[str, str]
    seconds: float
    metrics: dict[str, float]
    transient: tuple[str, ...] = ()
    fits: tuple[dict[str, Any], ...] = ()
    compute: dict[str, Any] | None = None


@dataclass(frozen=True)
class Artifact:
    """A stored result."""

    folder: Path
    manifest: Manifest

    @property
    def content(self) -> str:
        """Hash of what its files hold: what a later stage's result depends on."""
        return hashlib.sha256(canonical(self.manifest.files).encode()).hexdigest()[:24]

    def file(self, name: str) -> Path:
        """Return the path of one of its files or folders."""
        return self.folder / name


@dataclass(frozen=True)
class Damaged:
    """A stored result that cannot be trusted, and why."""

    reason: str


def fingerprint(basis: Basis) -> str:
    """Return the hash of everything that decides a result."""
    return hashlib.sha256(canonical(basis).encode()).hexdigest()[:24]


def _files(folder: Path) -> dict[str, str]:
    return {name: digest for name, digest in hashes(folder, folder).items() if name != MANIFEST}


class Store:
    """The folder of all results; several runs share it."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def entry(self, stage: str, key: str) -> Path:
        """Return where a result is or will be."""
        return self.root / f"{stage}-{key}"

    def find(self, stage: str, basis: Basis) -> Artifact | Damaged | None:
        """Return the stored result for a basis, None where there is none, or why it cannot be used.

        Its files are hashed: they are hard-linked into run folders, where somebody may have changed one.
        """
        folder = self.entry(stage, fingerprint(basis))
        if not folder.is_dir():
            return None
        try:
            manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        except (OSError, ValidationError):
            return Damaged("its manifest cannot be read")
        if canonical(manifest.basis) != canonical(basis):
            return Damaged("its manifest belongs to something else")
        if manifest.transient:
            return Damaged(f"it holds for that run alone ({'; '.join(manifest.transient)})")
        found = _files(folder)
        wrong = sorted({name for name, _ in found.items() ^ manifest.files.items()})
        if wrong:
            return Damaged(f"its files were changed ({', '.join(wrong)})")
        return Artifact(folder, manifest)

    def lock(self, stage: str, key: str) -> Lock:
        """Return the lock of an entry: owned by who makes it, shared by who uses it."""
        self.root.mkdir(parents=True, exist_ok=True)
        return Lock(Path(f"{self.entry(stage, key)}.lock"))

    def find_or_own(
        self, stage: str, basis: Basis, lock: Lock, waiting: Callable[[], None], *, afresh: bool = False
    ) -> Artifact | Damaged | None:
        """Return the stored result, its lock shared; or why there is none to use, its lock owned: it is ours to make.

        Who comes while another makes it waits until it is there, and not until the other has no more use for it.

        Args:
            lock: the entry's, held by nobody of this process.
            waiting: called before each wait for others.
            afresh: look for nothing, own it.
        """
        if afresh:
            lock.own(waiting)
            return None
        while True:
            try:
                lock.own()
                owned = True
            except BlockingIOError:
                lock.share(waiting)
                owned = False
            found = self.find(stage, basis)
            if isinstance(found, Artifact):
                lock.share(waiting)
                return found
            if owned:
                return found
            if found is None:  # who was to make it has failed; others may have waited too, and one of us makes it
                lock.release()
                time.sleep(random.uniform(0, _TURN_S))
            else:  # others use what is of no use to us
                lock.own(waiting)

    def unfinished(self, stage: str, key: str) -> bool:
        """Return whether an earlier call left work to go on from."""
        work = Path(f"{self.entry(stage, key)}.partial") / "work"
        return work.is_dir() and any(work.iterdir())

    def begin(self, stage: str, key: str, *, afresh: bool) -> tuple[Path, Path]:
        """Return (folder for the result, folder for unfinished work); the entry's lock must be owned.

        Args:
            afresh: forget unfinished work of an earlier call.
        """
        partial = Path(f"{self.entry(stage, key)}.partial")
        if afresh:
            shutil.rmtree(partial, ignore_errors=True)
        folder, work = partial / "entry", partial / "work"
        work.mkdir(parents=True, exist_ok=True)
        for other in partial.iterdir():  # what a killed call left: half an entry, or one that it had replaced
            if other != work:
                shutil.rmtree(other) if other.is_dir() else other.unlink()
        folder.mkdir()
        return folder, work

    def commit(self, manifest: Mapping[str, Any], folder: Path) -> Artifact:
        """Make a result appear at once and whole; replaces an older one under the same fingerprint."""
        whole = Manifest(**manifest, files=_files(folder))
        for path in folder.rglob("*"):
            if path.is_file():
                path.chmod(0o444)
        write_json(folder / MANIFEST, whole.model_dump(mode="json"))
        entry = self.entry(whole.stage, whole.fingerprint)
        partial = folder.parent
        if entry.exists():
            entry.replace(partial / "replaced")
        folder.replace(entry)
        shutil.rmtree(partial, ignore_errors=True)
        return Artifact(entry, whole)

    def refer(self, stage: str, key: str, run: Path) -> None:
        """Note that a run uses an entry, so that `gc` keeps it."""
        path = Path(f"{self.entry(stage, key)}.runs")
        runs = set(path.read_text(encoding="utf-8").splitlines()) if path.exists() else set()
        if str(run.absolute()) not in runs:
            path.parent.mkdir(parents=True, exist_ok=True)  # decoded data is referred to before anything is stored
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{run.absolute()}\n")
