"""export: the stages' models as SavedModel, TFLite and ONNX, each in the precisions that the recipe asks for.

Float files come from float stages, int8 files from `quantize`; what the stages promised is asserted on the files.

The conversions run in one child process, which is started again only after a crash: a native crash of a converter is
that artifact's error, and the run goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import legacy_keras
from pipeline.data import DataConfig
from pipeline.events import Note, Progress
from pipeline.files import link_all
from pipeline.formats.export_config import QUANTIZE, Config, Warmup, plan
from pipeline.formats.precisions import BY_QUANTIZER, MIXED, ORT, STATIC, Variant
from pipeline.parts import Parts
from pipeline.plan import Planned
from pipeline.stage import Job, Result

if TYPE_CHECKING:
    import numpy as np

    from pipeline.isolate import Child
    from pipeline.predictor import Samples, Spec
    from pipeline.report import document

NAME = "export"
INPUTS = ("import", "train", "distill", "shrink", "prune", "cluster", "quantize")
CODE = (
    "pipeline/attempt.py",
    "pipeline/compress/__init__.py",
    "pipeline/compress/cluster_promise.py",
    "pipeline/compress/clustering.py",
    "pipeline/compress/fake_quant.py",
    "pipeline/compress/folding.py",
    "pipeline/compress/keeping.py",
    "pipeline/compress/kernels.py",
    "pipeline/compress/masks.py",
    "pipeline/compress/one_range.py",
    "pipeline/compress/operators.py",
    "pipeline/compress/pattern_config.py",
    "pipeline/compress/promises.py",
    "pipeline/compress/pruning.py",
    "pipeline/compress/prescribed_ranges.py",
    "pipeline/compress/quantize_scheme.py",
    "pipeline/compress/seen_by_all.py",
    "pipeline/compress/sensitivity_table.py",
    "pipeline/compress/signs.py",
    "pipeline/compress/support.py",
    "pipeline/data",
    "pipeline/ending.py",
    "pipeline/formats",
    "pipeline/isolate.py",
    "pipeline/legacy_keras.py",
    "pipeline/machine.py",
    "pipeline/measuring/footprint.py",
    "pipeline/measuring/layer_times.py",
    "pipeline/measuring/macs.py",
    "pipeline/metric.py",
    "pipeline/own_code/__init__.py",
    "pipeline/own_code/config.py",
    "pipeline/own_code/package.py",
    "pipeline/own_code/source.py",
    "pipeline/parts.py",
    "pipeline/plan.py",
    "pipeline/predictor.py",
    "pipeline/report/answers.py",
    "pipeline/report/baseline.py",
    "pipeline/report/data.py",
    "pipeline/report/document.py",
    "pipeline/report/edge.py",
    "pipeline/report/forecast.py",
    "pipeline/report/gate.py",
    "pipeline/report/model.py",
    "pipeline/report/operators.py",
    "pipeline/report/shipped.py",
    "pipeline/report/speed.py",
    "pipeline/report/startup.py",
    "pipeline/rows.py",
    "pipeline/signature.py",
    "pipeline/stages/export.py",
    "pipeline/vectorizer.py",
    "serving/__init__.py",
    "serving/client/__init__.py",
    "serving/client/signature.py",
    "serving/client/tensors.py",
    "serving/warmup.py",
)
LIBRARIES = (
    "tensorflow", "tf_keras", "tensorflow-model-optimization", "tf2onnx", "onnx", "onnxslim", "onnxruntime",
    "ai-edge-litert", "ai-edge-quantizer", "flatbuffers", "numpy", "scikit-learn", "tensorflow-serving-api",
)  # fmt: skip


def ahead(*, export: Config) -> Child:
    """Start the process of the conversions; see `pipeline.stage`."""
    from pipeline.isolate import Child

    return Child(deadline_s=export.deadline_s, memory_mb=export.memory_mb).prepare(_prepare)


def _prepare() -> None:
    legacy_keras.load_tfmot()
    import tf2onnx  # noqa: F401


def run(job: Job, *, data: DataConfig, export: Config) -> Result:
    """Convert the stages' models to every artifact of the plan.

    The folder gets the files under their artifacts' names, and artifacts.json with their sizes or errors; where the
    data has texts, what makes their token ids too (`formats/vocabulary_file.py`), where it is a table, what its columns
    are (`formats/columns_file.py`), and where it has classes, their names (`formats/labels.py`).
    """
    from pipeline import data as sources
    from pipeline.attempt import Attempts
    from pipeline.formats import columns_file, labels, vocabulary_file
    from pipeline.predictor import rows
    from pipeline.report import document

    splits = sources.load(data, job.store, strings=True)
    spec, raw = splits.spec, rows(splits.calibration.x, slice(None))
    calibration = spec.tokens(raw)
    requests = Requests.of(export.warmup, spec, raw) if export.warmup else None
    attempts = Attempts(NAME, "converter", job.emit)
    items = plan(export, list(job.inputs))
    parts = Parts(job.work)
    before = {item.id: found for item in items if (found := parts.find(item.id)) is not None}
    if before:
        job.emit(Note(NAME, f"goes on: {len(before)} of {len(items)} files were made before it was interrupted"))
    made = [document.Artifact.model_validate(found) for found in before.values()]
    with job.child or ahead(export=export) as child:
        for item in items:
            if item.id in before:
                continue
            job.emit(Progress(NAME, "artifact", len(made), len(items), item=item.id))
            static = item.format == "tflite" and item.precision in STATIC and item.stage != QUANTIZE
            static = static or item.variant == ORT
            model = job.inputs[item.stage].folder
            converting = partial(
                child.call, convert, item, model, job.work, calibration if static else None, export, requests
            )
            described = attempts.attempt(item.id, converting)
            if described is None:
                _remove_all(job.work / item.filename)
                described = _described(item, error=attempts.errors[item.id], transient=item.id in attempts.passing)
            else:
                if described.batch is not None and not Variant.of(item.variant).batch:
                    why = "more time steps than export.unrolled_steps are a loop, which converts for that alone"
                    job.emit(Note(NAME, f"{item.id} takes {described.batch} sample at a time: {why}"))
                if described.unsimplified:
                    job.emit(Note(NAME, f"{item.id} is not simplified: {described.unsimplified}"))
                if described.float_kernels:
                    kept = ", ".join(described.float_kernels)
                    job.emit(Note(NAME, f"{item.id} keeps float32 kernels, which cannot be {item.precision}: {kept}"))
                parts.keep(item.id, described.model_dump(mode="json", by_alias=True), _files(job.work, described))
            made.append(described)
    order = [item.id for item in items]
    made.sort(key=lambda item: order.index(item.id))
    for described in made:
        for file in _files(job.work, described):
            link_all(file, job.folder / file.name)
    tokens, columns = vocabulary_file.write(spec, job.folder), columns_file.write(spec, job.folder)
    named = labels.write(spec, job.folder)
    made = [
        item.model_copy(
            update={
                "beside": [*item.beside, *(tokens if item.format != "saved_model" else ()), *columns],
                "labels": named,
            }
        )
        if item.path
        else item
        for item in made
    ]
    document.write_artifacts(made, job.folder)
    failed = len(attempts.errors)
    return Result({"artifacts": len(items) - failed, "failed": failed}, tuple(attempts.transient))


@dataclass(frozen=True)
class Requests:
    """What warm-up records are made of.

    Attributes:
        samples: each input by name, as a SavedModel takes it: raw values, texts as strings.
        batches: numbers of samples in a request.
    """

    samples: Mapping[str, np.ndarray]
    batches: tuple[int, ...]

    @staticmethod
    def of(config: Warmup, spec: Spec, calibration: Samples) -> Requests:
        """Make them of a split's first samples; of zeros and empty texts where none shall be in them."""
        import numpy as np

        first = {name: array[: config.samples] for name, array in spec.named(calibration).items()}
        for one in spec.inputs:
            if not len(first[one.name]):
                empty = np.zeros((1, *one.raw_shape), np.float32)
                first[one.name] = empty if one.vectorizer is None else np.full_like(empty, "", object)
        return Requests(first, config.batches)


