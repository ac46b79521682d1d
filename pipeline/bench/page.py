"""`bench.html` and `bench.json`, from the same typed result."""

from __future__ import annotations

from pathlib import Path

import yaml

from pipeline.bench import figures, words
from pipeline.bench.document import JSON, PAGE, Bench
from pipeline.files import write_json
from pipeline.report import words as plain
from pipeline.report.page import templates


def render(found: Bench) -> str:
    """Return the page as HTML; everything that comes from outside is escaped."""
    settings = yaml.safe_dump(found.settings, sort_keys=False, allow_unicode=True, width=100)
    return (
        templates()
        .get_template("bench.html")
        .render(found=found, figures=figures, bench=words, words=plain, settings=settings)
    )


def write(found: Bench, folder: Path) -> None:
    """Write bench.html, then bench.json."""
    beside = folder / f".{PAGE}"
    beside.write_text(render(found), "utf-8")
    beside.replace(folder / PAGE)
    write_json(folder / JSON, found.model_dump(mode="json", by_alias=True))


def there(folder: Path) -> bool:
    """Return whether a folder has an earlier result."""
    return (folder / JSON).exists()


def clear(folder: Path) -> None:
    """Remove an earlier result: an old one never survives a new start."""
    for name in (PAGE, JSON):
        (folder / name).unlink(missing_ok=True)
