"""What is to get better: which way, and where a finished run says how good it became."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipeline.errors import InputError, RunError
from pipeline.fit.config import FitConfig
from pipeline.metric import DEFAULTS, Metric, find
from pipeline.plan import Planned, final
from pipeline.recipe import Recipe, check
from pipeline.tune.config import Config, Runtime

if TYPE_CHECKING:
    from pipeline.report.document import Report

_FORMATS: dict[Runtime, str] = {
    "litert": "tflite", "onnxruntime": "onnx", "tensorflow": "saved_model", "served": "saved_model",
}  # fmt: skip


@dataclass(frozen=True)
class Aim:
    """What the trials of a recipe are compared by.

    Attributes:
        metric: which models are judged by, on the validation split.
        artifact: the exported file that latency and size are of; None where neither is an objective.
        runtime: in which its latency is measured.
    """

    recipe: Recipe
    objectives: tuple[str, ...]
    metric: Metric
    artifact: Planned | None
    runtime: Runtime | None

    def directions(self) -> list[Literal["maximize", "minimize"]]:
        """Return "maximize" or "minimize" for each objective."""
        upward = not self.metric.lower
        return ["maximize" if name == "quality" and upward else "minimize" for name in self.objectives]

    @property
    def key(self) -> str:
        """Key of the quality in a stage's metrics."""
        return f"val_{self.metric.name}"

    @property
    def until(self) -> str:
        """The last stage that a trial needs."""
        if "latency" in self.objectives:
            return "measure"
        return "export" if self.artifact else self.recipe.models()[-1]

    def values(self, recipe: Recipe, report: Report) -> list[float]:
        """Return what a trial's finished run is worth, a value for each objective.

        Raises:
            RunError: the run lacks one of them, as where a file could not be made.
        """
        return [self._value(name, recipe, report) for name in self.objectives]

    def _value(self, name: str, recipe: Recipe, report: Report) -> float:
        if name == "quality":
            stage = recipe.models()[-1]
            metrics = next(one.metrics for one in report.stages if one.name == stage)
            if self.key not in metrics:
                raise RunError(f"{stage} has no {self.key}", found=f"{', '.join(metrics)}")
            return metrics[self.key]
        assert self.artifact is not None
        found = next((one for one in report.artifacts if one.id == self.artifact.id), None)
        if found is None or found.error:
            raise RunError(f"there is no {self.artifact.id}", found=found.error or "" if found else "nothing planned")
        if name == "size":
            if not found.gzip_bytes:
                raise RunError(f"{found.id} has no size")
            return float(found.gzip_bytes)
        run = next((one for one in found.runs if one.runtime == self.runtime), None)
        timed = run.single_stream() if run else None
        if timed is None:
            raise RunError(f"{found.id} has no latency in {self.runtime}")
        return timed.p50_ms


def aim(recipe: Recipe) -> Aim:
    """Return what a recipe's trials are compared by.

    Raises:
        InputError: the recipe trains nothing, or makes no file to be measured.
    """
    config = recipe.tune or Config()
    if not any(isinstance(getattr(recipe, name, None), FitConfig) for name in recipe.models()):
        raise InputError(
            f"the recipe {recipe.name} trains nothing", expected="a section that does: train, distill, shrink, prune, "
            "cluster or quantize", todo="add one: trials are compared by what a model learned",
        )  # fmt: skip
    name = recipe.data.metric or DEFAULTS[recipe.data.task or "classification"]
    metric = find(name)
    assert metric is not None  # the recipe was checked
    if config.objectives == ("quality",):
        return Aim(recipe, config.objectives, metric, None, None)
    needed = ["export", *(["measure"] if "latency" in config.objectives else [])]
    missing = [name for name in needed if getattr(recipe, name) is None]
    if missing:
        raise InputError(
            f"tune.objectives names {', '.join(one for one in config.objectives if one != 'quality')}",
            expected=f"the sections {' and '.join(needed)}", found=f"no {' and no '.join(missing)}",
            todo="add them, or leave the objective out",
        )  # fmt: skip
    artifact = _artifact(recipe, config.runtime)
    if config.runtime is not None:
        return Aim(recipe, config.objectives, metric, artifact, config.runtime)
    served: Runtime = "served" if recipe.serving else "tensorflow"
    runtimes: dict[str, Runtime] = {"tflite": "litert", "onnx": "onnxruntime", "saved_model": served}
    return Aim(recipe, config.objectives, metric, artifact, runtimes[artifact.format])


def _artifact(recipe: Recipe, runtime: Runtime | None) -> Planned:
    """Return the recipe's main result, or the last file for a runtime, an int8 one before others."""
    plan = [item for item in recipe.plan() if item.precision != "fake-quant"]
    main = final(plan, recipe.judge.final if recipe.judge else None)
    if runtime is None or main.format == _FORMATS[runtime]:
        return main
    fitting = [item for item in plan if item.format == _FORMATS[runtime]]
    if not fitting:
        raise InputError(
            f"tune.runtime is {runtime}, but the recipe exports nothing for it",
            expected=f"a {_FORMATS[runtime]} file in the section export", found=", ".join(item.id for item in plan),
            todo="export one, or choose another runtime",
        )  # fmt: skip
    plain = [item for item in fitting if item.precision == "int8" and not item.variant]
    return (plain or [item for item in fitting if item.precision == "int8"] or fitting)[-1]


def of_trial(recipe: Recipe, aim: Aim) -> Recipe:
    """Return the recipe of a trial: without limits, and with no more files than the objectives need."""
    document = recipe.model_dump(mode="json") | {"tune": None, "edge": None, "judge": None}
    if aim.artifact is None or document["export"] is None:
        return check(document, recipe.name)
    form, entry = aim.artifact.format, aim.artifact.entry
    lean: dict[str, list[str]] = {"saved_model": ["float32"], "tflite": [], "onnx": []}
    lean[form] = list(dict.fromkeys([*lean[form], entry]))
    if (form, entry) == ("onnx", "int8"):
        lean["tflite"] = ["int8"]  # of which it is made
    mixed = document["export"]["mixed"] if aim.artifact.precision == "mixed" else {}
    export = document["export"] | {"stages": None, "optional": [], "mixed": mixed} | lean
    serving = document["serving"] | {"tflite": None} if aim.runtime == "served" else None
    found = check(document | {"export": export, "serving": serving}, recipe.name)
    if aim.artifact in found.plan():
        return found
    # a file of a stage that exports by the recipe's own list alone
    return check(document | {"serving": serving}, recipe.name)
