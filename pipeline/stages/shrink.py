"""shrink: whole channels are taken out, so that a smaller, ordinary model is left, which learns to do without them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from pipeline.data import DataConfig
from pipeline.errors import PromiseError
from pipeline.events import Emit, Note
from pipeline.fit.config import FineTuning
from pipeline.measuring.layer_times_config import LatencyTarget
from pipeline.stage import Job, Result

if TYPE_CHECKING:
    from pipeline.compress.channel_graph import ChannelGraph
    from pipeline.compress.widths import Cost
    from pipeline.data import Splits
    from pipeline.measuring.layer_times import LayerTimes

NAME = "shrink"
PROFILE = "profile"
INPUTS = ("import", "train", "distill", PROFILE)
# what may be the target -> what it is called
CODE = (
    "pipeline/compress/__init__.py",
    "pipeline/compress/channel_counts.py",
    "pipeline/compress/channel_graph.py",
    "pipeline/compress/channel_ids.py",
    "pipeline/compress/channel_rules",
    "pipeline/compress/channel_walk.py",
    "pipeline/compress/distillation.py",
    "pipeline/compress/importance.py",
    "pipeline/compress/kernels.py",
    "pipeline/compress/removal.py",
    "pipeline/compress/support.py",
    "pipeline/compress/taylor.py",
    "pipeline/compress/widths.py",
    "pipeline/data",
    "pipeline/fine_tune.py",
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
    "pipeline/measuring/anatomy.py",
    "pipeline/measuring/footprint.py",
    "pipeline/measuring/layer_times.py",
    "pipeline/measuring/layer_times_config.py",
    "pipeline/measuring/macs.py",
    "pipeline/metric.py",
    "pipeline/own_code/__init__.py",
    "pipeline/own_code/config.py",
    "pipeline/own_code/objective.py",
    "pipeline/own_code/package.py",
    "pipeline/own_code/source.py",
    "pipeline/predictor.py",
    "pipeline/quality.py",
    "pipeline/report/model.py",
    "pipeline/rows.py",
    "pipeline/scoring",
    "pipeline/stages/shrink.py",
    "pipeline/vectorizer.py",
)
LIBRARIES = ("tensorflow", "tf_keras", "numpy", "scikit-learn")

TARGETS = {"macs": "the MACs", "parameters": "the parameters", "latency": "the time"}
# what it is called among the stage's metrics
_KEYS = {"latency": "latency_ms"}
# why a group keeps all its channels, besides what the graph says
_SINGLE = "it has one channel"
_TRIED = 64
_HELD = "shrink.layers, min_share and multiple allow no fewer"


class Config(FineTuning):
    """How much of the model may stay, which channels go, and how the rest learns on. Exactly one target."""

    macs: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="target: share of the MACs that may stay; one of macs, parameters, latency",
    )
    parameters: float | None = Field(default=None, gt=0, lt=1, description="target: share of the parameters")
    latency: LatencyTarget | None = Field(
        default=None,
        description="target: share of the time in a runtime, by times of the layers that are measured once, at several "
        "widths, and stored",
    )
    importance: Literal["l1", "l2", "batch_norm", "taylor", "random"] = Field(
        default="l2",
        description="which channels go first: those with small weights (l1, l2), with a small scale in batch "
        "normalization, or whose removal changes the loss on the calibration split least (taylor); random is a control",
    )
    selection: Literal["global", "uniform"] = Field(
        default="global",
        description="global: the least important of all channels go; uniform: every group keeps the same share",
    )
    multiple: int | None = Field(
        default=8,
        ge=1,
        description="widths are multiples of this in layers of 16 channels or more, since others are seldom faster; "
        "null: any width",
    )
    min_share: float = Field(default=0.1, gt=0, lt=1, description="no group keeps less than this share of its channels")
    layers: dict[str, float | None] = Field(
        default={},
        description="by a layer's name or a pattern (stack_1_*): share of the channels that stays at least; null: all",
    )
    steps: int = Field(
        default=1, ge=1, description="rounds of removal and fine-tuning, which share the epochs; 1: all at once"
    )

    @model_validator(mode="after")
    def _possible(self) -> Config:
        given = [name for name in TARGETS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected exactly one of {', '.join(TARGETS)}, found {' and '.join(given) or 'none'}; "
                + (
                    "leave the others out, or set them to null"
                    if given
                    else "for example macs: 0.5, to keep half of the MACs"
                )
            )
        wrong = {name: share for name, share in self.layers.items() if share is not None and not 0 < share < 1}
        if wrong:
            raise ValueError(f"layers wants shares between 0 and 1, or null, but has {wrong}")
        if self.steps > self.epochs:
            raise ValueError(f"steps ({self.steps}) must be at most epochs ({self.epochs}): each is fine-tuned for one")
        least = self.epochs // self.steps
        if self.schedule.warmup_epochs >= least:
            raise ValueError(
                f"schedule.warmup_epochs must be less than the epochs of a step ({least}), but is "
                f"{self.schedule.warmup_epochs:g}: the learning rate would never reach its peak"
            )
        if self.early_stopping and self.early_stopping.from_epoch > least:
            raise ValueError(
                f"early_stopping.from_epoch must be at most the epochs of a step ({least}), but is "
                f"{self.early_stopping.from_epoch}: no epoch would count"
            )
        return self

    @property
    def what(self) -> str:
        """Name of the target."""
        return next(name for name in TARGETS if getattr(self, name) is not None)

    @property
    def share(self) -> float:
        """How much may stay of it, in (0, 1)."""
        found = getattr(self, self.what)
        return found.share if isinstance(found, LatencyTarget) else float(found)

    def rounds(self) -> list[tuple[float, int]]:
        """Return for each round the share that may stay, of what came in, and the epochs of its fine-tuning.

        The shares fall geometrically from 1, so that each round takes the same share of what the one before left.
        """
        each = self.epochs // self.steps
        shares = [self.share ** (place / self.steps) for place in range(1, self.steps)]
        return [*((share, each) for share in shares), (self.share, self.epochs - each * (self.steps - 1))]


def run(job: Job, *, data: DataConfig, shrink: Config, seed: int) -> Result:
    """Take channels out of a copy of the model that comes in, in rounds, and fine-tune what remains.

    The folder gets the model (`formats/keras_file.py`) and models.json, which says of each group of channels how many
    stayed, or why all did. Each round's checkpoints are in a folder of its own below `job.work`: a call that goes on
    makes the rounds before the interruption again out of them, and trains none of them again.

    Raises:
        DivergedError: a loss is not finite.
        InputError: `layers` names what is not there, nothing can be removed, or the target cannot be reached.
        PromiseError: more is left than the target, or the model has other ends than the one that came in.
    """
    from pipeline import data as sources
    from pipeline import fine_tune
    from pipeline.compress import channel_graph, importance, removal, widths
    from pipeline.formats import keras_file
    from pipeline.measuring import anatomy
    from pipeline.report.model import Channels, write_models

    splits = sources.load(data, job.store)
    # the last of its inputs is the model that comes in
    models = {name: made for name, made in job.inputs.items() if name != PROFILE}
    times, job = _times(job, shrink), dataclasses.replace(job, inputs=models)
    came, _ = keras_file.read(fine_tune.last(job.inputs).folder)
    graph = whole = channel_graph.follow(came)
    allowed = widths.allowed(
        whole, [layer.name for layer in came.layers], multiple=shrink.multiple, min_share=shrink.min_share,
        layers=shrink.layers,
    )  # fmt: skip
    reasons = _reasons(whole, allowed)
    _tell_what_stays(whole, reasons, shrink, job.emit)
    had = _amounts(came, whole, times)
    unit, amount = TARGETS[shrink.what], had[shrink.what]
    widths.require_reachable(whole, allowed, cost=_cost(shrink, whole, times), budget=shrink.share * amount, unit=unit)
    before, teaching = fine_tune.quality(came, splits), fine_tune.teaching(job.inputs, shrink)
    model, now, curves, epoch = came, dict(whole.full), dict[str, list[float]](), 0
    for place, (share, epochs) in enumerate(shrink.rounds()):
        gradients = _gradients(job, model, splits, data, shrink) if shrink.importance == "taylor" else ()
        scores = importance.scores(graph, model, shrink.importance, seed=seed + place, gradients=gradients)
        kept = widths.choose(
            graph, scores, allowed, cost=_cost(shrink, graph, times), budget=share * amount, selection=shrink.selection,
            unit=unit,
        )  # fmt: skip
        model = removal.remove(model, graph, kept)
        graph = channel_graph.follow(model)
        now |= {name: len(stays) for name, stays in kept.items()}
        has = _amounts(model, graph, times)
        which = f"round {place + 1} of {shrink.steps}: " if shrink.steps > 1 else ""
        job.emit(Note(NAME, f"{which}{_said(had, has)}; {_left(whole.full, now)}"))
        tuned = fine_tune.tune(
            job, model, splits, shrink.model_copy(update={"epochs": epochs}), data=data, seed=seed + place,
            stage=NAME, work=job.work / f"round_{place + 1}", teaching=teaching,
        )  # fmt: skip
        epoch = len(curves.get("loss", ())) + tuned.epoch
        curves = {name: [*curves.get(name, ()), *values] for name, values in tuned.history.epochs.items()}
    _require(came, model, splits, shrink, had, has)
    keras_file.write(model, splits.spec, job.folder)
    channels = [
        Channels(
            name=group.name, layers=list(group.layers), before=group.size, after=now[group.name],
            reason=reasons.get(group.name, ""),
        )
        for group in whole.groups
    ]  # fmt: skip
    described = anatomy.describe(model, NAME, training=curves).model_copy(update={"channels": channels})
    write_models([described], job.folder)
    return Result(
        {_KEYS.get(name, name): value for name, value in has.items()}
        | {f"{_KEYS.get(name, name)}_before": value for name, value in had.items()}
        | {
            "channels": sum(now.values()), "channels_before": sum(whole.full.values()), "groups": len(whole.groups),
            "left_groups": len(reasons), "epoch": epoch,
            **fine_tune.metrics(splits, fine_tune.quality(model, splits), before),
        }
    )  # fmt: skip


def assess(metrics: Mapping[str, float], emit: Emit, *, shrink: Config) -> None:
    """Hold the result to the accuracy that it may lose; see `fine_tune.require_accuracy`."""
    from pipeline import fine_tune

    fine_tune.require_accuracy(metrics, shrink, stage=NAME, emit=emit)


def _reasons(graph: ChannelGraph, allowed: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Return group -> why it keeps all its channels, for each that does so whatever the target is."""
    found = {group.name: group.reason or _SINGLE for group in graph.groups if group.reason or group.size == 1}
    return found | {name: _HELD for name, some in allowed.items() if len(some) == 1}


