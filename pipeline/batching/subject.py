"""What is served in a search: a SavedModel folder, or the SavedModel of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import exported, finished, recipe
from pipeline.data import DataConfig
from pipeline.errors import InputError
from pipeline.recipes import DEFAULT
from pipeline.run_folder import RECIPE
from serving.config import ServingConfig
from serving.layout import newest


@dataclass(frozen=True)
class Subject:
    """A model, and how it is served.

    Attributes:
        name: of the model, for people: the folder, or RUN:ARTIFACT.
        folder: with saved_model.pb.
        serving: where; its `batching` is what is searched for.
        data: of the run, whose test split is what is sent; None: nothing is known but the signature.
        store: where the run kept its data.
    """

    name: str
    folder: Path
    serving: ServingConfig
    data: DataConfig | None = None
    store: Path | None = None


def find(text: str, assignments: Sequence[str], *, trusted: bool) -> Subject:
    """Return what is meant by a SavedModel folder, or by RUN or RUN:ARTIFACT.

    Args:
        assignments: serving.KEY=VALUE.
        trusted: whether the run's recipe may name programs and images.

    Raises:
        InputError: there is neither, or the artifact is no SavedModel.
    """
    if wrong := [one for one in assignments if not one.strip().startswith("serving.")]:
        raise InputError(
            f"--set {wrong[0]} changes nothing here", expected="serving.KEY=VALUE", found=wrong[0],
            todo="the model is taken as it is: for example --set serving.target=docker",
        )  # fmt: skip
    if folder := newest(Path(text)):
        return Subject(text, folder, _served(recipe.load(DEFAULT, assignments).serving))
    run, artifact = exported.named(text)
    try:
        home, report = finished.read(run)
    except InputError as error:
        error.what = f"{text} is neither a SavedModel folder nor a finished run: {error.what}"
        raise
    found = exported.find(home, report, artifact, ("saved_model",))
    folder = newest(found.path)
    assert folder is not None  # as its files are those that export wrote
    config = recipe.load(str(home / RECIPE), assignments, trusted=trusted)
    return Subject(f"{home}:{found.item.id}", folder, _served(config.serving), config.data, found.store())


def _served(config: ServingConfig | None) -> ServingConfig:
    """Return the section as it is without batching, and for several servers at a time.

    Raises:
        InputError: it is a server that is not ours to start.
    """
    config = config or ServingConfig()
    if config.target == "remote":
        raise InputError(
            "batching parameters are tried on servers that are started for it", found="serving.target: remote",
            expected="docker, binary, embedded or auto", todo="--set serving.target=auto --set serving.remote=null",
        )  # fmt: skip
    return config.on_free_ports().model_copy(update={"batching": None})
