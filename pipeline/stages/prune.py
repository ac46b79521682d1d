"""prune: the smallest weights become zeros, more of them with every few steps, while the rest learns to do without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.compress import xnnpack
from pipeline.compress.pattern_config import Block, NOfM, Structured, Unstructured, label
from pipeline.config import Frozen
from pipeline.data import DataConfig
from pipeline.events import Emit, Note
from pipeline.fit.config import Compressing
from pipeline.stage import Job, Result

if TYPE_CHECKING:
    from pipeline.compress.distillation import Teaching
    from pipeline.report.model import Model

NAME = "prune"
INPUTS = ("import", "train", "distill", "sensitivity", "shrink")
CODE = (
    "pipeline/compress/__init__.py",
    "pipeline/compress/clustering.py",
    "pipeline/compress/distillation",
    "pipeline/compress/excluding.py",
    "pipeline/compress/folding.py",
    "pipeline/compress/kernels.py",
    "pipeline/compress/masks.py",
    "pipeline/compress/operators.py",
    "pipeline/compress/pattern_config.py",
    "pipeline/compress/pruning.py",
    "pipeline/compress/sensitivity_table.py",
    "pipeline/compress/signs.py",
    "pipeline/compress/support.py",
    "pipeline/compress/xnnpack.py",
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
    "pipeline/stages/prune.py",
    "pipeline/vectorizer.py",
)
LIBRARIES = ("tensorflow", "tf_keras", "tensorflow-model-optimization", "numpy", "scikit-learn")


class _Ramp(Frozen):
    begin_epoch: float = Field(default=0.0, ge=0, description="epochs before the first weights become zero")
    end_epoch: float | None = Field(
        default=None, gt=0, description="epochs after which the zeros stay where they are; null: two thirds of all"
    )
    frequency: int | None = Field(
        default=None, ge=1, description="steps between two choices of the zeros; null: about ten times an epoch"
    )


class Polynomial(_Ramp):
    """The share of zeros rises from the initial to the final one, fast at first (Zhu and Gupta, 2017)."""

    name: Literal["polynomial"] = "polynomial"
    initial_sparsity: float = Field(default=0.0, ge=0, lt=1, description="share of zeros at begin_epoch")
    power: float = Field(default=3.0, gt=0, description="exponent; 1 is a straight line")


class Constant(_Ramp):
    """The final share of zeros from begin_epoch on; which weights they are is chosen anew until end_epoch."""

    name: Literal["constant"] = "constant"


class Config(Compressing):
    """How much becomes zero, where and when."""

    final_sparsity: float = Field(
        default=0.8,
        gt=0,
        lt=1,
        description="share of zeros in each kernel at the end; with the pattern n-of-m it is zeros / of",
    )
    pattern: Annotated[Unstructured | NOfM | Block, Field(discriminator="name")] = Field(
        default=Unstructured(),
        description="where the zeros may stand, one of unstructured n-of-m block; layers that it does not fit stay "
        "dense",
    )
    policy: Literal["xnnpack"] | None = Field(
        default=None,
        description="xnnpack: only the 1x1 convolutions that XNNPACK can compute by sparse kernels, from a model that "
        "it can work through channel by channel (Elsen et al., 2020), to be exported as sparse-float32; null: all",
    )
    layers: dict[str, float | None] = Field(
        default={},
        description="targets of their own, by a layer's name or a pattern (conv_*): a share, or null to leave it dense",
    )
    pruning_schedule: Annotated[Polynomial | Constant, Field(discriminator="name")] = Field(
        default=Polynomial(), description="one of polynomial constant"
    )

    @model_validator(mode="after")
    def _pattern_fits(self) -> Config:
        if isinstance(self.pattern, NOfM):
            zeros, of, share = self.pattern.zeros, self.pattern.of, self.pattern.share
            asked: dict[str, float | None] = {"final_sparsity": self.final_sparsity}
            asked |= {f"layers.{name}": own for name, own in self.layers.items()}
            other = [f"{key} is {own:g}" for key, own in asked.items() if own and abs(own - share) > 1e-6]
            if other:
                raise ValueError(
                    f"pattern n-of-m makes {zeros} of {of} weights zero, a share of {share:g}, but {'; '.join(other)}: "
                    "leave that out, or take the pattern block or unstructured"
                )
        if self.policy == "xnnpack" and self.final_sparsity <= xnnpack.LEAST:
            raise ValueError(
                f"policy xnnpack wants a final_sparsity above two thirds, but has {self.final_sparsity:g}: with fewer "
                "zeros XNNPACK computes densely"
            )
        return self

    @model_validator(mode="after")
    def _possible(self) -> Config:
        wrong = {name: share for name, share in self.layers.items() if share is not None and not 0 < share < 1}
        if wrong:
            raise ValueError(f"layers wants shares between 0 and 1, or null, but has {wrong}")
        ramp = self.pruning_schedule
        end = self.end_epoch()
        if not ramp.begin_epoch < end <= self.epochs:
            raise ValueError(
                f"pruning_schedule must begin before it ends, within the epochs ({self.epochs}), but goes from "
                f"{ramp.begin_epoch:g} to {end:g}"
            )
        if isinstance(ramp, Polynomial) and ramp.initial_sparsity > self.final_sparsity:
            raise ValueError(
                f"pruning_schedule.initial_sparsity ({ramp.initial_sparsity:g}) is more than final_sparsity "
                f"({self.final_sparsity:g})"
            )
        return self

    def structured(self) -> Structured | None:
        """Return the pattern of the zeros; None where they may stand anywhere."""
        return None if isinstance(self.pattern, Unstructured) else self.pattern

    def end_epoch(self) -> float:
        """Return the number of epochs after which the zeros stay where they are."""
        end = self.pruning_schedule.end_epoch
        return self.epochs * 2 / 3 if end is None else end


def run(job: Job, *, data: DataConfig, prune: Config, seed: int) -> Result:
    """Prune a copy of the model that comes in, and assert the zeros on the stripped result.

    The folder gets the model (`formats/keras_file.py`) and models.json, which says of each layer what it aimed at, or
    why it stayed dense.

    Raises:
        DivergedError: a loss is not finite.
        InputError: `layers` or `exclude` names what is not there or cannot be pruned, nothing is left to prune, or the
            model does not fit the policy.
        PromiseError: too few zeros, or not in the pattern.
    """
    import math

    from pipeline import data as sources
    from pipeline import fine_tune
    from pipeline.compress import clustering, excluding, pruning, support
    from pipeline.formats import keras_file
    from pipeline.measuring import anatomy

    splits = sources.load(data, job.store)
    model, _ = keras_file.read(fine_tune.last(job.inputs).folder)
    before = fine_tune.quality(model, splits)
    reasons, pattern = left(model, prune), prune.structured()
    excluded = excluding.of(job, model, prune, "prune", prune.final_sparsity)
    aims = pruning.targets(model, prune.final_sparsity, prune.layers | dict.fromkeys(excluded), reasons)
    patterns = {name: label(pattern) for name in aims} if pattern else {}
    reasons |= excluded
    dense = {
        layer.name: support.dense(layer) or reasons.get(layer.name) or "the recipe leaves it out (prune.layers)"
        for layer in model.layers
        if layer.name not in aims and (support.dense(layer) or support.prunable(layer))
    }
    for name, reason in dense.items():
        job.emit(Note(NAME, f"{name} stays dense: {reason}"))
    if brought := clustering.brought(model):
        text = (
            f"the few distinct weights that {', '.join(brought)} came with are not kept: new zeros take weights out of "
            "their clusters, and the others learn on; a section cluster makes new ones of what is left"
        )
        job.emit(Note(NAME, text, level="warning"))
    ramp = prune.pruning_schedule
    steps = math.ceil(len(splits.train) / prune.batch_size)
    when = pruning.schedule(
        initial_sparsity=ramp.initial_sparsity if isinstance(ramp, Polynomial) else None,
        begin_epoch=ramp.begin_epoch, end_epoch=prune.end_epoch(),
        power=ramp.power if isinstance(ramp, Polynomial) else 1.0,
        frequency=ramp.frequency, steps=steps, epochs=prune.epochs,
    )  # fmt: skip

    def learn(job: Job, teaching: Teaching | None) -> tuple[Model, dict[str, float]]:
        wrapped = pruning.wrap(model, aims, when, pattern)
        tuned = fine_tune.tune(
            job, wrapped, splits, prune, data=data, seed=seed, stage=NAME, work=job.work, teaching=teaching,
            callbacks=[pruning.callback()], from_epoch=math.ceil(when.end_step / steps),
        )  # fmt: skip
        pruned = pruning.strip(wrapped)
        pruning.require(pruned, aims, stage=NAME, patterns=patterns)
        keras_file.write(pruned, splits.spec, job.folder)
        described = anatomy.describe(
            pruned, NAME, targets=aims, patterns=patterns, reasons=dense, training=tuned.history.epochs,
            taught=tuned.taught,
        )  # fmt: skip
        return described, {
            "sparsity": described.sparsity, "pruned_layers": len(aims), "dense_layers": len(dense),
            "epoch": tuned.epoch, **fine_tune.metrics(splits, fine_tune.quality(pruned, splits), before),
        }  # fmt: skip

    return Result(fine_tune.compare(job, prune, fine_tune.teaching(job.inputs, prune), learn, stage=NAME))


def left(model: Any, prune: Config) -> dict[str, str]:
    """Return layer name -> why it stays dense by the policy or the pattern.

    Raises:
        InputError: the model does not fit the policy.
    """
    from pipeline.compress import pruning
    from pipeline.errors import InputError

    found = pruning.left(model, prune.structured())
    if prune.policy is None:
        return found
    if misfits := xnnpack.misfits(model):
        raise InputError(
            "prune.policy xnnpack: XNNPACK would compute this model densely, zeros or not",
            expected="layers that all work channel by channel, from a padded first convolution to a global average",
            found="; ".join(misfits),
            todo="change these layers (of ours, mobilenet fits with model.explicit_padding), or leave the policy out",
        )
    return found | xnnpack.left(model)


def assess(metrics: Mapping[str, float], emit: Emit, *, prune: Config) -> None:
    """Hold the result to the accuracy that it may lose; see `fine_tune.require_accuracy`."""
    from pipeline import fine_tune

    fine_tune.require_accuracy(metrics, prune, stage=NAME, emit=emit)
