"""sensitivity: what each layer loses by itself when it alone is shrunk, pruned, clustered or quantized.

Nothing is trained. It is a stored artifact of its own: `exclude: auto` of several stages rests on one measurement.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.compress.sensitivity_config import Config
from pipeline.config import Frozen
from pipeline.data import DataConfig
from pipeline.errors import InputError
from pipeline.events import Emit, Note, Progress
from pipeline.parts import Parts
from pipeline.stage import Job, Result, Surroundings

if TYPE_CHECKING:
    import numpy as np

    from pipeline.compress.sensitivity import Change
    from pipeline.compress.sensitivity_table import Technique
    from pipeline.data import Splits
    from pipeline.measuring.interval import Interval

NAME = "sensitivity"
INPUTS = ("import", "train", "distill")
CODE = (
    "pipeline/compress/__init__.py",
    "pipeline/compress/channel_counts.py",
    "pipeline/compress/channel_graph.py",
    "pipeline/compress/channel_ids.py",
    "pipeline/compress/channel_rules",
    "pipeline/compress/channel_walk.py",
    "pipeline/compress/clustering.py",
    "pipeline/compress/folding.py",
    "pipeline/compress/fusing.py",
    "pipeline/compress/importance.py",
    "pipeline/compress/kernels.py",
    "pipeline/compress/operators.py",
    "pipeline/compress/removal.py",
    "pipeline/compress/sensitivity.py",
    "pipeline/compress/sensitivity_config.py",
    "pipeline/compress/sensitivity_table.py",
    "pipeline/compress/signs.py",
    "pipeline/compress/support.py",
    "pipeline/compress/widths.py",
    "pipeline/data",
    "pipeline/fit",
    "pipeline/formats/__init__.py",
    "pipeline/formats/custom_code.py",
    "pipeline/formats/endings.py",
    "pipeline/formats/ends.py",
    "pipeline/formats/keras_config.py",
    "pipeline/formats/keras_file.py",
    "pipeline/formats/plain/__init__.py",
    "pipeline/formats/plain/model.py",
    "pipeline/legacy_keras.py",
    "pipeline/machine.py",
    "pipeline/measuring/accuracy.py",
    "pipeline/measuring/checks.py",
    "pipeline/measuring/footprint.py",
    "pipeline/measuring/interval.py",
    "pipeline/measuring/macs.py",
    "pipeline/measuring/quality.py",
    "pipeline/measuring/regression.py",
    "pipeline/measuring/resampling.py",
    "pipeline/metric.py",
    "pipeline/own_code/__init__.py",
    "pipeline/own_code/config.py",
    "pipeline/own_code/package.py",
    "pipeline/own_code/source.py",
    "pipeline/parts.py",
    "pipeline/predictor.py",
    "pipeline/quality.py",
    "pipeline/report/model.py",
    "pipeline/rows.py",
    "pipeline/scoring",
    "pipeline/stages/sensitivity.py",
    "pipeline/students_t.py",
    "pipeline/vectorizer.py",
)
LIBRARIES = ("tensorflow", "tf_keras", "numpy", "scipy", "scikit-learn")

_RESAMPLES = 1000
_BATCH = 256


class Clustering(Protocol):
    """What it reads of the section cluster."""

    @property
    def per_channel(self) -> bool: ...


@dataclass(frozen=True)
class Wanted:
    """What decides a table besides the model, the data and the seed."""

    techniques: tuple[Technique, ...]
    amounts: Mapping[str, Sequence[float]]
    per_channel: bool
    samples: int | None


def surroundings(
    emit: Emit,  # noqa: ARG001 - every stage's have the same face
    *, sensitivity: Config | None, shrink: Frozen | None, prune: Frozen | None, cluster: Clustering | None,
    quantize: Frozen | None,
) -> Surroundings:  # fmt: skip
    """Return which techniques and amounts are tried; of the other sections it matters only that they are there."""
    config = sensitivity or Config()
    given: dict[Technique, Any] = {"shrink": shrink, "prune": prune, "cluster": cluster, "quantize": quantize}
    there = tuple(name for name, section in given.items() if section is not None)
    asked = config.techniques or there or tuple(given)
    techniques = tuple(name for name in given if name in asked)
    amounts: dict[str, Sequence[float]] = {name: getattr(config, name) for name in techniques if name != "quantize"}
    per_channel = "cluster" in techniques and cluster is not None and cluster.per_channel
    wanted = Wanted(techniques, amounts, per_channel, config.samples)
    return Surroundings(dataclasses.asdict(wanted), wanted)


def run(job: Job, *, data: DataConfig, seed: int) -> Result:
    """Try each technique on each layer of the model that comes in; the folder gets sensitivity.json.

    It reads no section of its own: what is tried comes with its surroundings (`compress/sensitivity_table.py`). A call
    that goes on measures what is not in `job.work` yet.

    Raises:
        InputError: nothing can be done to any layer, or the model has several outputs.
    """
    from pipeline import data as sources
    from pipeline.compress import sensitivity, sensitivity_table
    from pipeline.compress.sensitivity_table import Sensitivity, Trial
    from pipeline.formats import keras_file
    from pipeline.report import model as reported

    wanted: Wanted = job.found
    splits = sources.load(data, job.store)
    stage, came = list(job.inputs.items())[-1]
    model, _ = keras_file.read(came.folder)
    tries, untouched = _tries(model, splits, wanted, seed)
    judge = _Judge(splits, wanted.samples, seed)
    probe = sensitivity.Probe(model, [name for one in tries for name in one.rounded])
    whole, parts, trials = judge.answers(model), Parts(job.work), list[Trial]()
    for done, one in enumerate(tries):
        job.emit(Progress(NAME, "layer", done, len(tries), item=f"{one.technique} {one.name}"))
        found = parts.find(f"{done:05d}")
        if found is None:
            found = []
            for change in one.changes():
                with probe.changed(change) as changed:
                    lost = judge.lost(whole, judge.answers(changed))
                trial = Trial(
                    technique=one.technique, amount=change.amount, layers=list(change.layers),
                    lost=reported.Interval(**lost.to_dict()), parameters=change.parameters, macs=change.macs,
                )  # fmt: skip
                found.append(trial.model_dump(mode="json"))
            parts.keep(f"{done:05d}", found)
        trials += [Trial.model_validate(trial) for trial in found]
    if not trials:
        raise InputError(
            "sensitivity: none of its techniques can do anything to this model",
            expected="a layer with a kernel that can be shrunk, pruned, clustered or quantized",
            found="; ".join(f"{name}: {why}" for some in untouched.values() for name, why in some.items())
            or "no layer with a kernel",
            todo="leave the section sensitivity and exclude: auto out",
        )  # fmt: skip
    table = Sensitivity(
        stage=stage, metric=splits.spec.head.metric, quality=judge.quality(whole), samples=len(judge.split),
        trials=trials, untouched=untouched,
    )  # fmt: skip
    for technique, reasons in untouched.items():
        for name, reason in reasons.items():
            job.emit(Note(NAME, f"{technique} leaves {name} alone: {reason}"))
    sensitivity_table.write(table, job.folder)
    worst = max(trials, key=lambda trial: trial.lost.value)
    return Result({"layers": len(table.layers()), "trials": len(trials), "worst_loss": worst.lost.value})


@dataclass(frozen=True)
class _Try:
    """A technique on one layer, or on those that lose the same channels, at all amounts."""

    technique: Technique
    name: str
    changes: Callable[[], Iterable[Change]]
    rounded: Sequence[str] = ()


def _tries(model: Any, splits: Splits, wanted: Wanted, seed: int) -> tuple[list[_Try], dict[str, dict[str, str]]]:
    """Return what is tried, and technique -> layer -> why nothing is."""
    tries: list[_Try] = []
    untouched: dict[str, dict[str, str]] = {}
    for technique in wanted.techniques:
        if technique == "shrink":
            found, reasons = _of_channels(model, wanted.amounts[technique])
        elif technique == "quantize":
            found, reasons = _of_ranges(model, splits)
        else:
            found, reasons = _of_kernels(model, technique, wanted, seed)
        tries += found
        if reasons:
            untouched[technique] = reasons
    return tries, untouched


def _of_channels(model: Any, shares: Sequence[float]) -> tuple[list[_Try], dict[str, str]]:
    from pipeline.compress import channel_graph, importance, sensitivity, widths

    graph = channel_graph.follow(model)
    scores = importance.scores(graph, model, "l2")
    tries = [
        _Try("shrink", group.name, partial(sensitivity.shrinkings, model, graph, group, scores, shares))
        for group in graph.removable
    ]
    return tries, {name: reason for reason, names in widths.whole(graph).items() for name in names}


def _of_kernels(model: Any, technique: Technique, wanted: Wanted, seed: int) -> tuple[list[_Try], dict[str, str]]:
    from pipeline.compress import sensitivity, support
    from pipeline.measuring import footprint

    macs = {layer.name: layer.macs for layer in footprint.macs(model).layers}
    tries, reasons = [], {}
    for layer in model.layers:
        why, touched = (
            (support.dense(layer), support.prunable(layer))
            if technique == "prune"
            else (support.spread(layer), support.clusterable(layer))
        )
        if why:
            reasons[layer.name] = why
        elif touched:
            changes = (
                partial(sensitivity.prunings, layer, wanted.amounts[technique], macs.get(layer.name))
                if technique == "prune"
                else partial(
                    sensitivity.clusterings, layer, [int(one) for one in wanted.amounts[technique]],
                    per_channel=wanted.per_channel, seed=seed,
                )
            )  # fmt: skip
            tries.append(_Try(technique, layer.name, changes))
    return tries, reasons


def _of_ranges(model: Any, splits: Splits) -> tuple[list[_Try], dict[str, str]]:
    from pipeline.compress import kernels, sensitivity, support
    from pipeline.data.batches import arrays
    from pipeline.predictor import count, rows

    held = [layer for layer in model.layers if kernels.of(layer)]
    reasons = {layer.name: reason for layer in held if (reason := support.floating(layer))}
    layers = [layer for layer in held if layer.name not in reasons]
    ends, samples = sensitivity.ends(layers), splits.calibration.x
    batches = (arrays(rows(samples, slice(at, at + _BATCH))) for at in range(0, count(samples), _BATCH))
    ranges = sensitivity.ranges(model, ends, batches)
    return [
        _Try("quantize", layer.name, partial(_once, layer, ranges), [end])
        for layer, end in zip(layers, ends, strict=True)
    ], reasons


def _once(layer: Any, ranges: Mapping[str, tuple[float, float]]) -> list[Change]:
    from pipeline.compress import sensitivity

    return [sensitivity.quantization(layer, ranges)]


class _Judge:
    """What answers to the same samples of the validation split are worth, and how much worse some are than others."""

    def __init__(self, splits: Splits, samples: int | None, seed: int) -> None:
        import numpy as np

        from pipeline.data.divide import Split
        from pipeline.fit import tasks
        from pipeline.measuring.quality import Qualities
        from pipeline.predictor import rows

        tasks.only_head(splits.spec)
        self.spec, self.split = splits.spec, splits.validation
        if samples is not None and samples < len(self.split):
            some = np.sort(np.random.default_rng(seed).permutation(len(self.split))[:samples])
            self.split = Split(rows(self.split.x, some), rows(self.split.y, some))
        self._qualities = Qualities(self.spec, self.split.y, _RESAMPLES)

    def answers(self, model: Any) -> np.ndarray:
        """Return what a Keras model answers to them."""
        from pipeline.data.batches import predict

        found: np.ndarray = predict(model, self.split.x, batch_size=_BATCH)
        return found

    def quality(self, answered: np.ndarray) -> float:
        """Return what answers are worth by the metric of the model's head."""
        from pipeline.quality import of_model

        return of_model(self.spec, self.split, answered)

    def lost(self, before: np.ndarray, after: np.ndarray) -> Interval:
        """Return how much worse the second answers are, paired."""
        (found,) = self._qualities.drops(self._as_exported(before), self._as_exported(after)).values()
        return found

    def _as_exported(self, answered: np.ndarray) -> dict[str, np.ndarray]:
        """Return a Keras model's answers by the name that files give them; a reconstruction in raw values."""
        from pipeline.quality import scores

        head = self.spec.head
        if head.task == "anomaly":
            answered = scores(self.spec.input, self.split.x, answered)
        elif head.task == "reconstruction":
            low, high = self.spec.input.bounds
            answered = low + (high - low) * answered
        return {head.answer: answered}
