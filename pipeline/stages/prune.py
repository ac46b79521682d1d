"""prune: the smallest weights become zeros, more of them with every few steps, while the rest learns to do without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.compress import xnnpack
from pipeline.compress.pattern_config import label
from pipeline.compress.prune_config import Config, Polynomial
from pipeline.compute.config import Compute
from pipeline.data import DataConfig
from pipeline.events import Emit, Note
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
    "pipeline/compress/prune_config.py",
    "pipeline/compress/pruning.py",
    "pipeline/compress/sensitivity_table.py",
    "pipeline/compress/signs.py",
    "pipeline/compress/support.py",
    "pipeline/compress/xnnpack.py",
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
    "pipeline/variants.py",
    "pipeline/vectorizer.py",
)
LIBRARIES = ("tensorflow", "tf_keras", "tensorflow-model-optimization", "numpy", "scikit-learn")


def run(job: Job, *, data: DataConfig, prune: Config, seed: int, compute: Compute = Compute()) -> Result:
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
    touched = pruning.targets(model, prune.final_sparsity, prune.layers, reasons)
    excluded = excluding.of(job, model, prune, "prune", prune.final_sparsity, touched)
    aims = pruning.targets(model, prune.final_sparsity, excluding.without(prune.layers, excluded), reasons)
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
            compute=compute,
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
            todo="change the layers, or leave the policy out; of ours, mobilenet fits with explicit_padding=true, on "
            "images of 3 channels (data.image_folder.color=rgb makes them of grey ones) and 5 pixels or more",
        )
    return found | xnnpack.left(model)


def assess(metrics: Mapping[str, float], emit: Emit, *, prune: Config) -> None:
    """Hold the result to the accuracy that it may lose; see `fine_tune.require_accuracy`."""
    from pipeline import fine_tune

    fine_tune.require_accuracy(metrics, prune, stage=NAME, emit=emit)
