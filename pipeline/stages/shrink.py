"""shrink: whole channels are taken out, so that a smaller, ordinary model is left, which learns to do without them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.compress.shrink_config import Config
from pipeline.compute.config import Compute
from pipeline.data import DataConfig
from pipeline.events import Emit, Note
from pipeline.files import DamagedError, read_sealed, write_sealed
from pipeline.stage import Job, Result

if TYPE_CHECKING:
    from pipeline.compress.channel_graph import ChannelGraph, Kept
    from pipeline.compress.distillation import Teaching
    from pipeline.compress.promises import Promises
    from pipeline.compress.widths import Allowed
    from pipeline.data import Splits
    from pipeline.measuring.layer_times import LayerTimes
    from pipeline.report.model import Model

__all__ = ["CODE", "INPUTS", "LIBRARIES", "NAME", "Config", "assess", "run"]

NAME = "shrink"
PROFILE = "profile"
INPUTS = ("import", "train", "distill", "sensitivity", PROFILE, "prune", "cluster")
CODE = (
    "pipeline/compress/__init__.py",
    "pipeline/compress/channel_counts.py",
    "pipeline/compress/channel_graph.py",
    "pipeline/compress/channel_ids.py",
    "pipeline/compress/channel_rules",
    "pipeline/compress/channel_walk.py",
    "pipeline/compress/channel_words.py",
    "pipeline/compress/cluster_promise.py",
    "pipeline/compress/clustering.py",
    "pipeline/compress/distillation",
    "pipeline/compress/excluding.py",
    "pipeline/compress/folding.py",
    "pipeline/compress/importance.py",
    "pipeline/compress/keeping.py",
    "pipeline/compress/kernels.py",
    "pipeline/compress/masks.py",
    "pipeline/compress/operators.py",
    "pipeline/compress/pattern_config.py",
    "pipeline/compress/promises.py",
    "pipeline/compress/pruning.py",
    "pipeline/compress/removal.py",
    "pipeline/compress/removal_promise.py",
    "pipeline/compress/sensitivity_table.py",
    "pipeline/compress/shrink_bounds.py",
    "pipeline/compress/shrink_config.py",
    "pipeline/compress/signs.py",
    "pipeline/compress/support.py",
    "pipeline/compress/taylor.py",
    "pipeline/compress/widths.py",
    "pipeline/compute",
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
    "pipeline/variants.py",
    "pipeline/vectorizer.py",
)
LIBRARIES = ("tensorflow", "tf_keras", "numpy", "scikit-learn")

# what it is called among the stage's metrics
_KEYS = {"latency": "latency_ms"}
# in a round's folder: the channels that stay in it
_KEPT = "kept.json"
# why a group keeps all its channels, where times were measured
_FLAT = "fewer channels are no faster there, by the table of layer times"


@dataclass(frozen=True)
class _Task:
    """What all rounds share.

    Attributes:
        full: group -> channels of the model that came in.
        had: what that took; see `shrink_bounds.amounts`.
        allowed: group -> widths that it may have.
        promised: zeros and clusters of the model that came in.
    """

    job: Job
    data: DataConfig
    splits: Splits
    shrink: Config
    seed: int
    times: LayerTimes | None
    teaching: Teaching | None
    full: Mapping[str, int]
    had: Mapping[str, float]
    allowed: Allowed
    promised: Promises
    compute: Compute


@dataclass(frozen=True)
class _State:
    """What a round leaves to the next.

    Attributes:
        graph: the model's channels, in the groups of the model that came in.
        has: what the model takes.
        curves: of all rounds, one after the other.
        epoch: of these, whose weights the model has, counted from 1.
        taught: what was learned of the teacher; see `fine_tune.Tuned`.
    """

    model: Any
    graph: ChannelGraph
    has: Mapping[str, float]
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    epoch: int = 0
    taught: Sequence[str] = ()


def run(job: Job, *, data: DataConfig, shrink: Config, seed: int, compute: Compute = Compute()) -> Result:
    """Take channels out of a copy of the model that comes in, in rounds, and fine-tune what remains.

    The folder gets the model (`formats/keras_file.py`), in control/ the one that kept its channels where the recipe
    asks for it, and models.json, which says of each group of channels how many stayed, or why all did. Each round's
    choice and checkpoints are in a folder of its own below `job.work`: a call that goes on makes the rounds before the
    interruption again out of them, and neither chooses nor trains again.

    Raises:
        DivergedError: a loss is not finite.
        InputError: `layers` or `exclude` names what is not there, nothing can be removed, or the target cannot be
            reached.
        PromiseError: more is left than the target, other channels than were chosen, the model has other ends than the
            one that came in, or channels that stayed lost zeros or clusters.
    """
    from pipeline import data as sources
    from pipeline import fine_tune
    from pipeline.compress import channel_graph, channel_words, excluding, promises, removal_promise, shrink_bounds
    from pipeline.formats import keras_file
    from pipeline.measuring import anatomy
    from pipeline.report.model import Channels

    splits = sources.load(data, job.store)
    times = _times(job, shrink)
    folder = fine_tune.last(job.inputs).folder
    came, _ = keras_file.read(folder)
    promised = promises.of(folder, came)
    whole = channel_graph.follow(came)
    # a share of the MACs goes with about its square root of the channels: a layer has fewer on both sides
    left = excluding.of(job, came, shrink, "shrink", math.sqrt(shrink.share))
    allowed = shrink_bounds.possible(came, whole, shrink, left)
    reasons = shrink_bounds.reasons(whole, allowed, left)
    allowed = shrink_bounds.faster(whole, allowed, times)
    reasons |= {name: _FLAT for name, some in allowed.items() if len(some) == 1 and name not in reasons}
    _tell_what_stays(whole, reasons, shrink, job.emit)
    had = shrink_bounds.amounts(came, whole, times)
    shrink_bounds.require_reachable(whole, allowed, shrink, had, times)
    _tell_of_target(came, whole, allowed, shrink, times, job.emit)
    before = fine_tune.quality(came, splits)

    def rounds(job: Job, teaching: Teaching | None, *, removes: bool = True) -> _State:
        task = _Task(job, data, splits, shrink, seed, times, teaching, whole.full, had, allowed, promised, compute)
        state = _State(came, whole, had)
        for place, (share, epochs) in enumerate(shrink.rounds()):
            state = _round(task, state, place, share if removes else None, epochs)
        return state

    def control(job: Job, teaching: Teaching | None) -> tuple[Model, dict[str, float]]:
        state = rounds(job, teaching, removes=False)
        keras_file.write(state.model, splits.spec, job.folder)
        described = anatomy.describe(
            state.model, NAME, targets=promised.zeros, clusters=promises.entries(state.model, promised),
            training=state.curves, taught=state.taught,
        )  # fmt: skip
        return described, fine_tune.metrics(splits, fine_tune.quality(state.model, splits))

    def learn(job: Job, teaching: Teaching | None) -> tuple[Model, dict[str, float]]:
        state = rounds(job, teaching)
        model, now = state.model, state.graph.full
        removal_promise.require_amount(shrink.what, state.has, most=shrink.share * had[shrink.what], unit=shrink.unit)
        removal_promise.require_widths(model, whole, state.graph, allowed)
        removal_promise.require_ends(model, came)
        removal_promise.require_numbers(model, splits)
        keras_file.write(model, splits.spec, job.folder)
        channels = [
            Channels(
                name=group.name, layers=list(group.layers), before=group.size, after=now[group.name],
                positions=max(1, group.multiplicity), reason=reasons.get(group.name, ""),
            )
            for group in whole.groups
        ]  # fmt: skip
        stay = promises.narrowed(promised, model)
        for text in promises.fewer_zeros(promised, stay):
            job.emit(Note(NAME, text))
        described = anatomy.describe(
            model, NAME, targets=stay.zeros, clusters=promises.entries(model, stay), training=state.curves,
            taught=state.taught,
        )  # fmt: skip
        return described.model_copy(update={"channels": channels}), {
            **{_KEYS.get(name, name): value for name, value in state.has.items()},
            **{f"{_KEYS.get(name, name)}_before": value for name, value in had.items()},
            "channels": channel_words.positions(whole, now),
            "channels_before": channel_words.positions(whole, whole.full), "groups": len(whole.groups),
            "left_groups": len(reasons), "epoch": state.epoch,
            **fine_tune.metrics(splits, fine_tune.quality(model, splits), before),
        }  # fmt: skip

    return Result(
        fine_tune.compare(
            job, shrink, fine_tune.teaching(job.inputs, shrink), learn, stage=NAME,
            control=control if shrink.control else None,
        )
    )  # fmt: skip


def _round(task: _Task, state: _State, place: int, share: float | None, epochs: int) -> _State:
    """Take channels out until at most `share` of what came in is left, and fine-tune the rest for so many epochs.

    Args:
        share: None: all channels stay.
    """
    from pipeline import fine_tune
    from pipeline.compress import channel_graph, channel_words, promises, removal, shrink_bounds

    shrink, emit, work = task.shrink, task.job.emit, task.job.work / f"round_{place + 1}"
    kept: Kept = {} if share is None else _kept(task, state, place, share, work)
    model, graph = removal.remove(state.model, state.graph, kept), channel_graph.narrowed(state.graph, kept)
    has = shrink_bounds.amounts(model, graph, task.times)
    which = f"round {place + 1} of {shrink.steps}: " if shrink.steps > 1 else ""
    emit(Note(NAME, f"{which}{channel_words.said(task.had, has)}; {channel_words.left(graph, task.full)}"))
    promised = promises.narrowed(task.promised, model)
    zeros = promises.keep(model, promised)
    tuned = fine_tune.tune(
        task.job, model, task.splits, shrink.model_copy(update={"epochs": epochs}), data=task.data,
        seed=task.seed + place, stage=NAME, work=work, teaching=task.teaching,
        compute=task.compute,
    )  # fmt: skip
    promises.require(model, promised, zeros, stage=NAME)
    epoch = len(state.curves.get("loss", ())) + tuned.epoch
    curves = {name: [*state.curves.get(name, ()), *values] for name, values in tuned.history.epochs.items()}
    return _State(model, graph, has, curves, epoch, tuned.taught)


def _kept(task: _Task, state: _State, place: int, share: float, work: Path) -> Kept:
    """Return the channels that stay in a round: those that an earlier call chose in it, or the most important.

    Another machine's gradients, and a GPU's from one call to the next, differ by a little, which is enough for another
    choice: the checkpoints after it would be of another model.
    """
    import numpy as np

    from pipeline.compress import importance, shrink_bounds, widths
    from pipeline.compute import agreement

    shrink, file = task.shrink, work / _KEPT
    stored = None
    if work.exists():
        try:
            stored = read_sealed(file)
        except DamagedError as damaged:
            text = f"which channels stay in round {place + 1} is chosen again: {damaged}"
            task.job.emit(Note(NAME, text, level="warning"))
    if agreement.everywhere(stored is not None) and stored is not None:
        return {name: np.array(places, dtype=np.int64) for name, places in stored.items()}
    gradients = _gradients(task, state.model) if shrink.importance == "taylor" else ()
    scores = importance.scores(
        state.graph, state.model, shrink.importance, seed=task.seed + place, gradients=gradients
    )  # fmt: skip

    def choose(allowed: Allowed, share: float) -> dict[str, np.ndarray]:
        return widths.choose(
            state.graph, scores, allowed, cost=shrink_bounds.cost(shrink, state.graph, task.times),
            budget=share * task.had[shrink.what], selection=shrink.selection, unit=shrink.unit,
        )  # fmt: skip

    kept = choose(task.allowed, shrink.share)
    if share > shrink.share:  # no further than the last round needs: what is gone does not come back
        last = state.graph.full | {name: len(places) for name, places in kept.items()}
        kept = choose({name: [one for one in some if one >= last[name]] for name, some in task.allowed.items()}, share)
    work.mkdir(parents=True, exist_ok=True)
    chosen = agreement.of_first({name: places.tolist() for name, places in kept.items()})
    write_sealed(file, chosen)
    return {name: np.array(places, dtype=np.int64) for name, places in chosen.items()}


def assess(metrics: Mapping[str, float], emit: Emit, *, shrink: Config) -> None:
    """Hold the result to the accuracy that it may lose; see `fine_tune.require_accuracy`."""
    from pipeline import fine_tune

    fine_tune.require_accuracy(metrics, shrink, stage=NAME, emit=emit)


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


def _tell_of_target(
    model: Any, graph: ChannelGraph, allowed: Allowed, shrink: Config, times: LayerTimes | None, emit: Emit
) -> None:
    """Say what the target leaves out, and how far below it one could go."""
    from pipeline.compress import shrink_bounds
    from pipeline.measuring import footprint

    if shrink.what == "macs" and (unknown := footprint.macs(model).unknown):
        text = f"shrink.macs is a share of the MACs that are known: nobody counts those of {', '.join(unknown)}"
        emit(Note(NAME, text, level="warning"))
    cost = shrink_bounds.cost(shrink, graph, times)
    least = cost({name: some[0] for name, some in allowed.items()}) / cost({})
    text = f"every group as narrow as it may be would leave {least:.1%} of {shrink.unit}, {shrink.share:.1%} may stay"
    emit(Note(NAME, text))


def _times(job: Job, shrink: Config) -> LayerTimes | None:
    """Return the table of layer times where the target is one."""
    if shrink.latency is None:
        return None
    from pipeline.measuring import layer_times

    return layer_times.read(job.inputs[PROFILE].folder)


def _gradients(task: _Task, model: Any) -> Iterator[Any]:
    """Return the gradients of the loss that labels have in the fine-tuning, batch by batch of the calibration split."""
    from pipeline import fine_tune
    from pipeline.compress import taylor
    from pipeline.data import batches
    from pipeline.fit import losses
    from pipeline.own_code import objective

    shrink, splits = task.shrink, task.splits
    asked = objective.read(fine_tune.last(task.job.inputs).folder)
    own = asked.made()[0] if asked else None
    loss = own if own is not None else losses.of(splits.spec.head, shrink, splits.train.y, stage=NAME)
    given = batches.evaluation(splits.calibration, splits.spec, task.data, batch_size=shrink.batch_size)
    return taylor.gradients(model, given, loss)
