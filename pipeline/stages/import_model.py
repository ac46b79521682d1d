"""import: a user's model file instead of `train`; the teacher and reference of what follows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pipeline.config import NEUTRAL, Frozen
from pipeline.data import DataConfig
from pipeline.errors import InputError
from pipeline.events import Emit, Note
from pipeline.files import sha256
from pipeline.stage import Job, Result, Surroundings

NAME = "import"
INPUTS = ()
CODE = (
    "pipeline/compress/__init__.py",
    "pipeline/compress/kernels.py",
    "pipeline/data",
    "pipeline/formats/__init__.py",
    "pipeline/formats/keras_file.py",
    "pipeline/formats/model_file.py",
    "pipeline/legacy_keras.py",
    "pipeline/measuring/anatomy.py",
    "pipeline/measuring/footprint.py",
    "pipeline/measuring/macs.py",
    "pipeline/predictor.py",
    "pipeline/report/model.py",
    "pipeline/stages/import_model.py",
)
LIBRARIES = ("tensorflow", "tf_keras", "numpy", "scikit-learn")


class Config(Frozen):
    """A model file of the user's; nothing is trained, it is the reference."""

    architecture: Literal["file"] = "file"
    path: Annotated[str, NEUTRAL] = Field(min_length=1, description="a .keras file of Keras 2 (tf_keras)")


def surroundings(emit: Emit, *, model: Config) -> Surroundings:  # noqa: ARG001 - every stage's have the same face
    """Return the file's content: what decides the result, wherever the file lies."""
    path = Path(model.path)
    if not path.is_file():
        raise InputError(
            f"there is no model file {path}", expected="a .keras file",
            found="a folder" if path.is_dir() else "nothing there", todo="correct model.path, or --model",
        )  # fmt: skip
    return Surroundings({"model file": sha256(path)})


def run(job: Job, *, data: DataConfig, model: Config) -> Result:
    """Load the file and write it as an artifact: the model (`formats/keras_file.py`) and models.json.

    Raises:
        InputError: it is no model for this data.
    """
    from pipeline import data as sources
    from pipeline.formats import keras_file, model_file
    from pipeline.measuring import anatomy
    from pipeline.report.model import write_models

    splits = sources.load(data)
    network, notes = model_file.read(Path(model.path), splits.spec)
    for note in (*splits.notes, *notes):
        job.emit(Note(NAME, note))
    logits = network.predict(splits.validation.x, batch_size=256, verbose=0)
    model_file.require_logits(Path(model.path), logits)
    accuracy = float((logits.argmax(axis=1) == splits.validation.y).mean())
    if accuracy < 2 / len(splits.spec.classes):
        low, high = splits.spec.value_range
        text = (
            f"the model is right on {accuracy:.1%} of the validation split, about as often as chance: it gets the raw "
            f"values, {low:g}..{high:g}; if it was trained on scaled ones, put a Rescaling layer before it"
        )
        job.emit(Note(NAME, text, level="warning"))
    keras_file.write(network, splits.spec, job.folder)
    described = anatomy.describe(network, NAME)
    write_models([described], job.folder)
    return Result({"parameters": described.parameters, "macs": described.macs, "val_accuracy": accuracy})
