"""import: a user's model file; the teacher and reference of what follows, unless `train` fine-tunes it first."""

from __future__ import annotations

from pathlib import Path

from pipeline.data import DataConfig
from pipeline.events import Emit, Note
from pipeline.files import sha256
from pipeline.formats.import_config import Config
from pipeline.stage import Job, Result, Surroundings

NAME = "import"
INPUTS = ()
CODE = (
    "pipeline/compress/__init__.py",
    "pipeline/compress/flattening.py",
    "pipeline/compress/kernels.py",
    "pipeline/data",
    "pipeline/ending.py",
    "pipeline/formats/__init__.py",
    "pipeline/formats/custom_code.py",
    "pipeline/formats/endings.py",
    "pipeline/formats/ends.py",
    "pipeline/formats/import_config.py",
    "pipeline/formats/keras_config.py",
    "pipeline/formats/keras_file.py",
    "pipeline/formats/model_file",
    "pipeline/formats/plain",
    "pipeline/isolate.py",
    "pipeline/legacy_keras.py",
    "pipeline/machine.py",
    "pipeline/measuring/anatomy.py",
    "pipeline/measuring/footprint.py",
    "pipeline/measuring/macs.py",
    "pipeline/metric.py",
    "pipeline/own_code/__init__.py",
    "pipeline/own_code/config.py",
    "pipeline/own_code/package.py",
    "pipeline/own_code/source.py",
    "pipeline/predictor.py",
    "pipeline/quality.py",
    "pipeline/report/data.py",
    "pipeline/report/model.py",
    "pipeline/rows.py",
    "pipeline/scoring",
    "pipeline/stages/import_model.py",
    "pipeline/vectorizer.py",
)
LIBRARIES = ("tensorflow", "tf_keras", "keras", "h5py", "numpy", "scikit-learn")


def surroundings(emit: Emit, *, model: Config) -> Surroundings:  # noqa: ARG001 - every stage's have the same face
    """Return the file's content: what decides the result, wherever the file lies."""
    from pipeline.formats.plain import folder

    path = Path(model.path)
    folder.identify(path)
    digest = folder.digest(path) if folder.is_saved_model(path) else sha256(path)
    return Surroundings({"model file": digest}, found=digest)


def run(job: Job, *, data: DataConfig, model: Config) -> Result:
    """Write the file's model as an artifact, proven equal: the model (`formats/keras_file.py`) and models.json.

    Raises:
        InputError: it is no model for this data, or holds code that is not allowed.
        RunError: the imported model is not the file's, or the file changed since the run began.
    """
    from pipeline import data as sources
    from pipeline.data.summary import summary
    from pipeline.formats.keras_config import shown
    from pipeline.formats.model_file import importing
    from pipeline.formats.plain import folder
    from pipeline.formats.plain import importing as graphs
    from pipeline.predictor import heads, require_numbers
    from pipeline.quality import quality, scores
    from pipeline.report.data import write_data
    from pipeline.report.model import write_models

    splits = sources.load(data, job.store, look=True)
    require_numbers(splits.spec)
    write_data(summary(splits, data), job.folder)
    for note in splits.notes:
        job.emit(Note(NAME, note))
    if model.allow_custom_code:
        text = "model.allow_custom_code is true: code of the file's author runs here, in this stage and in later ones"
        job.emit(Note(NAME, text, level="warning"))
    bring_in = graphs.bring_in if folder.is_saved_model(Path(model.path)) else importing.bring_in
    found = bring_in(
        Path(model.path), splits.spec, splits.validation.x, job.folder, NAME, allow_custom_code=model.allow_custom_code,
        digest=job.found,
    )  # fmt: skip
    if data.source == "image_folder":
        shape = "x".join(map(str, splits.spec.input.shape))
        job.emit(Note(NAME, f"every image has the shape of the model's input: {shape}"))
    for note in found.notes:
        job.emit(Note(NAME, note))
    if found.custom:
        job.emit(Note(NAME, f"code of its author's in the model: {', '.join(found.custom)}", level="warning"))
    qualities = {}
    for head, wanted in heads(splits.spec, splits.validation.y):
        answered = found.answers[head.name]
        if head.task == "anomaly":
            answered = scores(splits.spec.input, splits.validation.x, answered)
        qualities[head.metric] = quality(head, wanted, answered)
        if head.task in ("multilabel", "anomaly"):
            continue
        # by what has a value for chance, whatever models are judged by
        reached = quality(head, wanted, answered, "accuracy" if head.classes else "r2")
        chance = 1 / len(head.classes) if head.classes else 0
        if reached < chance + min(chance, (1 - chance) / 5):
            ranges = ", ".join("{:g}..{:g}".format(*one.value_range) for one in splits.spec.inputs)
            said = f"is right on {reached:.1%} of" if head.classes else f"has R2 {reached:.3f} on"
            text = (
                f"the model {said} the validation split, about as often as chance: it gets the raw "
                f"values, {ranges}; if it was trained on scaled ones, put a Rescaling layer before it"
            )
            if head.task == "reconstruction":
                text += "; and it has to end in the sample scaled to [0, 1]"
            job.emit(Note(NAME, text, level="warning"))
    write_models([found.model], job.folder)
    # their source is no part of the fingerprint: what they are is known after the file was read
    transient = tuple(f"the author's module {shown(module)} may have changed" for module in found.modules)
    return Result(
        {
            "parameters": found.model.parameters,
            **({} if found.model.macs is None else {"macs": found.model.macs}),
            **{f"val_{metric}": value for metric, value in qualities.items()},
            "weights_equal_to_file": found.proof.weights, "answers_compared_with_file": found.proof.samples,
            "largest_difference_from_file": found.proof.difference,
        },
        transient,
    )  # fmt: skip
