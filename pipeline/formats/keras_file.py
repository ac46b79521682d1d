"""A trained model inside an artifact: `model.keras` and, beside it, `spec.json` with what goes in and comes out."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import legacy_keras
from pipeline.errors import InputError
from pipeline.files import canonical, write_json
from pipeline.formats import custom_code, ends
from pipeline.formats.keras_config import Finding, findings
from pipeline.formats.plain import model as plain
from pipeline.own_code import package
from pipeline.predictor import Samples, Spec

MODEL, SPEC = "model.keras", "spec.json"
# key of spec.json, where there is any: code of the author's, which the user allowed when the model came in
CUSTOM = "custom_code"
# key of spec.json beside it: the sha256 of each module that the code is in
SOURCES = "custom_sources"


def write(model: Any, spec: Spec, folder: Path) -> None:
    """Write a tf_keras model and its spec into an artifact's folder, which is made where it is not there.

    Equal models become equal bytes, whenever they are written.
    """
    folder.mkdir(exist_ok=True)
    dated = folder / f"dated.{MODEL}"
    try:
        model.save(dated, save_format="keras")
        _copy_without_dates(dated, folder / MODEL)
    finally:
        dated.unlink(missing_ok=True)
    with zipfile.ZipFile(folder / MODEL) as archive:
        found = findings(json.loads(archive.read("config.json")))
    code = [dataclasses.asdict(one) for one in found if one.kind == "code"]
    fields = spec.to_json()
    if code:
        package.keep((one.module for one in found), folder)
        try:
            fields |= {CUSTOM: code, SOURCES: custom_code.sources(found)}
        except LookupError as error:
            raise InputError(
                "the model's own code has no source that could be recorded", expected="classes in modules of Python",
                found=str(error), todo="put the class into a module's file, and save the model again",
            ) from error  # fmt: skip
    write_json(folder / SPEC, fields)


def _copy_without_dates(source: Path, target: Path) -> None:
    with zipfile.ZipFile(source) as dated, zipfile.ZipFile(target, "w") as undated:
        for name in dated.namelist():
            content = dated.read(name)
            if name == "metadata.json":
                content = canonical(json.loads(content) | {"date_saved": "1980-01-01@00:00:00"}).encode()
            undated.writestr(zipfile.ZipInfo(name), content)  # dated 1980-01-01, as far back as an archive can


def read(folder: Path) -> tuple[Any, Spec]:
    """Return the model, not compiled, and its spec; what came as a graph without layers is a `PlainModel`.

    Code inside the file is refused, but where the artifact says that the user allowed it.

    Raises:
        custom_code.ForeignCodeError: the file names code, and its artifact does not say so.
        InputError: code that was allowed cannot be imported.
    """
    keras = legacy_keras.load()
    fields = json.loads((folder / SPEC).read_text(encoding="utf-8"))
    if (folder / plain.MODEL).is_dir():  # a graph of the user's, which only answers
        probabilities = fields.pop(plain.PROBABILITIES)
        spec = Spec.from_json(fields)
        return plain.PlainModel(folder / plain.MODEL, probabilities=probabilities, head=spec.head), spec
    custom = [Finding(**one) for one in fields.pop(CUSTOM, [])]
    recorded = fields.pop(SOURCES, {})
    if custom:
        try:
            package.take(folder)
            custom_code.require_unchanged(recorded)
            custom_code.allow(custom)
        except LookupError as error:
            raise InputError(
                "the model's own code is not what it was", expected="what it needed when it was imported",
                found=str(error), todo="put the module where Python finds it (PYTHONPATH), as it was; or import "
                "the model again (--from import)",
            ) from error  # fmt: skip
    with nullcontext() if custom else custom_code.refused():
        model = keras.models.load_model(folder / MODEL, compile=False, safe_mode=not custom)
    return model, Spec.from_json(fields)


class KerasPredictor:
    """A Keras model, as a Predictor; the ground truth of parity."""

    def __init__(self, model: Any, spec: Spec) -> None:
        self._model, self._spec = model, spec

    def predict(self, batch: Samples) -> dict[str, np.ndarray]:
        """See `Predictor.predict`."""
        found = ends.answers(self._model, self._spec, self._spec.named(batch))
        return {name: tensor.numpy() for name, tensor in found.items()}

    def close(self) -> None:
        """See `Predictor.close`."""
