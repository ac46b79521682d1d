"""Where a study is kept: an SQLite file, or any database that SQLAlchemy knows; its password is never shown."""

from __future__ import annotations

import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import DiskError, InputError, MissingError, UnavailableError, translate_os_error

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

# how often a process says that it still works on a trial, and after how long another one may take it over
HEARTBEAT_S, GRACE_S = 15, 60
# of several processes that begin at once one makes the tables, and SQLite lets one write at a time
_WAIT_S, _TRIES = 60.0, 5


def default(folder: Path) -> str:
    """Return the URL of the SQLite file in a folder."""
    return f"sqlite:///{folder / 'study.db'}"


def shown(url: str) -> str:
    """Return a storage's URL as it may be seen: without user, password and options, any of which may be secret."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        found = make_url(url)
    except (ArgumentError, ValueError):
        return "the given URL"
    host = f"{found.host}{f':{found.port}' if found.port else ''}" if found.host else ""
    return f"{found.drivername}://{host}/{found.database or ''}"


def opened(url: str) -> RDBStorage:
    """Return the storage, its tables made where it is new.

    Raises:
        InputError: the URL is none.
        MissingError: the database's driver is not installed.
        UnavailableError: the database does not answer.
        DiskError: the file cannot be written.
    """
    import optuna
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise InputError(
            "--storage is no database's URL", expected="a URL as SQLAlchemy writes it",
            todo="for example sqlite:///study.db, or postgresql://USER:PASSWORD@HOST/NAME",
        ) from None  # fmt: skip
    settings: dict[str, Any] = {}
    if parsed.get_backend_name() == "sqlite":
        settings = {"connect_args": {"timeout": _WAIT_S}}
        if not parsed.database or parsed.database == ":memory:":
            raise InputError(
                f"--storage {shown(url)} is lost when the command ends", expected="a file",
                todo="for example sqlite:///study.db",
            )  # fmt: skip
    else:
        settings = {"pool_pre_ping": True}
    with told(url):
        for left in reversed(range(_TRIES)):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                    return optuna.storages.RDBStorage(
                        url, engine_kwargs=settings, heartbeat_interval=HEARTBEAT_S, grace_period=GRACE_S,
                        heartbeat_stale_trial_callback=again(),
                    )  # fmt: skip
            except (NoSuchModuleError, ImportError) as error:
                raise MissingError(
                    f"--storage {shown(url)} needs a driver that is not there",
                    expected=f"the Python package for {parsed.drivername}", found=_line(error),
                    todo="pip install it (psycopg2-binary for postgresql, pymysql for mysql+pymysql)",
                ) from None  # fmt: skip
            except DatabaseError as error:  # another process makes the same tables: it will have made them soon
                if not left or "unable to open" in str(error):
                    raise
                time.sleep(0.3 * (_TRIES - left))
    raise AssertionError  # the last try returns or raises


def again() -> Any:
    """Return what enqueues a trial once more whose process is gone: with the same values, and what it reported."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.storages.RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)


@contextmanager
def told(url: str) -> Iterator[None]:
    """Translate what a database raises into our errors, without what its URL holds."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import OperationalError, SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = getattr(error, "orig", None) or error.__cause__ or error
        cause = getattr(cause, "orig", None) or cause
        if disk := _disk(cause, url):
            raise disk from None
        known = isinstance(error, (OperationalError, StorageInternalError))
        raise UnavailableError(
            f"the storage {shown(url)} {'does not answer' if known else 'cannot be used'}", code="UNAVAILABLE",
            found=_without_secrets(_line(cause), url),
            todo="see that it runs and lets you in, then run the same command again: it goes on",
        ) from None  # fmt: skip


def _disk(error: BaseException, url: str) -> DiskError | None:
    if not isinstance(error, sqlite3.Error):
        return None
    said = str(error)
    for name, words in (("No space left on device", "disk is full"), ("Read-only file system", "readonly")):
        if words in said:
            return translate_os_error(OSError(name), Path(shown(url)))
    if "unable to open" in said:
        return DiskError(
            f"cannot open the study's file {shown(url)}", found=said,
            todo="name a file in a folder that is there and that you may write to",
        )  # fmt: skip
    return None


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _without_secrets(text: str, url: str) -> str:
    from urllib.parse import quote, quote_plus

    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    secrets = [str(parsed.password or ""), *(str(one) for one in parsed.query.values())]
    for secret in secrets:
        for form in {secret, quote(secret, safe=""), quote_plus(secret)} - {""}:
            text = text.replace(form, "***")
    return text.replace(url, shown(url))
