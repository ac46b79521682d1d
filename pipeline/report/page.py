"""`report.html`: one self-contained page, from the same typed report as `report.json`."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.report import figures, words
from pipeline.report.document import Report


def render(report: Report) -> str:
    """Return the page as HTML; everything that comes from outside is escaped."""
    environment = Environment(
        loader=PackageLoader("pipeline.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    template = environment.get_template("report.html")
    return template.render(report=report, words=words, figures=figures)
