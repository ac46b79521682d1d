"""`report.html`: one self-contained page, from the same typed report as `report.json`."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.report import (
    beside,
    channels,
    channels_or_zeros,
    commands,
    confusion,
    distribution,
    figures,
    gauge,
    headline,
    layer_times,
    layers,
    metrics,
    on_device,
    sensitivity,
    several,
    speed,
    starts,
    to_serve,
    tradeoff,
    variants,
    words,
)
from pipeline.report.answers import Answers
from pipeline.report.document import Report
from pipeline.report.waterfall import waterfall


@dataclass(frozen=True)
class Section:
    """A part of the page, in a template of its own; `id` is the template's name and the link's.

    {judged} in `title` is what models are judged by.
    """

    id: str
    title: str
    shown: Callable[[Report], bool]


SECTIONS = (
    Section("failure", "What went wrong", lambda report: report.failure is not None),
    Section("artifacts", "Artifacts", lambda report: bool(report.artifacts)),
    Section("starts", "Start, memory and threads", lambda report: bool(starts.files(report))),
    Section("edge", "On the device", lambda report: report.edge is not None),
    Section("fastest", "Fastest when served", lambda report: report.fastest is not None),
    Section("bought", "What each stage bought", lambda report: bool(report.bought)),
    Section("channels", "Channels removed", lambda report: bool(channels.shrunk(report))),
    Section("layer_times", "Layer times by width", lambda report: report.layer_times is not None),
    Section("sensitivity", "What each layer loses by itself", lambda report: report.sensitivity is not None),
    Section("model", "The model", lambda report: bool(report.models) and not report.bought),
    Section("baseline", "Against a simple model", lambda report: bool(beside.rows(report))),
    Section("tradeoffs", "{judged} against size and latency", lambda report: bool(tradeoff.tradeoffs(report))),
    Section("metrics", "All metrics", lambda report: len(metrics.rows(report)) > 1),
    Section("latencies", "Latency distributions", lambda report: bool(distribution.distributions(report))),
    Section("training", "Training", lambda report: bool(figures.histories(report))),
    Section("speed", "Speed of training", lambda report: any(stage.fits for stage in report.stages)),
    Section("layers", "Sparsity per layer", lambda report: any(model.layers for model in report.models)),
    Section("confusion", "Confusion", lambda report: confusion.shown(report) is not None),
    Section("forecast", "What was foreseen", lambda report: report.forecast is not None),
    Section("data", "The data", lambda report: report.data is not None),
    Section("gates", "Gates", lambda report: bool(report.gates)),
    Section("image", "Image", lambda report: report.image is not None),
    Section("stages", "Stages", lambda report: bool(report.stages)),
    Section("machine", "Machine and versions", lambda _: True),
    Section("commands", "Make it again", lambda report: bool(commands.commands(report))),
)

ROOMS = {
    "beside": beside, "channels": channels, "channels_or_zeros": channels_or_zeros,
    "commands": commands, "confusion": confusion, "distribution": distribution, "figures": figures,
    "gauge": gauge, "headline": headline, "layer_times": layer_times, "layers": layers,
    "metrics": metrics, "on_device": on_device, "starts": starts, "sensitivity": sensitivity, "several": several,
    "speed": speed, "to_serve": to_serve, "tradeoff": tradeoff, "waterfall": waterfall,
    "variants": variants, "words": words,
}  # fmt: skip


def render(report: Report, folder: Path | None = None) -> str:
    """Return the page as HTML; everything that comes from outside is escaped.

    Args:
        folder: the run's folder, which holds the pictures that the report names; None leaves them out.

    Raises:
        OSError: a picture cannot be read.
    """
    judged = words.judged_by(report)
    titles = {section.id: section.title.format(judged=f"{judged[0].upper()}{judged[1:]}") for section in SECTIONS}
    sections = [replace(section, title=titles[section.id]) for section in SECTIONS if section.shown(report)]
    answers = confusion.shown(report)
    settings = yaml.safe_dump(report.settings, sort_keys=False, allow_unicode=True, width=100)
    return (
        templates()
        .get_template("report.html")
        .render(report=report, sections=sections, pictures=_pictures(answers, folder), settings=settings, **ROOMS)
    )


@functools.cache
def templates() -> Environment:
    """Return the templates of pages; everything that comes from outside is escaped."""
    return Environment(
        loader=PackageLoader("pipeline.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def _pictures(answers: Answers | None, folder: Path | None) -> dict[int, str]:
    """Return index of a sample -> its picture as a data URI."""
    if answers is None or folder is None:
        return {}
    return {
        one.index: f"data:image/png;base64,{base64.b64encode((folder / one.picture).read_bytes()).decode('ascii')}"
        for one in answers.hardest
        if one.picture
    }
