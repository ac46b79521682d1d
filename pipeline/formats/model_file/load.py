"""A model file that was looked through, loaded: held to the data, and cut to its logits."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError
from pipeline.formats import custom_code, endings, meaningful_line
from pipeline.formats.keras_config import shown
from pipeline.formats.model_file.keras3 import translated
from pipeline.formats.model_file.kind import SAVE_IT
from pipeline.formats.model_file.scan import Scanned
from pipeline.legacy_keras import load as load_keras
from pipeline.predictor import Head, Spec

if TYPE_CHECKING:
    import numpy as np


def whole(scanned: Scanned) -> Any:
    """Return the tf_keras model as the user saved it, not compiled.

    Raises:
        InputError: Keras cannot load it.
    """
    keras = load_keras()
    try:
        if scanned.custom:
            custom_code.allow(scanned.custom)
        with _guarded(scanned):
            if scanned.keras == 3:
                return translated(scanned)
            return keras.models.load_model(scanned.model, compile=False, safe_mode=not scanned.custom)
    except (MemoryError, InputError):
        raise
    except Exception as error:
        line = _said(error)
        if scanned.custom:
            raise InputError(
                f"the model file {scanned.path} names code that cannot be loaded",
                expected=f"everything that it names: {', '.join(one.what for one in scanned.custom)}", found=line,
                todo="put the module where Python finds it (PYTHONPATH); a .keras file names the modules of its "
                "classes, an .h5 does not",
            ) from error  # fmt: skip
        raise InputError(
            f"the model file {scanned.path} cannot be loaded", expected="layers of Keras and all of their weights",
            found=line, todo=SAVE_IT,
        ) from error  # fmt: skip


def _said(error: Exception) -> str:
    """Return what Keras says of a file that it cannot load, without the configurations that it prints."""
    failed, _, cause = str(error).partition("Exception encountered: ")
    if cause:
        return shown(f"{failed.partition(' using config=')[0]}: {cause.splitlines()[0]}", 300)
    return shown(meaningful_line(error).partition(" Full object config")[0].partition(" Please ensure")[0], 300)


def logits(scanned: Scanned, spec: Spec) -> tuple[Any, tuple[str, ...]]:
    """Return the tf_keras model in a file, raw values in and logits or values out, and notes on what was changed.

    Args:
        scanned: the file.
        spec: what the data wants of a model.

    Raises:
        InputError: Keras cannot load it, or it is a model for other data.
    """
    model = whole(scanned)
    with _guarded(scanned):
        return ending_in_logits(scanned.path, model, spec)


def ending_in_logits(path: Path, model: Any, spec: Spec) -> tuple[Any, tuple[str, ...]]:
    """Return a model up to its logits, its layers new ones, and notes on what was changed.

    Args:
        path: what messages call it.
        spec: what the data wants of a model.

    Raises:
        InputError: it is a model for other data.
    """
    return endings.to_logits(arranged(path, model, spec), spec)


def _guarded(scanned: Scanned) -> AbstractContextManager[None]:
    return nullcontext() if scanned.custom else custom_code.refused()


def require_logits(path: Path, answers: np.ndarray, head: Head, *, linear: bool = False) -> None:
    """Refuse a model whose answers are no logits, though it ends in no softmax or sigmoid that could be taken off.

    Args:
        answers: [n, classes], to samples of the data; where they come from one number, minus and plus half of it.
        head: what they answer.
        linear: whether the last layer has no function (`endings.linear`): small logits may lie in [0, 1], too.

    Raises:
        InputError: all answers of a last layer that is not linear lie in [0, 1], or some are no numbers.
    """
    import numpy as np

    if wrong := int((~np.isfinite(answers)).any(axis=1).sum()):
        raise InputError(
            f"the model in {path} answers what is no number", expected="finite logits",
            found=f"NaN or infinite answers to {wrong} of {len(answers)} samples",
            todo="look at what it was trained on: it gets the raw values of the data",
        )  # fmt: skip
    low, high = endings.HALVES
    mirrored = len(head.classes) == 2 and np.array_equal(answers[:, 0] * high, answers[:, 1] * low)
    answers = answers[:, 1:] / high if mirrored and head.task == "classification" else answers
    if not linear and answers.min() >= 0 and answers.max() <= 1:
        function = "sigmoid" if mirrored or head.task == "multilabel" else "softmax"
        raise InputError(
            f"the model in {path} answers probabilities", expected=f"logits, or a {function} as its last layer",
            found=f"values from {answers.min():.3g} to {answers.max():.3g}",
            todo="save the model without its last function: probabilities are added when it is exported",
        )  # fmt: skip


def arranged(path: Path, model: Any, spec: Spec) -> Any:
    """Return a model with its inputs and outputs in the spec's order; where there are several, by their names.

    Raises:
        InputError: it is a model for other data.
    """
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise InputError(
            f"the model in {path} has no graph of layers",
            expected="a functional or sequential model with an input shape", found=f"a {type(model).__name__}",
            todo="build it once with an Input of the data's shape, and save that",
        )  # fmt: skip
    inputs, outputs = [tuple(end.shape) for end in model.inputs], [tuple(end.shape) for end in model.outputs]
    if len(spec.inputs) > 1 or len(spec.heads) > 1:
        return _by_name(path, model, spec)
    head = spec.head
    wanted = [(None, *spec.input.shape)], [(None, *head.shape)]
    free = [[(None, *shape[1:]) for shape in ends] for ends in (inputs, outputs)]
    if len(outputs) == 1 and endings.single(head, outputs[0]):
        free[1] = [(None, *head.shape)]
    if free != [list(ends) for ends in wanted]:
        named = "labels" if head.task == "multilabel" else "classes"
        answers = f"{len(head.classes)} {named}" if head.classes else f"{head.task} of shape {head.shape}"
        answers += " (or one number for both)" if head.shape == (2,) and head.task == "classification" else ""
        raise InputError(
            f"the model in {path} is not a model for this data",
            expected=f"an input of shape {spec.input.shape} and an output of {answers}",
            found=f"inputs {[shape[1:] for shape in inputs]}, outputs {[shape[1:] for shape in outputs]}",
            todo="name the data that it was trained on (data, or --data)",
        )  # fmt: skip
    return model


def _by_name(path: Path, model: Any, spec: Spec) -> Any:
    keras = load_keras()
    inputs = dict(zip(model.input_names, model.inputs, strict=True))
    outputs = dict(zip(model.output_names, model.outputs, strict=True))
    if len(spec.heads) == 1:  # the only one has no name
        outputs = dict(zip([spec.head.name], outputs.values(), strict=False)) if len(outputs) == 1 else outputs
    if len(spec.inputs) == 1:
        inputs = dict(zip([spec.input.name], inputs.values(), strict=False)) if len(inputs) == 1 else inputs

    def said(ends: Mapping[str, tuple[int | None, ...]]) -> str:
        return ", ".join(f"{name or 'one'} {list(shape)}" for name, shape in ends.items())

    found = [{name: tuple(end.shape[1:]) for name, end in ends.items()} for ends in (inputs, outputs)]
    wanted = [{one.name: one.shape for one in spec.inputs}, {one.name: one.shape for one in spec.heads}]
    for head in spec.heads:
        if head.name in outputs and endings.single(head, tuple(outputs[head.name].shape)):
            found[1][head.name] = head.shape
    if found != wanted:
        raise InputError(
            f"the model in {path} is not a model for this data",
            expected=f"inputs {said(wanted[0])}; outputs {said(wanted[1])} (by the names of the data's arrays)",
            found=f"inputs {said(found[0])}; outputs {said(found[1])}",
            todo="name the arrays as the model's Input layers and output layers are called: x_train_NAME, y_train_NAME",
        )  # fmt: skip
    return keras.Model(
        [inputs[one.name] for one in spec.inputs], [outputs[one.name] for one in spec.heads], name=model.name
    )