def _tell_what_stays(graph: ChannelGraph, reasons: Mapping[str, str], shrink: Config, emit: Emit) -> None:
    from pipeline.compress import importance

    layers: dict[str, dict[str, None]] = {}
    for group in graph.groups:
        if group.name in reasons:
            layers.setdefault(reasons[group.name], {}).update(dict.fromkeys(group.layers or (group.name,)))
    for reason, names in layers.items():
        emit(Note(NAME, f"all channels stay in {', '.join(names)}: {reason}"))
    if shrink.importance == "batch_norm" and (bare := importance.without_scales(graph)):
        emit(Note(NAME, f"no batch normalization scales {', '.join(bare)}: the size of their kernels is compared"))


def _times(job: Job, shrink: Config) -> LayerTimes | None:
    """Return the table of times where the target is one."""
    if shrink.latency is None:
        return None
    from pipeline.measuring import layer_times

    return layer_times.read(job.inputs[PROFILE].folder)


def _cost(shrink: Config, graph: ChannelGraph, times: LayerTimes | None) -> Cost:
    """Return what gives the target's amount at other widths."""
    if times is not None:
        from pipeline.measuring import layer_times

        return layer_times.cost(graph, times)
    return graph.macs if shrink.what == "macs" else graph.parameters


def _amounts(model: Any, graph: ChannelGraph, times: LayerTimes | None) -> dict[str, float]:
    """Return what a model takes, counted anew on the model itself; its time is that of the table, in ms."""
    from pipeline.measuring import footprint

    counted: dict[str, float] = {"macs": footprint.macs(model).total, "parameters": footprint.parameters(model)}
    if times is None:
        return counted
    from pipeline.measuring import layer_times

    return counted | {"latency": layer_times.cost(graph, times)({})}


