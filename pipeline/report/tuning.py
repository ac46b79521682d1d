"""`tune.json` as types, and `tune.html`: what a search has tried, and what came of it. Keys only ever get added."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipeline.config import Frozen
from pipeline.files import write_json
from pipeline.metric import find

JSON, PAGE = "tune.json", "tune.html"

State = Literal["complete", "pruned", "failed", "interrupted", "running", "waiting"]


class Objective(Frozen):
    """What is to get better: `metric` is that of quality, `unit` that of the others."""

    name: Literal["quality", "latency", "size"]
    direction: Literal["maximize", "minimize"]
    metric: str | None = None
    unit: str | None = None

    @property
    def noun(self) -> str:
        """What it is called: "accuracy", "latency", "size"."""
        metric = find(self.metric) if self.metric else None
        return metric.noun if metric else self.name

    @property
    def scale(self) -> str:
        """In what its values are told on an axis: "%", "ms", "bytes"; empty of a plain number."""
        metric = find(self.metric) if self.metric else None
        return metric.unit.strip() if metric else self.unit or ""

    def bare(self, value: float) -> str:
        """Return a value without its unit, for the tick of an axis."""
        metric = find(self.metric) if self.metric else None
        return f"{100 * value if metric and metric.form == 'percent' else value:,.6g}"

    def written(self, value: float) -> str:
        """Return a value with its unit."""
        metric = find(self.metric) if self.metric else None
        if metric:
            return f"{100 * value:.2f} %" if metric.form == "percent" else metric.text(value)
        return f"{value:,.0f} {self.unit}" if self.name == "size" else f"{value:.4g} {self.unit}"


class Stage(Frozen):
    """What became of a stage in a trial; of a reused one `seconds` are those that it once took."""

    status: Literal["run", "reused", "unfinished"]
    seconds: float


class Trial(Frozen):
    """One trial, by its number in the study.

    `params` has the recipe's keys with the values that were tried, `values` those of the objectives, null where it came
    to none. `reason` says why it failed or was stopped early. `folder` is that of its run, on `host`.
    """

    number: int
    state: State
    params: dict[str, Any]
    values: dict[str, float] | None = None
    seconds: float | None = None
    stages: dict[str, Stage] = Field(default_factory=dict)
    reason: str = ""
    folder: str | None = None
    host: str | None = None

    def shared(self) -> str:
        """Return which stages it reused and which it ran: "train reused, prune run (4.1 s)"."""
        return ", ".join(
            f"{name} reused" if one.status == "reused" else f"{name} {one.status} ({one.seconds:.1f} s)"
            for name, one in self.stages.items()
        )

    def why(self) -> str:
        """Return the reason in one line."""
        return self.reason.partition("\n")[0]


class Tuning(Frozen):
    """The whole of `tune.json`.

    `wanted` is how many trials there are to be. `space` has the recipe's keys with their choices or ranges. `best` is
    the number of the trial of best.yaml, chosen by `rule`; `pareto` are those that no other is better than in all.
    `importance` has for each objective the share of its variance that a key explains (fANOVA), null where that is not
    known, and then `unimportant` says why. `settings` is the recipe that was searched, with every default.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    modelmill: str
    recipe: str
    seed: int
    study: str
    storage: str
    sampler: str
    pruner: str
    wanted: int
    objectives: list[Objective]
    artifact: str | None = None
    runtime: str | None = None
    space: dict[str, Any]
    trials: list[Trial]
    best: int | None = None
    pareto: list[int] = Field(default_factory=list)
    rule: str
    importance: dict[str, dict[str, float]] | None = None
    unimportant: str = ""
    notes: list[str] = Field(default_factory=list)
    settings: dict[str, Any] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)

    def done(self) -> list[Trial]:
        """Return the trials that came to values."""
        return [one for one in self.trials if one.values is not None and one.state == "complete"]

    def chosen(self) -> Trial | None:
        """Return the trial of best.yaml."""
        return next((one for one in self.trials if one.number == self.best), None)

    def ranked(self) -> list[Trial]:
        """Return the trials that came to values: the Pareto ones first, then by the first objective."""
        first = self.objectives[0]
        sign = -1 if first.direction == "maximize" else 1
        places = {number: place for place, number in enumerate(self.pareto)}
        return sorted(
            self.done(),
            key=lambda one: (places.get(one.number, len(places)), sign * (one.values or {})[first.name], one.number),
        )

    def counted(self) -> str:
        """Return how many trials ended how: "8 complete, 1 pruned, 1 failed"."""
        states = [one.state for one in self.trials]
        order = ("complete", "pruned", "failed", "running", "waiting", "interrupted")
        return ", ".join(f"{states.count(state)} {state}" for state in order if state in states)

    def sharing(self) -> str:
        """Return what the sharing of stored stages saved, in a sentence."""
        stages = [stage for one in self.trials for stage in one.stages.values()]
        reused = [stage for stage in stages if stage.status == "reused"]
        if not reused:
            return ""
        return (
            f"{len(reused)} of {len(stages)} stages were reused from the store; "
            f"run again they would have taken {sum(stage.seconds for stage in reused):,.0f} s."
        )

    def title(self) -> str:
        """Return what was done, in a line."""
        return f"{self.recipe}: {self.counted() or 'no trials'} of {self.wanted} trials"


def value(one: Any) -> str:
    """Return a parameter's value as it is written in a recipe, shortly."""
    if isinstance(one, float):
        return f"{one:.4g}"
    return one if isinstance(one, str) else json.dumps(one, ensure_ascii=False)


def parameters(params: Mapping[str, Any]) -> str:
    """Return "a.b=1 c=2"."""
    return " ".join(f"{key}={value(one)}" for key, one in params.items())


def entry(one: Any) -> str:
    """Return a key's choices or range in words."""
    if not isinstance(one, dict):
        return ", ".join(value(choice) for choice in one)
    how = ", in equal ratios" if one["log"] else f" in steps of {value(one['step'])}" if one["step"] else ""
    return f"{value(one['low'])} to {value(one['high'])}{how}"


def write(found: Tuning, folder: Path) -> None:
    """Write tune.html, then tune.json, each whole or not at all."""
    from pipeline.report import tuning, tuning_figures, words
    from pipeline.report.page import templates

    page = templates().get_template("tuning.html")
    write_text(folder / PAGE, page.render(found=found, tuning=tuning, figures=tuning_figures, words=words))
    write_json(folder / JSON, found.model_dump(mode="json", by_alias=True))


def write_text(path: Path, text: str) -> None:
    """Write a text beside the path and rename it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, "utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read(folder: Path) -> Tuning:
    """Return what `write` wrote."""
    return Tuning.model_validate_json((folder / JSON).read_bytes())


def names(found: Sequence[Objective]) -> str:
    """Return what the objectives are called, with the way that is better."""
    return ", ".join(f"{one.noun} ({'more' if one.direction == 'maximize' else 'less'} is better)" for one in found)
