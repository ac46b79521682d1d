"""Where a version goes: a folder of this machine, or a store of objects through fsspec."""

from __future__ import annotations

import errno
import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.errors import InputError, MissingError, RunError
from serving.publishing import Newest, local, remote


@dataclass(frozen=True)
class Scheme:
    """A store of objects.

    Attributes:
        protocol: fsspec's name for it.
        package: what speaks it, modelmill's extra of the scheme's name.
        errors: what it raises beside OSError, as MODULE.CLASS.
        credentials: where it looks for them.
    """

    protocol: str
    package: str
    errors: tuple[str, ...]
    credentials: str


SCHEMES = {
    "s3": Scheme(
        "s3", "s3fs", ("botocore.exceptions.BotoCoreError", "botocore.exceptions.ClientError"),
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws; another store than Amazon's: AWS_ENDPOINT_URL",
    ),
    "gs": Scheme(
        "gs", "gcsfs", ("gcsfs.retry.HttpError", "google.auth.exceptions.GoogleAuthError", "aiohttp.ClientError"),
        "GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`",
    ),
}  # fmt: skip


def require(to: str) -> None:
    """Raise unless something can be pushed to a place.

    Raises:
        InputError: it is no folder and no address that is known.
        MissingError: the package that speaks to it is not installed.
    """
    scheme, found, rest = to.partition("://")
    if not found:
        path = Path(to)
        if path.exists() and not path.is_dir():
            raise InputError(
                f"--to {to} is no model's base path", expected="a folder, which then holds 1/, 2/, ...", found="a file",
                todo="name a folder",
            )  # fmt: skip
        return
    if scheme not in SCHEMES or not rest.strip("/"):
        raise InputError(
            f"--to {to} is no place to push to", expected="a folder, s3://BUCKET/PATH or gs://BUCKET/PATH",
            found=f"{scheme}://" if scheme not in SCHEMES else "no bucket", todo="correct --to",
        )  # fmt: skip
    package = SCHEMES[scheme].package
    if importlib.util.find_spec(package) is None:
        raise MissingError(
            f"{scheme}:// is spoken by {package}, which is not installed", expected=package,
            found="no such package in this Python environment", todo=f"pip install 'modelmill[{scheme}]'",
        )  # fmt: skip


def newest(to: str) -> Newest | None:
    """Return the newest version at a place that `require` let pass; None where there is none.

    Raises:
        RunError: it cannot be read or reached.
    """
    name, found, rest = to.partition("://")
    if not found:
        with _allowed(to):
            return local.newest(Path(to))
    with _reached(to, SCHEMES[name]) as store:
        one = remote.newest(rest, store)
        return one and replace(one, at=f"{name}://{one.at}")


def holds(one: Newest, version: Mapping[str, Path], to: str) -> bool:
    """Return whether a place's newest version has these files; see `newest`."""
    name, found, _ = to.partition("://")
    with _reached(to, SCHEMES[name]) if found else _allowed(to):
        return one.holds(version)


def publish(version: Mapping[str, Path], to: str) -> str:
    """Publish a version's files as the next one at a place that `require` let pass; return its path or address.

    Raises:
        RunError: it cannot be written or reached.
    """
    name, found, rest = to.partition("://")
    if not found:
        with _allowed(to):
            return str(local.publish(version, Path(to)))
    with _reached(to, SCHEMES[name]) as store:
        return f"{name}://{remote.publish(version, rest, store)}"


@contextmanager
def _allowed(to: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise RunError(
            f"cannot push to {to}", expected="a folder that can be written", found=str(error),
            todo="free some space" if full else "choose another --to, or change its permissions",
        ) from error  # fmt: skip


@contextmanager
def _reached(to: str, scheme: Scheme) -> Iterator[Any]:
    """Give the store of an address; what it raises becomes one message."""
    known: tuple[type[Exception], ...] = (OSError, *_classes(scheme))
    try:
        import fsspec

        yield fsspec.filesystem(scheme.protocol)
    except known as error:
        raise RunError(
            f"cannot push to {to}", found=f"{type(error).__name__}: {error}",
            todo=f"check the bucket and your rights to it; credentials are looked for in {scheme.credentials}",
        ) from error  # fmt: skip


def _classes(scheme: Scheme) -> Iterator[type[Exception]]:
    for path in scheme.errors:
        module, _, name = path.rpartition(".")
        try:
            found: Any = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):  # another version of the package, with other words for it
            continue
        yield found
