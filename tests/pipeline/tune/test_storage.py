"""Where a study is kept: what is wrong with a URL is told, and its secrets are not."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from pipeline.errors import DiskError, InputError, MissingError, ModelmillError, UnavailableError
from pipeline.tune import storage

SECRET = "s3cr3t%2Fx"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///runs/study.db", "sqlite:///runs/study.db"),
        (f"postgresql://me:{SECRET}@host:5432/studies?sslpassword={SECRET}", "postgresql://host:5432/studies"),
        ("mysql+pymysql://me@host/studies", "mysql+pymysql://host/studies"),
        (SECRET, "the given URL"),
    ],
)
def test_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert storage.shown(url) == shown


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        (SECRET, InputError, "--storage is no database's URL"),
        ("sqlite://", InputError, "is lost when the command ends"),
        ("sqlite:////nowhere/at/all/study.db", DiskError, "cannot open the study's file sqlite:////nowhere"),
        (f"nosuch://me:{SECRET}@host/studies", MissingError, "needs a driver that is not there"),
        (f"postgresql+psycopg2://me:{SECRET}@host/studies", MissingError, "the Python package for postgresql+psycopg2"),
    ],
)
def test_storage_that_cannot_be_opened_is_told_without_its_secrets(
    url: str, kind: type[ModelmillError], said: str
) -> None:
    with pytest.raises(kind) as caught:
        storage.opened(url)
    assert said in str(caught.value)
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


def test_what_a_driver_says_of_its_url_is_covered() -> None:
    from sqlalchemy.exc import OperationalError

    url = f"postgresql://me:{SECRET}@host/studies"
    with pytest.raises(UnavailableError) as caught, storage.told(url):
        raise OperationalError("select", {}, Exception(f"no way to {url} with s3cr3t/x or {SECRET}"))
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value, chain=False))
    assert "the storage postgresql://host/studies does not answer" in str(caught.value)
    assert caught.value.transient  # the same command goes on


def test_storage_in_a_folder_is_a_file_in_it(tmp_path: Path) -> None:
    storage.opened(storage.default(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]
