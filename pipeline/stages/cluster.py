"""cluster: each kernel is left with a few distinct weights, which learn on as shared ones; zeros stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.compress.cluster_config import Config
from pipeline.compute.config import Compute
from pipeline.data import DataConfig
from pipeline.events import Emit, Note
from pipeline.stage import Job, Result

if TYPE_CHECKING:
    from pipeline.compress.distillation import Teaching
    from pipeline.report.model import Model

NAME = "cluster"
INPUTS = ("import", "train", "distill", "sensitivity", "shrink", "prune")
CODE = (
    "pipeline/compress/__init__.py",
    "pipeline/compress/cluster_config.py",
    "pipeline/compress/cluster_promise.py",
    "pipeline/compress/clustering.py",
    "pipeline/compress/distillation",
    "pipeline/compress/excluding.py",
    "pipeline/compress/folding.py",
    "pipeline/compress/keeping.py",
    "pipeline/compress/kernels.py",
    "pipeline/compress/masks.py",
    "pipeline/compress/operators.py",
    "pipeline/compress/pattern_config.py",
    "pipeline/compress/promises.py",
    "pipeline/compress/pruning.py",
    "pipeline/compress/sensitivity_table.py",
    "pipeline/compress/signs.py",
    "pipeline/compress/support.py",
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
    "pipeline/stages/cluster.py",
    "pipeline/variants.py",
    "pipeline/vectorizer.py",
)
LIBRARIES = ("tensorflow", "tf_keras", "numpy", "scikit-learn")


def run(job: Job, *, data: DataConfig, cluster: Config, seed: int, compute: Compute = Compute()) -> Result:
    """Cluster a copy of the model that comes in, fine-tune its centroids, and assert them on the result.

    The folder gets the model (`formats/keras_file.py`) and models.json, which says of each layer how many distinct
    weights it was to have, or why it was left out.

    Raises:
        DivergedError: a loss is not finite.
        InputError: `layers` or `exclude` names what is not there or cannot be clustered, or nothing is left.
        PromiseError: more distinct weights than asked, or zeros are gone.
    """
    from pipeline import data as sources
    from pipeline import fine_tune
    from pipeline.compress import clustering, excluding, promises, support
    from pipeline.formats import keras_file
    from pipeline.measuring import anatomy

    splits = sources.load(data, job.store)
    came = fine_tune.last(job.inputs).folder
    whole, _ = keras_file.read(came)
    before = fine_tune.quality(whole, splits)
    touched = clustering.targets(whole, cluster.clusters, cluster.layers, per_channel=cluster.per_channel)
    excluded = excluding.of(job, whole, cluster, "cluster", cluster.clusters, touched)
    layers = excluding.without(cluster.layers, excluded)
    asked = clustering.targets(whole, cluster.clusters, layers, per_channel=cluster.per_channel)
    left = {
        layer.name: support.spread(layer) or excluded.get(layer.name) or "the recipe leaves it out (cluster.layers)"
        for layer in whole.layers
        if layer.name not in asked and (support.spread(layer) or support.clusterable(layer))
    }
    for name, reason in left.items():
        job.emit(Note(NAME, f"{name} is not clustered: {reason}"))
    per_tensor = [name for name, one in asked.items() if one.per == "tensor"]
    for name, dense in clustering.prepared(whole, per_tensor)[1].items():
        job.emit(Note(NAME, f"{name} is folded into {dense}: its scales would make more weights of the clusters"))

    def learn(job: Job, teaching: Teaching | None) -> tuple[Model, dict[str, float]]:
        model, _ = clustering.prepared(whole, per_tensor)
        brought = promises.of(came, model)
        clustering.apply(model, asked, seed)
        promised = promises.Promises(brought.zeros, {**brought.clusters, **asked}, brought.patterns)
        kept = promises.keep(model, promised)
        tuned = fine_tune.tune(
            job, model, splits, cluster, data=data, seed=seed, stage=NAME, work=job.work, teaching=teaching,
            compute=compute,
        )  # fmt: skip
        promises.require(model, promised, kept, stage=NAME)
        keras_file.write(model, splits.spec, job.folder)
        described = anatomy.describe(
            model, NAME, targets=brought.zeros, patterns=brought.patterns, clusters=promises.entries(model, promised),
            reasons=left, training=tuned.history.epochs, taught=tuned.taught,
        )  # fmt: skip
        return described, {
            "clustered_layers": len(asked), "left_layers": len(left),
            "distinct_weights": max(layer.distinct or 0 for layer in described.layers),
            "sparsity": described.sparsity, "epoch": tuned.epoch,
            **fine_tune.metrics(splits, fine_tune.quality(model, splits), before),
        }  # fmt: skip

    return Result(fine_tune.compare(job, cluster, fine_tune.teaching(job.inputs, cluster), learn, stage=NAME))


def assess(metrics: Mapping[str, float], emit: Emit, *, cluster: Config) -> None:
    """Hold the result to the accuracy that it may lose; see `fine_tune.require_accuracy`."""
    from pipeline import fine_tune

    fine_tune.require_accuracy(metrics, cluster, stage=NAME, emit=emit)
