"""What each row of a matrix is a run of: an architecture in a small size, with data that fit it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models import MODELS, READING, REBUILDING
from pipeline.errors import InputError
from pipeline.matrix import texts
from pipeline.plan import reference
from pipeline.predictor import GIVING_BACK
from pipeline.recipe import Recipe, check
from pipeline.recipe_problems import nearest

TEXTS = "digits-as-texts.tsv"


@dataclass(frozen=True)
class Row:
    """An architecture as it is tried.

    Attributes:
        name: of the row and of its run's folder.
        model: the recipe's section `model`.
        mixed: its export.mixed, where the recipe asks for a .tflite of that precision: a recipe's names layers of its
            own model. No name here depends on the data, as the last layer's does.
        changes: other sections and keys of the recipe -> what they become.
    """

    name: str
    model: Mapping[str, Any]
    mixed: Mapping[str, str]
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def architecture(self) -> str:
        """Which of `models.MODELS` it is."""
        return str(self.model["architecture"])


def _mixed(**others: str) -> Mapping[str, str]:
    """Return 4 bits for all layers but those that are named otherwise."""
    return {"*": "dynamic-int4"} | others


_SMALL = {"blocks": 3, "width_multiplier": 0.5}
_TEXT = {"embedding": 16}
_IN_8, _FLOAT = "dynamic-int8", "float32"
# what no operator in 4 bits, or in integers at all, has: depthwise kernels; embeddings and the bodies of loops
_DEPTHWISE = _mixed(**{"*_depthwise": _IN_8})
_LOOP: Mapping[str, Any] = {"export": {"unrolled_steps": 0}}
ROWS = (
    Row("mlp", {"architecture": "mlp", "dense": [32]}, _mixed(dense_1=_IN_8)),
    Row("cnn", {"architecture": "cnn", "filters": [16, 32], "head": "average"}, _mixed(conv_1=_IN_8)),
    Row("resnet", {"architecture": "resnet", "depth": 8}, _mixed(stem=_IN_8)),
    Row("mobilenet_v1", {"architecture": "mobilenet", "version": 1, **_SMALL}, _DEPTHWISE),
    Row("mobilenet_v2", {"architecture": "mobilenet", "version": 2, **_SMALL}, _DEPTHWISE),
    Row("efficientnet", {"architecture": "efficientnet", **_SMALL}, _DEPTHWISE),
    Row("ds_cnn", {"architecture": "ds_cnn", "filters": 24, "blocks": 2, "strides": [1, 1]}, _DEPTHWISE),
    Row("autoencoder", {"architecture": "autoencoder", "dense": [32], "code": 16}, _mixed(dense_1=_IN_8)),
    Row("rnn_simple", {"architecture": "rnn", "cell": "simple", "units": [24]}, _mixed(**{"simple_*": _IN_8})),
    Row("rnn_lstm", {"architecture": "rnn", "cell": "lstm", "units": [24]}, _mixed(**{"lstm_*": _IN_8})),
    Row("rnn_gru", {"architecture": "rnn", "cell": "gru", "units": [24]}, _mixed(**{"gru_*": _IN_8})),
    Row(
        "rnn_both_ways",
        {"architecture": "rnn", "cell": "lstm", "units": [16], "bidirectional": True},
        _mixed(**{"*lstm_*": _IN_8}),
    ),
    # as sequences longer than export.unrolled_steps are: a loop stays a loop in the file
    Row("rnn_lstm_loop", {"architecture": "rnn", "cell": "lstm", "units": [24]}, _mixed(**{"lstm_*": _FLOAT}), _LOOP),
    Row("rnn_gru_loop", {"architecture": "rnn", "cell": "gru", "units": [24]}, _mixed(**{"gru_*": _FLOAT}), _LOOP),
    Row(
        "text_rnn",
        {"architecture": "text_rnn", "cell": "lstm", "units": [24], **_TEXT},
        _mixed(**{"lstm_*": _IN_8}, embedding=_FLOAT),
    ),
    Row(
        "text_transformer",
        {"architecture": "text_transformer", "heads": 2, "feed_forward": 32, **_TEXT},
        _mixed(**{"feed_forward_*": _IN_8}, embedding=_FLOAT),
    ),
)


def chosen(names: Sequence[str] = ()) -> tuple[Row, ...]:
    """Return the rows of these names.

    Args:
        names: of rows or of architectures; none: all rows.

    Raises:
        InputError: a name is neither.
    """
    there = list(dict.fromkeys([*(row.name for row in ROWS), *MODELS]))
    for name in names:
        if name not in there:
            close = nearest(name, there)
            raise InputError(
                f"--architecture {name}: there is none", expected=f"one of {', '.join(there)}", found=name,
                todo=f"did you mean {close}?" if close else "`modelmill architectures` explains each",
            )  # fmt: skip
    return tuple(row for row in ROWS if not names or row.name in names or row.architecture in names)


def require_exported(recipe: Recipe) -> None:
    """Refuse a recipe of which no file would come.

    Raises:
        InputError: it has no section export, or none measure.
    """
    absent = [name for name in ("train", "export", "measure") if getattr(recipe, name) is None]
    if absent:
        raise InputError(
            f"a matrix needs files that are measured, and the recipe {recipe.name} has no section {absent[0]}",
            expected="the sections train, export and measure", found=f"no {', no '.join(absent)}",
            todo="add it; `modelmill init my.yaml --recipe matrix` writes one to start from",
        )  # fmt: skip


def of_row(recipe: Recipe, row: Row, folder: Path) -> Recipe:
    """Return the recipe of a row's run.

    Nothing of it fails a verdict: what cannot be made is what a matrix shows. What names another model is left out.

    Args:
        folder: where the texts are, for rows that read them.

    Raises:
        InputError: the row's model does not go with the recipe.
    """
    whole = recipe.model_dump(mode="json")
    whole |= {"name": row.name, "model": dict(row.model), "distill": None, "judge": None, "tune": None}
    whole["data"] = _data(recipe, row, folder)
    for section, changes in row.changes.items():
        whole[section] |= changes
    if whole["export"]["mixed"]:
        whole["export"]["mixed"] = dict(row.mixed)
    whole["export"]["optional"] = []
    planned = check(whole, row.name).plan()
    whole["export"]["optional"] = [item.id for item in planned if item.id != reference(planned).id]
    return check(whole, row.name)


def planned(recipe: Recipe, row: Row, folder: Path) -> Recipe | InputError:
    """Return what `of_row` does, or why the row's model does not go with the recipe."""
    try:
        return of_row(recipe, row, folder)
    except InputError as error:
        return error


def _data(recipe: Recipe, row: Row, folder: Path) -> dict[str, Any]:
    found = recipe.data.model_dump(mode="json")
    if row.architecture in READING and recipe.data.source == "digits":
        return texts.section(folder / TEXTS, found["split"], recipe.data.split_seed)
    if row.architecture in REBUILDING and recipe.data.task not in GIVING_BACK:
        found |= {"task": "reconstruction", "metric": None}
    return found
