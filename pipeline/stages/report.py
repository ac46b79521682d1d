"""report: `report.json` for scripts and `report.html` for people. Always written, also after an error."""

from __future__ import annotations

from pathlib import Path

from pipeline.files import write_json
from pipeline.report import document, page
from pipeline.run_folder import PAGE, REPORT


def write(report: document.Report, folder: Path) -> None:
    """Write both files; report.json comes last, so that whoever sees it sees all."""
    try:
        beside = folder / f".{PAGE}"
        beside.write_text(page.render(report, folder), encoding="utf-8")
        beside.replace(folder / PAGE)
    finally:  # whatever is wrong with the page, scripts get their answer
        write_json(folder / REPORT, report.model_dump(mode="json", by_alias=True))


def read(folder: Path) -> document.Report:
    """Return the report of a run's folder."""
    return document.Report.model_validate_json((folder / REPORT).read_bytes())
