"""What the terminal and the page say of the models that train chose from, or averaged."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.report.document import Report
from pipeline.report.model import Fitted, Several
from pipeline.report.words import metric, number


def found(report: Report) -> Several | None:
    """Return the candidates or members; None where train fitted one model."""
    return next((model.several for model in report.models if model.several), None)


def quality(one: Fitted, of: Several) -> str:
    """Return what a model is worth on the validation split, or why it has none."""
    return one.error if one.quality is None else metric(of.metric, one.quality)


def curves(report: Report) -> dict[str, Mapping[str, list[float]]]:
    """Return the curves of every model but the one that went on, whose curves are those of train itself."""
    of = found(report)
    if of is None:
        return {}
    return {
        f"{of.role} {place}: {one.name}": one.training
        for place, one in enumerate(of.fitted, start=1)
        if one.training and (of.role == "member" or place != of.best + 1)
    }


def lines(report: Report) -> list[str]:
    """Return a sentence for each model, and what was chosen and why, or what the ensemble is worth."""
    of = found(report)
    if of is None:
        return []
    each = [
        f"{of.role} {place} ({one.name}): {quality(one, of)}, {number(one.parameters)} parameters"
        for place, one in enumerate(of.fitted, start=1)
    ]
    return [*each, of.reason]