def _gradients(job: Job, model: Any, splits: Splits, data: DataConfig, shrink: Config) -> Iterator[Any]:
    """Return the gradients of the loss that labels have in the fine-tuning, batch by batch of the calibration split."""
    from pipeline import fine_tune
    from pipeline.compress import taylor
    from pipeline.data import batches
    from pipeline.fit import losses
    from pipeline.own_code import objective

    asked = objective.read(fine_tune.last(job.inputs).folder)
    own = asked.made()[0] if asked else None
    loss = own if own is not None else losses.of(splits.spec.head, shrink, splits.train.y, stage=NAME)
    given = batches.evaluation(splits.calibration, splits.spec, data, batch_size=shrink.batch_size)
    return taylor.gradients(model, given, loss)


def _said(had: Mapping[str, float], has: Mapping[str, float]) -> str:
    words = {"macs": "MACs", "parameters": "parameters", "latency": "ms by the table of times"}
    return ", ".join(
        f"{had[name]:,.6g} to {has[name]:,.6g} {words[name]} ({has[name] / had[name]:.1%})" for name in had
    )


def _left(had: Mapping[str, int], has: Mapping[str, int]) -> str:
    fewer = sum(has[name] < count for name, count in had.items())
    whole = sum(had.values())
    return f"{whole - sum(has.values())} of {whole} channels go, in {fewer} of {len(had)} groups"


