"""export: the model as SavedModel, TFLite and ONNX, each in the precisions that the recipe asks for.

The conversions run in one child process, which is started again only after a crash: a native crash of a converter is
that artifact's error, and the run goes on.
"""

from __future__ import annotations

import shutil
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.config import NEUTRAL, Frozen
from pipeline.data import DataConfig
from pipeline.events import Progress
from pipeline.plan import Planned
from pipeline.stage import Job, Result

if TYPE_CHECKING:
    import numpy as np

    from pipeline.report import document

NAME = "export"
INPUTS = ("train",)
CODE = (
    "pipeline/attempt.py",
    "pipeline/ending.py",
    "pipeline/stages/export.py",
    "pipeline/data",
    "pipeline/formats",
    "pipeline/isolate.py",
    "pipeline/legacy_keras.py",
    "pipeline/measuring/footprint.py",
    "pipeline/measuring/macs.py",
    "pipeline/plan.py",
    "pipeline/predictor.py",
    "pipeline/report/document.py",
)
LIBRARIES = ("tensorflow", "tf_keras", "tf2onnx", "onnx", "ai-edge-litert", "numpy", "scikit-learn")


class Config(Frozen):
    """Formats and precisions to export; the SavedModel is always made, everything is compared with it."""

    saved_model: tuple[Literal["float32"]] = Field(default=("float32",), description="precisions of the SavedModel")
    tflite: tuple[Literal["float32", "float16", "dynamic-int8", "int8"], ...] = Field(
        default=("float32", "float16", "dynamic-int8", "int8"),
        description="precisions of the .tflite; int8 is post-training quantization with the calibration split",
    )
    onnx: tuple[Literal["float32", "int8"], ...] = Field(
        default=("float32", "int8"), description="precisions of the .onnx; int8 (QDQ) is made from the int8 .tflite"
    )
    optional: Annotated[tuple[str, ...], NEUTRAL] = Field(
        default=(), description="ids of artifacts whose failure does not fail the verdict"
    )
    deadline_s: Annotated[float, NEUTRAL] = Field(default=600, gt=0, description="longest time for one conversion")
    memory_mb: Annotated[int | None, NEUTRAL] = Field(
        default=8192, gt=0, description="most memory of the conversion's process, in MiB"
    )

    @model_validator(mode="after")
    def _possible(self) -> Config:
        if "int8" in self.onnx and "int8" not in self.tflite:
            raise ValueError("onnx int8 is made from the int8 .tflite: add int8 to export.tflite")
        for name in ("tflite", "onnx"):
            asked = getattr(self, name)
            if len(set(asked)) != len(asked):
                raise ValueError(f"{name} names a precision twice: {', '.join(asked)}")
        ids = [item.id for item in plan(self)]
        unknown = [name for name in self.optional if name not in ids]
        if unknown:
            raise ValueError(f"optional names what is not exported: {', '.join(unknown)}; exported: {', '.join(ids)}")
        return self


def plan(config: Config) -> tuple[Planned, ...]:
    """Return the artifacts that a config asks for, in the order in which they are made."""
    asked: list[tuple[Any, str]] = [("saved_model", precision) for precision in config.saved_model]
    asked += [("tflite", precision) for precision in config.tflite]
    asked += [("onnx", precision) for precision in config.onnx]
    return tuple(Planned("train", form, precision) for form, precision in asked)


def run(job: Job, *, data: DataConfig, export: Config) -> Result:
    """Convert the model to every artifact of the plan.

    The folder gets the files under their artifacts' names, and artifacts.json with their sizes or errors.
    """
    from pipeline import data as sources
    from pipeline.attempt import Attempts
    from pipeline.isolate import Child
    from pipeline.report import document

    model = job.inputs["train"].folder
    calibration = sources.load(data).calibration.x
    made: list[document.Artifact] = []
    attempts = Attempts(NAME, "converter", job.emit)
    items = plan(export)
    with Child(deadline_s=export.deadline_s, memory_mb=export.memory_mb) as child:
        for done, item in enumerate(items):
            job.emit(Progress(NAME, "artifact", done, len(items), item=item.id))
            static = item.format == "tflite" and item.precision == "int8"
            converting = partial(child.call, convert, item, model, job.folder, calibration if static else None)
            described = attempts.attempt(item.id, converting)
            if described is None:
                _remove(job.folder / item.filename)
                described = _described(item, error=attempts.errors[item.id], transient=item.id in attempts.passing)
            made.append(described)
    document.write_artifacts(made, job.folder)
    failed = len(attempts.errors)
    return Result({"artifacts": len(items) - failed, "failed": failed}, tuple(attempts.transient))


def convert(item: Planned, model: Path, folder: Path, calibration: np.ndarray | None) -> document.Artifact:
    """Make one artifact from the Keras model in the folder `model`; runs in the child.

    Args:
        item: what to make.
        model: the artifact folder of the training stage.
        folder: where the file is written, and where the artifacts it is made from lie.
        calibration: raw samples float32 [n, *input_shape] for static quantization, else None.

    Raises:
        ConversionError: a converter refuses the model.
    """
    from pipeline.formats import ConversionError, onnx, saved_model, tflite
    from pipeline.measuring import footprint

    network, spec = _model(model)
    path = folder / item.filename
    match item.format, item.precision:
        case "saved_model", _:
            saved_model.write(network, path, spec)
        case "tflite", precision:
            # from the SavedModel where there is one: the graph is traced once
            source = folder / Planned(item.stage, "saved_model", "float32").filename
            tflite.write(source if source.exists() else network, path, spec, precision, calibration)  # type: ignore[arg-type]
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
    kernels = {"saved_model": saved_model, "tflite": tflite, "onnx": onnx}[item.format].kernels(path)
    return _described(
        item, bytes=size.bytes, gzip_bytes=size.gzip_bytes, parameters=footprint.parameters(network),
        macs=footprint.macs(network).total, sparsity=footprint.sparsity(kernels),
    )  # fmt: skip


@lru_cache(maxsize=1)
def _model(folder: Path) -> Any:
    from pipeline.formats import keras_file

    return keras_file.read(folder)


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