def convert(
    item: Planned, model: Path, folder: Path, calibration: Samples | None, config: Config,
    requests: Requests | None = None,
) -> document.Artifact:  # fmt: skip
    """Make one artifact from the Keras model in the folder `model`; runs in the child.

    Args:
        item: what to make.
        model: the artifact folder of the stage that made it.
        folder: where the file is written, and where the artifacts it is made from lie.
        calibration: raw samples for static quantization, else None.
        config: the recipe's section.
        requests: what a server replays on a SavedModel before it serves; None: nothing.

    Raises:
        ConversionError: a converter refuses the model.
        PromiseError: the file lacks zeros that the model has, has more distinct weights, or computes in float what the
            model has in int8.
    """
    from pipeline.formats import ConversionError, by_layer, known, labels, onnx, promised, saved_model, tflite
    from pipeline.measuring import footprint
    from pipeline.report import document
    from pipeline.report.model import read_models
    from serving import warmup

    network, spec = _model(model)
    known.require(network, item, select_tf_ops=config.select_tf_ops)
    (described,) = read_models(model)[:1]
    path = folder / item.filename
    _remove_all(path)  # what an interrupted call has left
    unsimplified = ""
    match item.format, item.precision:
        case "saved_model", _:
            saved_model.write(network, path, spec)
            labels.write(spec, path / labels.FOLDER)
        case "tflite", precision:
            # from the SavedModel where there is one: the graph is traced once
            trained, variant = item.stage == QUANTIZE, Variant.of(item.variant)
            source = folder / Planned(item.stage, "saved_model", "fake-quant" if trained else "float32").filename
            apart = tflite.takes_keras(network, spec, precision, variant)
            tflite.write(
                source if source.exists() and not apart else network, path, spec, precision,  # type: ignore[arg-type]
                calibration, variant=variant, fake_quant=trained, half_weights=promised.held(described, "float16") > 0,
                unrolled_steps=config.unrolled_steps, mixed=config.mixed, select_tf_ops=config.select_tf_ops,
            )  # fmt: skip
        case "onnx", "int8" if item.variant != ORT:
            source = folder / Planned(item.stage, "tflite", "int8").filename
            if not source.exists():
                raise ConversionError(
                    f"{item.id} is made from {source.name}, which could not be made", todo="see that file's error"
                )
            onnx.write_from_tflite(source, path, spec, opset=config.opset)
        case "onnx", precision:
            source = folder / Planned(item.stage, "onnx", "float32").filename
            unsimplified = onnx.write(
                source if precision != "float32" and source.exists() else network, path, spec,
                precision, calibration, opset=config.opset, simplify=config.simplify,  # type: ignore[arg-type]
            )  # fmt: skip
    whole = item.format == "tflite" and item.precision in BY_QUANTIZER and item.precision != MIXED
    kept = tflite.float_kernels(path, by_layer.with_kernels(network)) if whole else []
    beside = onnx.files(path)[1:] if item.format == "onnx" else []
    form = {"saved_model": saved_model, "tflite": tflite, "onnx": onnx}[item.format]
    kernels, operators = form.kernels(path), form.operators(path)
    zero, channels = footprint.zero_channels(kernels, operators.channel_axes)
    graph = document.Operators.model_validate(operators.to_dict() | {"zero_channels": zero, "channels": channels})
    found = promised.Found(kernels, operators, path)
    clustered = promised.require(item, described, partial(_plain, model), found, spec)
    if item.format == "tflite" and config.strip_tflite:  # what is asserted above goes by names
        path.write_bytes(tflite.strip(path.read_bytes()))
    size = footprint.size(path, *beside)  # without the warm-up records: they are requests, and no part of the model
    if requests is not None and item.format == "saved_model":
        warmup.write(path / saved_model.VERSION, requests.samples, requests.batches)
    return _described(
        item, bytes=size.bytes, gzip_bytes=size.gzip_bytes, parameters=described.parameters, macs=described.macs,
        sparsity=footprint.sparsity(kernels), clustered=clustered, operators=graph,
        batch=tflite.batch(path) if item.format == "tflite" else None,
        unsimplified=unsimplified or None, float_kernels=kept, beside=[file.name for file in beside],
    )  # fmt: skip


@lru_cache(maxsize=1)
def _model(folder: Path) -> Any:
    from pipeline.formats import fake_quant_file

    return fake_quant_file.read(folder)


@lru_cache(maxsize=1)
def _plain(folder: Path) -> Any:
    """Return the model that files are held against: read once for all of a stage, apart from what is converted."""
    from pipeline.formats import keras_file

    return keras_file.read(folder)[0]


def _described(item: Planned, **facts: Any) -> document.Artifact:
    from pipeline.report import document

    return document.Artifact(
        id=item.id, stage=item.stage, format=item.format, precision=item.precision, variant=item.variant,
        path=None if facts.get("error") else f"artifacts/{item.filename}", **facts,
    )  # fmt: skip


def _files(folder: Path, described: document.Artifact) -> list[Path]:
    """Return what export has written of an artifact into a folder; nothing of one that could not be made."""
    return [folder / name for name in (Path(described.path).name, *described.beside)] if described.path else []


def _remove_all(path: Path) -> None:
    """Remove an artifact, and the weights beside it."""
    from pipeline.formats import onnx

    for file in onnx.files(path):
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)
