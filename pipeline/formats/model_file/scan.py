"""A user's model file looked through before Keras loads it: no code of the author's, nothing outside of the file.

Read with zipfile, json and h5py alone. What passes is copied under a name of ours, and the copy is what is loaded, so
that Keras sees what was looked at and nothing else.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError, RunError, translate_os_error
from pipeline.files import sha256
from pipeline.formats.keras_config import MODELS, Finding, findings, shown, without_compiling
from pipeline.formats.model_file import archive, hdf5
from pipeline.formats.model_file.hdf5 import ARCHIVE_TRAINING
from pipeline.formats.model_file.keras3 import check
from pipeline.formats.model_file.kind import EXPECTED, SAVE_IT, Kind, identify

if TYPE_CHECKING:
    import h5py

CONFIG_ATTRIBUTE, WEIGHTS_GROUP = "model_config", "model_weights"
_FLAG = "allow_custom_code"
# what to do about code in a file, where the user may allow it
YOUR_CODE = (
    "rebuild the model from Keras' own layers; or, if the code is yours or you trust who wrote it: "
    f"model.{_FLAG}: true (--set model.{_FLAG}=true)"
)
_REBUILD = (
    "rebuild the model from Keras' own layers; or build it with tf_keras and load the weights there "
    f"({_FLAG} does not help: what was written for Keras 3 cannot run in tf_keras)"
)


@dataclass(frozen=True)
class Scanned:
    """A model file that was looked through.

    Attributes:
        path: the user's file, for messages.
        kind: what it is.
        model: the copy for Keras to load.
        weights: the HDF5 file with the weights, as the user's file holds them: the copy itself, or unpacked from it.
        custom: code of the author's that the file names, and that the user allowed; empty without such.
        keras: the Keras that wrote it, 2 or 3.
    """

    path: Path
    kind: Kind
    model: Path
    weights: Path
    custom: tuple[Finding, ...]
    keras: int = 2


def scan(
    path: Path, folder: Path, *, allow_custom_code: bool = False, digest: str | None = None, todo: str = YOUR_CODE
) -> Scanned:
    """Look through a model file, and copy it into `folder`; the user's file is read once, to be copied.

    Args:
        path: the user's file.
        folder: an empty one, in which the copy is to lie.
        allow_custom_code: whether it may name code; what points out of the file is refused all the same.
        digest: the sha256 that the file had when the run began; None: any.
        todo: what the user can do about code in it.

    Raises:
        InputError: it is no model file of Keras, holds code, points out of itself, or is damaged.
        RunError: it is not the file that it was.
    """
    identify(path)
    copy = folder / f"given{path.suffix}"
    shutil.copyfile(path, copy)
    if digest is not None and sha256(copy) != digest:
        raise RunError(
            f"the model file {path} changed while the run was going on", expected="the file that the run began with",
            found="another content", todo="run it again, when the file is written to its end",
        )  # fmt: skip
    look = {"archive": _archive, "hdf5": _hdf5}[identify(path, copy)]
    try:
        return look(copy, path, folder, todo="" if allow_custom_code else todo)
    except RecursionError as error:
        raise InputError(
            f"{path} is not a model file", expected="the configuration of a functional or sequential model",
            found="one that is nested too deep", todo=SAVE_IT,
        ) from error  # fmt: skip


def _archive(file: Path, path: Path, folder: Path, todo: str) -> Scanned:
    documents = archive.documents(file, path)
    keras = _keras(path, documents.version)
    config = documents.config
    custom = require_own(path, config, todo, keras)
    model, weights = folder / "model.keras", folder / "model.weights.h5"
    archive.unpack_weights(file, path, weights)
    with _opened(weights, path) as opened:
        hdf5.require_harmless(opened, path, weights.stat().st_size)
        hdf5.require_weights(opened, path, ARCHIVE_TRAINING)
    archive.rewrite(file, path, without_compiling(config), weights, model)
    return Scanned(path, "archive", model, weights, custom, keras)


def _hdf5(file: Path, path: Path, folder: Path, todo: str) -> Scanned:
    model = folder / "model.h5"
    file.rename(model)
    with _opened(model, path) as opened:
        hdf5.require_harmless(opened, path, model.stat().st_size)
        text, keras = _config(path, opened)
    config = _parsed(path, text)
    custom = require_own(path, config, todo, keras)
    with _opened(model, path, "r+") as opened:
        hdf5.require_weights(opened[WEIGHTS_GROUP], path)
        opened.attrs[CONFIG_ATTRIBUTE] = json.dumps(without_compiling(config))
    return Scanned(path, "hdf5", model, model, custom, keras)


@contextmanager
def _opened(file: Path, path: Path, mode: str = "r") -> Iterator[h5py.File]:
    """Open an HDF5 file; what HDF5 says of a damaged one becomes the user's error.

    Args:
        path: what the messages call it.
    """
    import h5py

    try:
        with h5py.File(file, mode) as opened:
            yield opened
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        if translate_os_error(error):
            raise
        found = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise InputError(
            f"{path} is not a model file", expected=EXPECTED, found=f"damaged HDF5 ({found})",
            todo=f"copy it again from where it came from; or {SAVE_IT}",
        ) from error  # fmt: skip


def _config(path: Path, file: h5py.File) -> tuple[str, int]:
    """Return the configuration in a whole-model HDF5 file, unparsed, and which Keras wrote it."""
    import h5py

    text = hdf5.text(file, CONFIG_ATTRIBUTE)
    if text is None or not isinstance(file.get(WEIGHTS_GROUP), h5py.Group):
        alone = text is None and ("layer_names" in file.attrs or "layers" in file or "vars" in file)
        raise InputError(
            f"the model file {path} holds no whole model",
            expected="the layers and the weights: model.save('model.h5')",
            found="weights alone" if alone else "the layers alone" if text else "HDF5 of something else",
            todo=f"build the model, model.load_weights({path.name!r}) and {SAVE_IT}" if alone else SAVE_IT,
        )  # fmt: skip
    return text, _keras(path, hdf5.text(file, "keras_version") or "1")


def _parsed(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(
            f"{path} is not a model file", expected="a configuration in JSON", found=str(error)[:120], todo=SAVE_IT
        ) from error


def _keras(path: Path, version: str) -> int:
    """Return which Keras, 2 or 3, a file is of."""
    if not version.startswith(("2.", "3.")):
        raise InputError(
            f"the model file {path} is of another Keras", expected="Keras 2 (tf_keras) or Keras 3",
            found=f"Keras {shown(version)}",
            todo="build the model with tf_keras, load the weights there and save it: model.save('model.keras')",
        )  # fmt: skip
    return int(version[0])


def require_own(path: Path, config: Any, todo: str, keras: int = 2) -> tuple[Finding, ...]:
    """Refuse what is not Keras' own; returns the code that the user allowed.

    Args:
        todo: what to do about code; "": it is allowed.
        keras: which Keras wrote it; a class written for Keras 3 runs nowhere here, whatever is allowed.
    """
    found = check.findings(config) if keras == 3 else findings(config)
    todo = _REBUILD if keras == 3 else todo
    _refuse(path, found, "path")
    _refuse(path, found, "precision")
    code = tuple(finding for finding in found if finding.kind == "code")
    if code and todo:
        what = [finding.what for finding in code]
        raise InputError(
            f"the model file {path} holds code of its author's", expected="layers of Keras alone",
            found=", ".join(what[:5]) + (f" and {len(what) - 5} more" if len(what) > 5 else ""),
            todo=todo,
        )  # fmt: skip
    if without := [finding.what for finding in found if finding.kind == "counterpart"]:
        raise InputError(
            f"the Keras 3 model in {path} cannot become one of tf_keras",
            expected="layers, options and operations that tf_keras has too (docs/keras3.md)",
            found="; ".join(without[:20]) + (f"; and {len(without) - 20} more" if len(without) > 20 else ""),
            todo="rebuild these parts from layers that both have, and save the model again",
        )  # fmt: skip
    root = config.get("class_name") if isinstance(config, dict) else None
    if not code and (
        not isinstance(root, str) or root not in MODELS or not isinstance(config.get("config"), (dict, list))
    ):
        raise InputError(
            f"{path} is not a model file", expected="the configuration of a functional or sequential model",
            found=f"a {shown(root or type(config).__name__)}", todo=SAVE_IT,
        )  # fmt: skip
    return code


def _refuse(path: Path, found: list[Finding], kind: str) -> None:
    what = ", ".join(finding.what for finding in found if finding.kind == kind)
    if what and kind == "precision":
        raise hdf5.not_float32(path, what)
    if what:
        raise InputError(
            f"the model file {path} reads files outside of it", expected="everything in the model file itself",
            found=what, todo=f"save the model with the layer's vocabulary in it ({_FLAG} does not allow this)",
        )  # fmt: skip