def _require(
    came: Any, model: Any, splits: Splits, shrink: Config, had: Mapping[str, float], has: Mapping[str, float]
) -> None:
    """Assert that no more is left than may be, that the ends are those of the model that came, and answers finite.

    Raises:
        PromiseError: one of them does not hold.
    """
    import numpy as np

    from pipeline.data import batches
    from pipeline.predictor import rows

    most = shrink.share * had[shrink.what]
    if has[shrink.what] > most * (1 + 1e-9):
        raise PromiseError(
            f"shrink: more is left of {TARGETS[shrink.what]} than may be", expected=f"at most {most:,.6g}",
            found=f"{has[shrink.what]:,.6g}", todo=f"a lower shrink.{shrink.what} takes more out",
        )  # fmt: skip
    ends, wanted = _ends(model), _ends(came)
    if ends != wanted:
        raise PromiseError(
            "shrink: the model has other inputs or outputs than the one that came in", expected=wanted, found=ends
        )
    answers = batches.predict(model, rows(splits.calibration.x, slice(0, _TRIED)), batch_size=_TRIED)
    if not np.isfinite(answers).all():
        raise PromiseError(
            "shrink: the model answers with what is no number", expected="finite numbers",
            found=f"{int((~np.isfinite(answers)).sum())} of {answers.size} are not",
            todo=f"lower {NAME}.optimizer.learning_rate, or set {NAME}.clip",
        )  # fmt: skip


def _ends(model: Any) -> str:
    ends = zip((*model.input_names, *model.output_names), (*model.inputs, *model.outputs), strict=True)
    return ", ".join(f"{name} {tuple(end.shape)} {end.dtype.name}" for name, end in ends)
