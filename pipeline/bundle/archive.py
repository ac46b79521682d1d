"""The zip: the same bytes for the same files, written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import InputError, RunError

SUMS = "SHA256SUMS"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can say
_LEVEL = 9
_UNIX, _MODE = 3, 0o100644


def sums(files: Mapping[str, bytes]) -> bytes:
    """Return what `sha256sum -c` reads."""
    return "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items())
    ).encode()


def require_free(path: Path, *, force: bool) -> None:
    """Check that a zip may be written.

    Raises:
        InputError: something is there, or it is no name for a zip, or its folder is not there.
    """
    if path.suffix != ".zip":
        raise InputError(
            f"--out {path} is no name for a bundle", expected="a file that ends in .zip", found=path.name,
            todo="choose another --out",
        )  # fmt: skip
    if path.is_dir() or (path.exists() and not force):
        raise InputError(
            f"{path} is there already", expected="no such file", found="a folder" if path.is_dir() else "a file",
            todo="choose another --out" if path.is_dir() else "choose another --out, or write over it: --force",
        )  # fmt: skip
    if not path.parent.is_dir():
        raise InputError(
            f"--out {path} has no folder to go into", expected="a folder that is there", found=f"no {path.parent}",
            todo="make it, or choose another --out",
        )  # fmt: skip


def write(path: Path, folder: str, files: Mapping[str, bytes], *, force: bool) -> None:
    """Write files, and their sums, into a folder of a zip; a reader of the path sees all of it or none.

    Raises:
        InputError: something came to the path meanwhile, and `force` is not given.
        RunError: it cannot be written; the path is then as it was.
    """
    whole = {**files, SUMS: sums(files)}
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(beside, "x") as archive:
            for name, content in sorted(whole.items()):
                one = zipfile.ZipInfo(f"{folder}/{name}", date_time=_EPOCH)
                one.create_system, one.external_attr = _UNIX, _MODE << 16
                archive.writestr(one, content, zipfile.ZIP_DEFLATED, _LEVEL)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        if force:
            beside.replace(path)
        else:
            _name_once(beside, path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise RunError(
            f"cannot write {path}", expected="a folder that can be written", found=str(error),
            todo="free some space" if full else "choose another --out, or change the folder's permissions",
        ) from error  # fmt: skip
    finally:
        beside.unlink(missing_ok=True)


def _name_once(beside: Path, path: Path) -> None:
    """Give a file its name unless another has it: a link is made once, where links can be."""
    try:
        os.link(beside, path)
    except FileExistsError:
        require_free(path, force=False)
    except OSError:  # a file system without links
        require_free(path, force=False)
        beside.replace(path)
