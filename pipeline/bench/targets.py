"""What TARGET names: a file, a served model, an image or a run's artifact. Imports nothing of weight."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from pipeline import exported, finished, recipe_problems
from pipeline.errors import InputError
from pipeline.measuring.source import File, Source
from pipeline.run_folder import REPORT
from serving.client.endpoint import Endpoint
from serving.config import SCHEMES
from serving.layout import newest

FORMS = {".tflite": "tflite", ".onnx": "onnx"}
RUNTIMES = {"saved_model": "tensorflow", "tflite": "litert", "onnx": "onnxruntime"}
REQUEST_S = 30.0  # for one request
DEFAULT_MODEL = "model"
EXPECTED = (
    "FILE.tflite, FILE.onnx, a SavedModel's folder, grpc://HOST:PORT[/MODEL], http://HOST:PORT[/v1/models/MODEL], "
    "docker:IMAGE[/v1/models/MODEL] or RUN[:ARTIFACT]"
)

_ADDRESS = re.compile(r"(grpcs?|https?)://(\[[0-9a-fA-F:]+\]|[^\s/:\[\]]+):([0-9]{1,5})(/[^\s?#]*)?")
_BARE = re.compile(r"(\[[0-9a-fA-F:]+\]|[^\s/:\[\]]+):[0-9]{1,5}(/\S*)?")  # HOST:PORT: no artifact's id is a number
_TRAINED = (".keras", ".h5")
_MODEL = re.compile(r"(?P<model>[^/]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/]+))?/?")
_DOCKER, _REST = "docker:", "/v1/models/"


@dataclass(frozen=True)
class Image:
    """A container image with the model in it; `model` None: the one that the image names."""

    image: str
    model: str | None
    version: int | None
    label: str | None


@dataclass(frozen=True)
class Target:
    """One TARGET; `name` tells it apart from the others, `text` is as it was given."""

    name: str
    text: str
    what: Source | Image


def find(given: Sequence[str]) -> tuple[Target, ...]:
    """Return what the arguments name; files by their last part where that is enough to tell them apart.

    The same one twice gets a number, and is measured twice.

    Raises:
        InputError: one names nothing that can be measured.
    """
    texts = [text.strip() for text in given]
    what = [_find(text) for text in texts]
    short = [_short(text) if isinstance(one, File) else text for text, one in zip(texts, what, strict=True)]
    names = [
        name if len({text for text, other in zip(texts, short, strict=True) if other == name}) == 1 else text
        for text, name in zip(texts, short, strict=True)
    ]
    found = []
    for place, (text, name, one) in enumerate(zip(texts, names, what, strict=True)):
        before = names[:place].count(name)
        found.append(Target(f"{name} ({before + 1})" if before else name, text, one))
    return tuple(found)


def _short(text: str) -> str:
    path = Path(text)
    return text if path.name.isdecimal() or not path.exists() else path.name


def _find(text: str) -> Source | Image:
    if text.startswith(_DOCKER):
        return _image(text)
    scheme, separator, rest = text.partition("://")
    if separator and scheme in SCHEMES:
        return _endpoint(text)
    path = Path(text)
    if separator and not path.exists():
        close = recipe_problems.nearest(scheme, SCHEMES)
        known = ", ".join(f"{one}://" for one in SCHEMES)
        todo = f"did you mean {close}://{rest}?" if close else f"a server is asked by {known}"
        raise _unknown(text, f"the scheme {scheme}", todo)
    if path.exists() and not (path / REPORT).is_file():
        return _file(path)
    if _BARE.fullmatch(text) and not finished.is_run(Path(text.partition(":")[0])):
        todo = f"say how it is asked: grpc://{text}, or http://{text} for REST"
        raise _unknown(text, "an address without a scheme, and no run of that name", todo)
    if finished.is_run(path) or (":" in text and "://" not in text and path.suffix.lower() not in FORMS):
        return _artifact(*exported.named(text))
    raise _unknown(text, "nothing there", _todo_of(path))


def _todo_of(path: Path) -> str:
    """Return what to do about a path where nothing is: the nearest beside it is what was meant."""
    beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    close = recipe_problems.nearest(path.name, beside)
    return f"did you mean {path.with_name(close)}?" if close else f"give a path that exists, seen from {Path.cwd()}"


def _unknown(text: str, found: str, todo: str = "correct it") -> InputError:
    return InputError(f"{text} is nothing to measure", expected=EXPECTED, found=found, todo=todo)


def _file(path: Path) -> File:
    if path.is_file():
        if (form := FORMS.get(path.suffix.lower())) is None:
            todo = (
                "export a trained model first: modelmill export --model FILE"
                if path.suffix in _TRAINED
                else (f"give a file that ends in {' or '.join(FORMS)}")
            )
            raise _unknown(str(path), f"a file that ends in {path.suffix or 'nothing'}", todo)
        return File(form, path)
    if (folder := newest(path)) is None:
        raise _unknown(str(path), "a folder with neither saved_model.pb nor version folders that have one")
    return File("saved_model", folder)


def _artifact(run: Path, name: str | None) -> File:
    folder, report = finished.read(run)
    return _file(exported.find(folder, report, name, tuple(RUNTIMES)).path)


def _endpoint(text: str) -> Endpoint:
    match = _ADDRESS.fullmatch(text)
    if not match or not 0 < int(match[3]) < 65536:
        raise _unknown(text, "an address without HOST:PORT")
    address, path = f"{match[1]}://{match[2]}:{match[3]}", match[4] or ""
    prefix, model = "", path.strip("/")
    if SCHEMES[match[1]] == "rest":
        prefix, found, model = path.partition(_REST)
        if not found:
            prefix, model = path.rstrip("/"), ""
    return Endpoint(address + prefix, *_model(text, model), REQUEST_S)


def _model(text: str, path: str, default: str = DEFAULT_MODEL) -> tuple[str, int | None, str | None]:
    """Return model, version and label of "MODEL/versions/2"."""
    if not path:
        return default, None, None
    match = _MODEL.fullmatch(path)
    if not match:
        raise InputError(
            f"{text} names no model", expected="MODEL, MODEL/versions/N or MODEL/labels/L behind the address",
            found=path, todo="correct it",
        )  # fmt: skip
    version = None if match["version"] is None else int(match["version"])
    return unquote(match["model"]), version, None if match["label"] is None else unquote(match["label"])


def _image(text: str) -> Image:
    image, _, path = text.removeprefix(_DOCKER).partition(_REST)
    if not image:
        raise _unknown(text, "no image behind docker:")
    model, version, label = _model(text, path, "")
    return Image(image, model or None, version, label)
