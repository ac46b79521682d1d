"""What the reports of a matrix's runs say of each of its cells."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline import machine
from pipeline.formats.export_config import QUANTIZE
from pipeline.formats.precisions import ORT
from pipeline.metric import of_key
from pipeline.plan import Planned
from pipeline.report import matrix as document

if TYPE_CHECKING:
    from pipeline.errors import ModelmillError
    from pipeline.matrix.rows import Row
    from pipeline.recipe import Recipe
    from pipeline.report.document import Artifact, Report


@dataclass(frozen=True)
class Made:
    """What came of a row's run: its report, or the error that ended it.

    Attributes:
        row: which.
        recipe: of the run; None where the row's model does not go with the matrix's recipe.
    """

    row: Row
    recipe: Recipe | None = None
    report: Report | None = None
    error: ModelmillError | None = None


def asked(recipe: Recipe) -> dict[document.Column, Planned]:
    """Return the columns of a run -> what is made for them: of several stages' the last one's."""
    return {_column(item): item for item in recipe.plan()}


def _column(item: Planned) -> document.Column:
    entry = ".".join(part for part in (item.precision, item.variant) if part)
    learned = item.stage == QUANTIZE if item.precision == "int8" and item.variant != ORT else None
    return document.Column(format=item.format, entry=entry, learned=learned)


def columns(recipes: Sequence[Recipe]) -> list[document.Column]:
    """Return what runs are asked for together, format by format, each in the order of the recipe."""
    found = dict.fromkeys(one for recipe in recipes for one in asked(recipe))
    return [one for form in document.FORMATS for one in found if one.format == form]


def together(recipe: Recipe, command: str, made: Sequence[Made], libraries: Sequence[str]) -> document.Matrix:
    """Return the whole matrix.

    Args:
        recipe: that the runs were made of.
        command: that makes it again.
        made: what came of each row, one of which had a recipe at least.
        libraries: whose versions are told.
    """
    wanted = columns([one.recipe for one in made if one.recipe])
    return document.Matrix(
        modelmill=importlib.metadata.version("modelmill"),
        recipe=recipe.name,
        command=command,
        columns=wanted,
        rows=[_row(one, wanted) for one in made],
        settings=recipe.model_dump(mode="json"),
        machine=machine.describe(libraries),
    )


def _row(made: Made, wanted: Sequence[document.Column]) -> document.Row:
    row, report = made.row, made.report
    cells = {cell.column: cell for cell in _cells(made)}
    why = _said(made.error) if made.error else "the recipe does not ask for it"
    ids = {cell.artifact for cell in cells.values()}
    described: dict[str, Any] = {}
    if report:
        described = {
            "data": report.data.source if report.data else "", "judged": _judged(report), "samples": _samples(report),
            "seconds": round(sum(stage.seconds or 0 for stage in report.stages), 1),
            "unforeseen": [text for text in report.unforeseen if not _is_of(text, ids)],
        }  # fmt: skip
    return document.Row(
        name=row.name, architecture=row.architecture, model=dict(row.model), mixed=_mixed(made.recipe),
        folder=row.name if made.recipe else None,
        cells=[cells.get(one) or document.Cell(column=one, reason=why) for one in wanted], **described,
    )  # fmt: skip


def _mixed(recipe: Recipe | None) -> dict[str, str]:
    return dict(recipe.export.mixed) if recipe and recipe.export else {}


def _is_of(text: str, ids: set[str | None]) -> bool:
    """Return whether a sentence says that a file could or could not be made, which its cell tells."""
    name, _, rest = text.partition(": ")
    return name in ids and "; foreseen was: " in rest


def _cells(made: Made) -> Iterator[document.Cell]:
    if made.recipe is None:
        return
    artifacts = {item.id: item for item in made.report.artifacts} if made.report else {}
    foreseen = _foreseen(made.report) if made.report else {}
    for one, item in asked(made.recipe).items():
        found = artifacts.get(item.id)
        ran, why, passing = None, _said(made.error) if made.error else "it was not measured", False
        if made.report is not None and found is not None:
            ran, why = _ran(found), ""
            if ran is None:
                passing = found.error is not None and found.transient
                why = _line(f"{'this time: ' if passing else ''}{_why(found, made.report)}")
        yield document.Cell(
            column=one, artifact=item.id, ran=ran, reason=why, foreseen=foreseen.get(item.id), passing=passing
        )


def _why(item: Artifact, report: Report) -> str:
    """Return why there is nothing of an artifact."""
    against = next((one for one in report.artifacts if one.id == report.reference), None)
    if item.error is None and against is not None and against.error:
        return f"it cannot be compared, because {against.id} failed: {against.error}"
    return item.error or "it was not measured"


def _foreseen(report: Report) -> Mapping[str, str]:
    """Return artifact id -> why doctor said that it cannot be made, empty where it said that it can."""
    forecast = report.forecast
    return {one.id: one.refused for one in forecast.lines[0].files} if forecast and forecast.lines else {}


def _ran(item: Artifact) -> document.Ran | None:
    """Return what an artifact was worth where it was compared first; None where it, or its reference, failed."""
    run = next((run for run in item.runs if run.judged and run.parity), None)
    if item.error or run is None or run.parity is None or item.bytes is None or item.gzip_bytes is None:
        return None
    key, graph = run.judged[0], item.operators
    if f"{key}_drop" not in run.metrics:
        return None
    return document.Ran(
        runtime=run.runtime, metric=run.metrics[key], drop=run.metrics[f"{key}_drop"], parity=run.parity.agreement(),
        bytes=item.bytes, gzip_bytes=item.gzip_bytes, integer=graph.integer if graph else 0,
        floating=graph.floating if graph else 0, batch=item.batch, in_points=of_key(key)[1].most is not None,
    )  # fmt: skip


def _judged(report: Report) -> str | None:
    return next((run.judged[0] for item in report.artifacts for run in item.runs if run.judged), None)


def _samples(report: Report) -> int | None:
    found = next((stage.metrics.get("test_samples") for stage in report.stages if stage.name == "measure"), None)
    return None if found is None else int(found)


def _said(error: ModelmillError | None) -> str:
    assert error is not None
    return _line(str(error))


def _line(text: str) -> str:
    """Return a message of several lines in one."""
    return "; ".join(line.strip() for line in text.splitlines())
