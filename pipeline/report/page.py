"""`report.html`: one self-contained page, from the same typed report as `report.json`."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.report import figures, tables
from pipeline.report.document import Report


def render(report: Report) -> str:
    """Return the page as HTML; everything that comes from outside is escaped."""
    environment = Environment(
        loader=PackageLoader("pipeline.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    curves = Markup(figures.training(report.training)) if report.training else None
    return environment.get_template("report.html").render(
        report=report, tables=tables, percent=tables.percent, curves=curves
    )
