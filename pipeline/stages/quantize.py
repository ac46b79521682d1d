"""quantize: int8 quantization-aware training that keeps zeros and clusters (PQAT, CQAT, PCQAT)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.compress.quantize_config import Config
from pipeline.compute.config import Compute
from pipeline.data import DataConfig
from pipeline.events import Emit, Note
from pipeline.stage import Job, Result

if TYPE_CHECKING:
    from pipeline.compress.distillation import Teaching
    from pipeline.report.model import Model

NAME = "quantize"
INPUTS = ("import", "train", "distill", "sensitivity", "shrink", "prune", "cluster")
CODE = (
    "pipeline/compress",
    "pipeline/compute",
    "pipeline/data",
    "pipeline/fine_tune.py",
    "pipeline/fit",
    "pipeline/formats/__init__.py",
    "pipeline/formats/custom_code.py",
    "pipeline/formats/endings.py",
    "pipeline/formats/ends.py",
    "pipeline/formats/fake_quant_file.py",
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
    "pipeline/stages/quantize.py",
    "pipeline/variants.py",
    "pipeline/vectorizer.py",
)
BITS = 8
LIBRARIES = ("tensorflow", "tf_keras", "tensorflow-model-optimization", "numpy", "scikit-learn")


def run(job: Job, *, data: DataConfig, quantize: Config, seed: int, compute: Compute = Compute()) -> Result:
    """Train a copy of the model that comes in with its rounding imitated, and assert that zeros and clusters stayed.

    The folder gets the model with and without fake quantization (`formats/fake_quant_file.py`), and models.json, which
    says of each layer how it computes, or why it stays float.

    Raises:
        DivergedError: a loss is not finite.
        InputError: `exclude` names what is not there, or no layer with weights can be quantized.
        PromiseError: zeros are gone, or there are more distinct weights than came in.
    """
    from pipeline import data as sources
    from pipeline import fine_tune
    from pipeline.compress import excluding, fake_quant, fusing, kernels, lowering, promises, pruning
    from pipeline.data.batches import arrays
    from pipeline.formats import fake_quant_file, keras_file
    from pipeline.measuring import anatomy

    splits = sources.load(data, job.store)
    came = fine_tune.last(job.inputs).folder
    model, _ = keras_file.read(came)
    before = fine_tune.quality(model, splits)
    out = excluding.of(job, model, quantize, "quantize", BITS)
    origins: dict[str, str] = {}
    model, lowered = lowering.lower(model, origins)
    out = fusing.with_operators(model, excluding.lowered(out, origins))
    promised = promises.of(came, model)
    left = fake_quant.floating(model, out)
    for name, became in lowered.items():
        job.emit(Note(NAME, f"{name} {became}"))
    for name, reason in left.items():
        job.emit(Note(NAME, f"{name} stays float: {reason}"))
    zeros = pruning.zeros(model)
    clustered = {name: clusters.per for name, clusters in promised.clusters.items()}

    def learn(job: Job, teaching: Teaching | None) -> tuple[Model, dict[str, float]]:
        built = fake_quant.build(model, clustered, out=out)
        fake_quant.calibrate(built, model, arrays(splits.calibration.x))
        frozen = quantize.freeze_ranges_epochs
        callbacks: list[Any] = [fake_quant.freezing(quantize.epochs - frozen + 1)] if frozen else []
        tuned = fine_tune.tune(
            job, built, splits, quantize, data=data, seed=seed, stage=NAME, work=job.work, teaching=teaching,
            compute=compute,
            callbacks=callbacks,
        )  # fmt: skip
        fake_quant.settle(built)
        plain = fake_quant.plain(built, model)
        promises.require(plain, promised, zeros, stage=NAME)
        keras_file.write(plain, splits.spec, job.folder)
        fake_quant_file.write(built, job.folder, out)
        wide = fake_quant.per_channel(built)
        precisions = {
            layer.name: "int8 per-channel" if wide.get(layer.name) else "int8"
            for layer in plain.layers
            if layer.name not in left
        } | {layer.name: quantize.float_layers for layer in plain.layers if layer.name in left and kernels.of(layer)}
        described = anatomy.describe(
            plain, NAME, targets=promised.zeros, patterns=promised.patterns,
            clusters=promises.entries(plain, promised), precisions=precisions, reasons=left,
            training=tuned.history.epochs, taught=tuned.taught,
        )  # fmt: skip
        return described, {
            "int8_layers": len(described.layers) - len(left), "float_layers": len(left), "sparsity": described.sparsity,
            "epoch": tuned.epoch, **fine_tune.metrics(splits, fine_tune.quality(built, splits), before),
        }  # fmt: skip

    return Result(fine_tune.compare(job, quantize, fine_tune.teaching(job.inputs, quantize), learn, stage=NAME))


def assess(metrics: Mapping[str, float], emit: Emit, *, quantize: Config) -> None:
    """Hold the result to the accuracy that it may lose; see `fine_tune.require_accuracy`."""
    from pipeline import fine_tune

    fine_tune.require_accuracy(metrics, quantize, stage=NAME, emit=emit)
