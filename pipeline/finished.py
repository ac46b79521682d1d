"""A run that has ended, by its folder or its name below runs/: for the commands that go on from its report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import BusyError, InputError
from pipeline.lock import Lock
from pipeline.run_folder import LOCK, LOG, REPORT

if TYPE_CHECKING:
    from pydantic import ValidationError

    from pipeline.report.document import Report


@contextmanager
def opened(run: Path) -> Iterator[tuple[Path, Report]]:
    """Read a run, and keep another one from writing into its folder until the block ends; several may read at once.

    Args:
        run: the folder, or the run's name below runs/.

    Raises:
        InputError: there is no report, or none of this version.
        BusyError: a run or an image is being made in there.
    """
    folder, _ = read(run)
    with kept(folder):
        yield read(folder)  # a run may have begun since, and have removed it


@contextmanager
def kept(folder: Path, *, alone: bool = False) -> Iterator[None]:
    """Keep runs out of a run's folder until the block ends.

    Args:
        alone: whether others who read are kept out too, because the block writes.

    Raises:
        BusyError: a run, or one who cannot share it, is using the folder.
    """
    path = folder / LOCK
    if not alone and not path.is_file():  # modelmill never made anything here: it was copied without its lock
        yield
        return
    with Lock(path, existing=not alone) as lock:
        try:
            lock.own() if alone else lock.share()
        except BlockingIOError:
            raise BusyError(f"a run is using {folder}", todo="wait until it has ended") from None
        yield


def is_run(path: Path) -> bool:
    """Return whether a path is the folder of a run that has ended, or a run's name below runs/."""
    return any((folder / REPORT).is_file() for folder in (path, Path("runs") / path))


def read(run: Path) -> tuple[Path, Report]:
    """Return a run's folder and its report.

    Args:
        run: the folder, or the run's name below runs/.

    Raises:
        InputError: there is no report, or none of this version.
    """
    from pydantic import ValidationError

    from pipeline.stages import report

    candidates = [run, Path("runs") / run]
    path = next((folder / REPORT for folder in candidates if (folder / REPORT).is_file()), None)
    if path is None:
        raise InputError(
            f"{run} has no {REPORT}", expected="the folder of a run that has ended", found=_what(candidates),
            todo="`modelmill run` makes one",
        )  # fmt: skip
    try:
        return path.parent, report.read(path.parent)
    except ValidationError as error:
        raise InputError(
            f"{path} is not a report of this version", found=f"{error.error_count()} problems: {_first(error)}",
            todo="`modelmill report` writes it again",
        ) from None  # fmt: skip


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _what(candidates: Sequence[Path]) -> str:
    for path in candidates:
        if (path / LOG).is_file():
            return f"{path}, of a run that is going on or was killed: the command that started it goes on from there"
    path = candidates[0]
    return "a folder without one" if path.is_dir() else "a file" if path.exists() else "nothing there"
