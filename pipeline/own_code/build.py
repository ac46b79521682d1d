"""The user's function called, and what it returns held to the data, and to being saved and loaded between stages."""

from __future__ import annotations

import inspect
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.compress import flattening
from pipeline.data.batches import rebuilt
from pipeline.errors import InputError, ModelmillError
from pipeline.events import Emit, Note
from pipeline.fit import tasks
from pipeline.formats import endings, keras_file
from pipeline.formats.model_file import load
from pipeline.legacy_keras import load as load_keras
from pipeline.own_code import objective, package
from pipeline.own_code.source import Source, look
from pipeline.predictor import rows

if TYPE_CHECKING:
    from pipeline.data import Splits
    from pipeline.own_code.config import Builder
    from pipeline.predictor import Head, Spec

# enough to see what a model answers
_SAMPLES = 16
# two models of the same layers and weights; kernels may sum in another order; of the largest answer, if that is above 1
_TOLERANCE = 1e-5


def build(config: Builder, splits: Splits, seed: int, *, expected: str, stage: str, emit: Emit) -> Any:
    """Return the untrained model of the user's function: raw values in, logits out, weights decided by `seed`.

    Args:
        expected: the package that the code was when the run began.
        stage: whose notes are emitted.

    Raises:
        InputError: the function raises, or returns no model for this data, or one that cannot be saved and loaded; or
            the loss or a metric fails.
        RunError: the code changed since the run began.
    """
    keras = load_keras()
    source = look(config)
    if source.package != expected:
        raise package.changed(source, "another content")
    if source.outside:
        text = (
            f"{source.file} imports {', '.join(source.outside)} from elsewhere: a change of it is not noticed; what "
            "lies beside the file and is imported relatively is part of the stage's fingerprint"
        )
        emit(Note(stage, text, level="warning"))
    module = package.load(source)
    spec, name = splits.spec, f"{config.path}:{config.function}"
    head = _only(spec)
    arguments = (spec.input.shape, head.shape[0] if len(head.shape) == 1 else head.shape)
    function = getattr(module, config.function, None)
    _require_callable(function, name, arguments, config)
    keras.backend.reset_uids()  # the names that layers are given are those of a fresh process
    keras.utils.set_random_seed(seed)
    with package.told(source, f"{name} fails"):
        made = function(*arguments, **config.options)  # type: ignore[misc]
    _require_model(made, name, source)
    model = _ending_in_logits(made, name, spec, source, stage, emit)
    few = slice(_SAMPLES)
    samples, labels = (np.asarray(rows(side, few)) for side in (splits.validation.x, splits.validation.y))
    again = rebuilt(spec)
    labels = labels if again is None else again(samples)  # what a loss gets
    with package.told(source, f"the model of {name} cannot be called"):
        answers = model(samples, training=False).numpy()
    if head.classes and answers.any():  # a last layer may start at zero
        load.require_logits(Path(name), answers, head, linear=endings.linear(model.outputs[0]))
    _require_loadable(model, name, spec, source, samples, answers)
    wanted = objective.of(config)
    if wanted is not None:
        objective.require(wanted, source, labels, answers, judged=head.metric)
    return model


def _only(spec: Spec) -> Head:
    if spec.takes_text:
        raise InputError(
            "model.builder builds no models of texts", expected="data of numbers", found="a text input",
            todo="model.architecture: text_rnn or text_transformer",
        )  # fmt: skip
    if len(spec.inputs) > 1:
        raise InputError(
            "model.builder builds models of one input", expected="data with one input",
            found=", ".join(one.name for one in spec.inputs),
            todo="save the model, and give it as model.path: it can be exported, served and measured",
        )  # fmt: skip
    return tasks.only_head(spec)


def _require_callable(function: Any, name: str, arguments: tuple[Any, ...], config: Builder) -> None:
    if not callable(function):
        raise InputError(
            f"{name} is no function", expected="def build(input_shape, classes, **options)",
            found=f"a {type(function).__name__}", todo="name the function that returns the model",
        )  # fmt: skip
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of something that Python cannot look into
        return
    try:
        signature.bind(*arguments, **config.options)
    except TypeError as error:
        given = ", ".join(["input_shape", "classes", *(f"{key}=" for key in config.options)])
        raise InputError(
            f"{name} takes other arguments: {error}", expected=f"({given})", found=str(signature),
            todo="correct the function, or model.options",
        ) from error  # fmt: skip


def _require_model(made: Any, name: str, source: Source) -> None:
    keras = load_keras()
    if isinstance(made, keras.Model):
        return
    keras_3 = any(kind.__module__.startswith(("keras.src", "keras.models")) for kind in type(made).__mro__)
    raise InputError(
        f"{name} returns no model of tf_keras", expected="a functional or sequential model of Keras 2 (tf_keras)",
        found="a Keras 3 model" if keras_3 else "None: it lacks a return" if made is None else f"a {type(made)}",
        todo=package.keras_2(source) or "import tf_keras as keras, and return keras.Model(inputs, logits)",
    )  # fmt: skip


def _ending_in_logits(made: Any, name: str, spec: Spec, source: Source, stage: str, emit: Emit) -> Any:
    """Return the model up to its logits, as a plain one; says what that changes."""
    if type(made).train_step is not load_keras().Model.train_step:
        text = f"{name} returns a {type(made).__name__} with a train_step of its own, which is not used: model.loss"
        emit(Note(stage, text, level="warning"))
    try:
        flat, inside = flattening.flatten(made)
        model, notes = load.ending_in_logits(Path(name), flat, spec)
    except InputError as error:
        raise InputError(
            error.what, expected=error.expected, found=error.found,
            todo=f"let {name} return keras.Model(inputs, logits) with an Input of input_shape and `classes` outputs",
        ) from error  # fmt: skip
    except (ModelmillError, MemoryError):
        raise
    except Exception as error:  # of a layer that cannot be made again from its config
        raise _not_loadable(name, source, package.said(error)) from error
    if inside:
        notes = (f"models inside the model are written out layer by layer: {', '.join(inside)}", *notes)
    for note in notes:
        emit(Note(stage, note))
    return model


def _require_loadable(
    model: Any, name: str, spec: Spec, source: Source, samples: np.ndarray, answers: np.ndarray
) -> None:
    """Save the model and load it, as every stage that comes does, before hours go into its training."""
    try:
        with tempfile.TemporaryDirectory(prefix="modelmill-") as folder:
            keras_file.write(model, spec, Path(folder))
            again, _ = keras_file.read(Path(folder))
        same = all(map(np.array_equal, model.get_weights(), again.get_weights()))
        found = again(samples, training=False).numpy()
        difference = float(np.abs(found - answers).max())
    except (ModelmillError, KeyboardInterrupt, MemoryError, OSError):
        raise
    except Exception as error:
        raise _not_loadable(name, source, package.said(error)) from error
    if not same or not difference <= _TOLERANCE * max(1.0, float(np.abs(answers).max())):
        text = f"answers off by {difference:.3g}" if same else "other weights"
        raise _not_loadable(name, source, f"{text} after it was loaded again")


def _not_loadable(name: str, source: Source, found: str) -> InputError:
    return InputError(
        f"the model of {name} cannot be saved and loaded again between stages",
        expected="layers and functions at the top of the file; a get_config() with all arguments of __init__; weights "
        "made in build() or __init__()",
        found=found, todo=package.keras_2(source) or "give each layer of your own a get_config()",
    )  # fmt: skip
