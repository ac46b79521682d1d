"""export: the stages' models as SavedModel, TFLite and ONNX, each in the precisions that the recipe asks for.

Float files come from float stages, int8 files from `quantize`; what the stages promised is asserted on the files.

The conversions run in one child process, which is started again only after a crash: a native crash of a converter is
that artifact's error, and the run goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import legacy_keras
from pipeline.data import DataConfig
from pipeline.errors import PromiseError
from pipeline.events import Note, Progress
from pipeline.files import link_all
from pipeline.formats.export_config import QUANTIZE, Config, plan
from pipeline.parts import Parts
from pipeline.plan import Planned
from pipeline.predictor import GIVING_BACK
from pipeline.stage import Job, Result

if TYPE_CHECKING:
    import numpy as np

    from pipeline.isolate import Child
    from pipeline.predictor import Samples, Spec
    from pipeline.report import document
    from pipeline.report.model import Clustered, Model

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
    "pipeline/report/forecast.py",
    "pipeline/report/model.py",
    "pipeline/rows.py",
    "pipeline/stages/export.py",
    "pipeline/vectorizer.py",
)
LIBRARIES = (
    "tensorflow", "tf_keras", "tensorflow-model-optimization", "tf2onnx", "onnx", "ai-edge-litert", "numpy",
    "scikit-learn",
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

    splits = sources.load(data, job.store)
    calibration, spec = rows(splits.calibration.x, slice(None)), splits.spec
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
            static = item.format == "tflite" and item.precision == "int8" and item.stage != QUANTIZE
            model = job.inputs[item.stage].folder
            converting = partial(
                child.call, convert, item, model, job.work, calibration if static else None, export.unrolled_steps
            )  # fmt: skip
            described = attempts.attempt(item.id, converting)
            if described is None:
                _remove(job.work / item.filename)
                described = _described(item, error=attempts.errors[item.id], transient=item.id in attempts.passing)
            else:
                if described.batch is not None:
                    why = "more time steps than export.unrolled_steps are a loop, which converts for that alone"
                    job.emit(Note(NAME, f"{item.id} takes {described.batch} sample at a time: {why}"))
                parts.keep(item.id, described.model_dump(mode="json", by_alias=True), [job.work / item.filename])
            made.append(described)
    order = [item.id for item in items]
    made.sort(key=lambda item: order.index(item.id))
    for item in items:
        if item.id not in attempts.errors:
            link_all(job.work / item.filename, job.folder / item.filename)
    tokens, columns = vocabulary_file.write(spec, job.folder), columns_file.write(spec, job.folder)
    named = labels.write(spec, job.folder)
    made = [
        item.model_copy(
            update={"beside": [*(tokens if item.format != "saved_model" else ()), *columns], "labels": named}
        )
        if item.path
        else item
        for item in made
    ]
    document.write_artifacts(made, job.folder)
    failed = len(attempts.errors)
    return Result({"artifacts": len(items) - failed, "failed": failed}, tuple(attempts.transient))


def convert(
    item: Planned, model: Path, folder: Path, calibration: Samples | None, unrolled_steps: int
) -> document.Artifact:
    """Make one artifact from the Keras model in the folder `model`; runs in the child.

    Args:
        item: what to make.
        model: the artifact folder of the stage that made it.
        folder: where the file is written, and where the artifacts it is made from lie.
        calibration: raw samples for static quantization, else None.
        unrolled_steps: see `Config`.

    Raises:
        ConversionError: a converter refuses the model.
        PromiseError: the file lacks zeros that the model has, has more distinct weights, or computes in float what the
            model has in int8.
    """
    from pipeline.formats import ConversionError, columns_ahead, known, labels, onnx, recurrent, saved_model, tflite
    from pipeline.measuring import footprint
    from pipeline.report import document
    from pipeline.report.model import read_models

    network, spec = _model(model)
    known.require(network, item)
    (described,) = read_models(model)[:1]
    path = folder / item.filename
    _remove(path)  # what an interrupted call left
    match item.format, item.precision:
        case "saved_model", _:
            saved_model.write(network, path, spec)
            labels.write(spec, path / labels.FOLDER)
        case "tflite", precision:
            # from the SavedModel where there is one: the graph is traced once. But loops are written in another way,
            # a SavedModel takes texts as strings, and the scaling of columns is cut off before int8
            twin = "fake-quant" if item.stage == QUANTIZE else "float32"
            source = folder / Planned(item.stage, "saved_model", twin).filename
            apart = recurrent.loops(network) or spec.takes_text or columns_ahead.scales(network, spec)
            tflite.write(
                source if source.exists() and not apart else network, path, spec, precision,  # type: ignore[arg-type]
                calibration, fake_quant=item.stage == QUANTIZE, half_weights=_held(described, "float16") > 0,
                unrolled_steps=unrolled_steps,
            )  # fmt: skip
        case "onnx", "int8":
            source = folder / Planned(item.stage, "tflite", "int8").filename
            if not source.exists():
                raise ConversionError(
                    f"{item.id} is made from {source.name}, which could not be made", todo="see that file's error"
                )
            onnx.write_from_tflite(source, path, spec)
        case "onnx", _:
            onnx.write(network, path, spec)
    size = footprint.size(path)
    form = {"saved_model": saved_model, "tflite": tflite, "onnx": onnx}[item.format]
    kernels, operators = form.kernels(path), form.operators(path)
    zero, channels = footprint.zero_channels(kernels, operators.channel_axes)
    graph = document.Operators.model_validate(operators.to_dict() | {"zero_channels": zero, "channels": channels})
    clustered = _require_promises(item, described, model, kernels, graph, operators.channel_axes, spec)
    return _described(
        item, bytes=size.bytes, gzip_bytes=size.gzip_bytes, parameters=described.parameters, macs=described.macs,
        sparsity=footprint.sparsity(kernels), clustered=clustered, operators=graph,
        batch=tflite.batch(path) if item.format == "tflite" else None,
    )  # fmt: skip


def _require_promises(
    item: Planned, model: Model, folder: Path, kernels: dict[str, np.ndarray], graph: document.Operators,
    axes: Mapping[str, tuple[int, ...]], spec: Spec,
) -> Clustered | None:  # fmt: skip
    """Assert on a file what its stage promised: zeros, clusters, and integer operators where no layer was left float.

    Returns how the file is clustered.
    """
    clustered = None
    if any(layer.target is not None or layer.clusters for layer in model.layers):
        from pipeline.compress import promises
        from pipeline.formats import keras_file

        plain, _ = keras_file.read(folder)
        trained = item.stage == QUANTIZE
        # what a batch normalization multiplies with is in the scales of a kernel that learned to be int8, and in others
        folded = {
            layer.name
            for layer in model.layers
            if item.format != "saved_model" and not (trained and layer.precision.startswith("int8"))
        }
        clustered = promises.require_in_file(
            kernels, plain, promises.told(model), axes=axes, name=item.id,
            folded=folded,
            scaled=not trained and item.precision not in ("float32", "sparse-float32", "float16"),
        )  # fmt: skip
    # what is added behind a reconstruction, its score and its raw values, is no part of the model and stays float
    added = any(head.task in GIVING_BACK for head in spec.heads)
    whole = all(layer.precision.startswith("int8") for layer in model.layers) and not added
    if item.stage == QUANTIZE and item.format == "tflite":
        wanted, held = _held(model, "int8"), sum(array.dtype == "int8" for array in kernels.values())
        if held < wanted:
            raise PromiseError(
                f"{item.id}: kernels that were trained for int8 are float in the file",
                expected=f"{wanted} int8 kernels", found=f"{held}",
                todo="report this model; without the section quantize it is quantized after training",
            )  # fmt: skip
    # what an .onnx computes in integers is the runtime's decision; its operators say what ONNX Runtime can fuse
    trained = item.stage == QUANTIZE and item.format == "tflite"
    if trained and whole and (graph.floating or not graph.first_integer):
        kinds = ", ".join(f"{kind} x{count}" for kind, count in graph.floating_names.items())
        raise PromiseError(
            f"{item.id}: operators compute in float, though every layer was trained for int8",
            expected="integer operators alone", found=kinds or f"{graph.first} comes first",
            todo="report this model; without the section quantize it is quantized after training",
        )  # fmt: skip
    return clustered


def _held(model: Model, precision: str) -> int:
    """Return how many layers have kernels of a precision."""
    return sum(layer.precision.startswith(precision) and layer.histogram is not None for layer in model.layers)


@lru_cache(maxsize=1)
def _model(folder: Path) -> Any:
    from pipeline.formats import fake_quant_file

    return fake_quant_file.read(folder)


def _described(item: Planned, **facts: Any) -> document.Artifact:
    from pipeline.report import document

    return document.Artifact(
        id=item.id, stage=item.stage, format=item.format, precision=item.precision,
        path=None if facts.get("error") else f"artifacts/{item.filename}", **facts,
    )  # fmt: skip


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
