"""distill: a smaller student learns from its teacher, and once more alone: what was the teacher worth?"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.compress.distill_config import Config
from pipeline.compute.config import Compute
from pipeline.data import DataConfig
from pipeline.errors import InputError
from pipeline.events import Emit, Note
from pipeline.files import sha256
from pipeline.own_code.config import Builder
from pipeline.stage import Job, Result, Surroundings

if TYPE_CHECKING:
    from pipeline.compress.distillation import Teaching
    from pipeline.report.model import Model

NAME = "distill"
INPUTS = ("import", "train")
CODE = (
    "models",
    "pipeline/compress/__init__.py",
    "pipeline/compress/distill_config.py",
    "pipeline/compress/distillation",
    "pipeline/compress/flattening.py",
    "pipeline/compress/kernels.py",
    "pipeline/compute",
    "pipeline/data",
    "pipeline/ending.py",
    "pipeline/fine_tune.py",
    "pipeline/fit",
    "pipeline/formats/__init__.py",
    "pipeline/formats/custom_code.py",
    "pipeline/formats/endings.py",
    "pipeline/formats/ends.py",
    "pipeline/formats/keras_config.py",
    "pipeline/formats/keras_file.py",
    "pipeline/formats/model_file",
    "pipeline/formats/plain/__init__.py",
    "pipeline/formats/plain/model.py",
    "pipeline/isolate.py",
    "pipeline/legacy_keras.py",
    "pipeline/machine.py",
    "pipeline/measuring/anatomy.py",
    "pipeline/measuring/footprint.py",
    "pipeline/measuring/macs.py",
    "pipeline/metric.py",
    "pipeline/own_code",
    "pipeline/predictor.py",
    "pipeline/quality.py",
    "pipeline/report/model.py",
    "pipeline/rows.py",
    "pipeline/scoring",
    "pipeline/stages/distill.py",
    "pipeline/variants.py",
    "pipeline/vectorizer.py",
)
LIBRARIES = ("tensorflow", "tf_keras", "h5py", "numpy", "scikit-learn")

# what to do about code in a further teacher's file, which no key allows
_NO_CODE = (
    "leave it out of distill.teachers, or rebuild it from Keras' own layers: code of a further teacher is not run"
)


def surroundings(emit: Emit, *, distill: Config) -> Surroundings:  # noqa: ARG001 - every stage's have the same face
    """Return the content of the further teachers' files, and of a student's code."""
    from pipeline.formats.model_file.kind import identify
    from pipeline.own_code import source

    absent = [path for path in distill.teachers if not Path(path).is_file()]
    if absent:
        raise InputError(
            "distill.teachers names files that are not there", expected=".keras or .h5 files", found=", ".join(absent),
            todo="correct the paths",
        )  # fmt: skip
    for path in distill.teachers:
        identify(Path(path))
    digests = tuple(sha256(Path(path)) for path in distill.teachers)
    decisive = {f"teacher {place}": digest for place, digest in enumerate(digests, 2)}
    student = source.surroundings(distill.student)
    return Surroundings(decisive | dict(student.decisive), found=(digests, student.found))


def run(job: Job, *, data: DataConfig, distill: Config, seed: int, compute: Compute = Compute()) -> Result:
    """Train the student with its teachers, and alone: same start, same order of samples, same number of steps.

    The folder gets the student (`formats/keras_file.py`), the one that learned alone in alone/, and models.json.

    Raises:
        DivergedError: a loss is not finite.
        InputError: the student does not fit the data, or a teacher's file is no model for it.
        RunError: a teacher's file changed since the run began.
    """
    import models
    from pipeline import data as sources
    from pipeline import fine_tune
    from pipeline.formats import keras_file
    from pipeline.formats.model_file.importing import bring_in
    from pipeline.measuring import anatomy
    from pipeline.own_code import build, objective
    from pipeline.predictor import require_numbers

    splits = sources.load(data, job.store)
    if distill.teachers:
        require_numbers(splits.spec)
    more = []
    digests, code = job.found
    for path, digest in zip(distill.teachers, digests, strict=True):
        with tempfile.TemporaryDirectory(prefix="modelmill-") as folder:
            came = bring_in(
                Path(path), splits.spec, splits.validation.x, Path(folder), NAME, digest=digest, todo=_NO_CODE
            )
            more.append(keras_file.read(Path(folder))[0])
        for note in came.notes:
            job.emit(Note(NAME, f"{path}: {note}"))
    teaching = fine_tune.teaching(job.inputs, distill, more)
    # the first teacher is the model that comes in
    teacher = teaching.teachers[0] if teaching else keras_file.read(fine_tune.last(job.inputs).folder)[0]
    before = fine_tune.quality(teacher, splits)

    def learn(job: Job, teaching: Teaching | None) -> tuple[Model, dict[str, float]]:
        if isinstance(distill.student, Builder):
            student = build.build(distill.student, splits, seed, expected=code, stage=NAME, emit=job.emit)
        else:
            student = models.build(distill.student, splits.spec, seed)
        tuned = fine_tune.tune(
            job, student, splits, distill, data=data, seed=seed, stage=NAME, work=job.work, teaching=teaching,
            compute=compute,
            objective=objective.of(distill.student),
        )  # fmt: skip
        keras_file.write(student, splits.spec, job.folder)
        described = anatomy.describe(student, NAME, training=tuned.history.epochs, taught=tuned.taught)
        return described, {
            "parameters": described.parameters, "macs": described.macs or 0, "epoch": tuned.epoch,
            **fine_tune.metrics(splits, tuned.quality, before), "teachers": 1 + len(more),
        }  # fmt: skip

    return Result(fine_tune.compare(job, distill, teaching, learn, stage=NAME))


def assess(metrics: Mapping[str, float], emit: Emit, *, distill: Config) -> None:
    """Hold the result to the accuracy that it may lose; see `fine_tune.require_accuracy`."""
    from pipeline import fine_tune

    fine_tune.require_accuracy(metrics, distill, stage=NAME, emit=emit)
