"""A user's model file becomes an artifact's model: each step in a child process, which may die of the file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from pipeline.errors import InputError, ModelmillError, RunError
from pipeline.formats.keras_config import shown
from pipeline.formats.model_file import load, proof, scan
from pipeline.formats.model_file.keras3 import agreement, reference
from pipeline.formats.model_file.kind import SAVE_IT
from pipeline.isolate import Child, CrashError
from pipeline.predictor import rows

if TYPE_CHECKING:
    import numpy as np

    from pipeline.predictor import Samples, Spec, Stored
    from pipeline.report.model import Model

P = ParamSpec("P")
T = TypeVar("T")

# looking takes a second; HDF5's library goes round for ever in some damaged files
SCAN_S, SCAN_S_PER_MB = 60.0, 0.25
DEADLINE_S = 1800.0
PROVEN_SAMPLES = 64


@dataclass(frozen=True)
class Imported:
    """What came of a file.

    Attributes:
        notes: what was changed, and what was proven.
        custom: code of the file's author that was allowed.
        modules: the modules that it is in.
        answers: head's name -> float32 [n, ...], the model's answers.
        model: its entry in the report.
    """

    notes: tuple[str, ...]
    custom: tuple[str, ...]
    modules: tuple[str, ...]
    answers: Mapping[str, np.ndarray]
    model: Model
    proof: proof.Proof


def bring_in(
    path: Path, spec: Spec, samples: Stored, folder: Path, stage: str, *, allow_custom_code: bool = False,
    digest: str | None = None, todo: str = scan.YOUR_CODE,
) -> Imported:  # fmt: skip
    """Store a user's model as an artifact's (`formats/keras_file.py`), and prove that it is the file's.

    This process reads nothing of it: one child looks through the file, another one loads it, and a third proves it. A
    file of Keras 3 is asked in one more, by Keras 3 itself.

    Args:
        path: the user's file.
        spec: what the data wants of a model.
        samples: raw values, n >= 1.
        folder: where the model is written.
        stage: whose it is, for its entry in the report.
        allow_custom_code: whether code of the file's author may run.
        digest: the sha256 that the file had when the run began; None: any.
        todo: what the user can do about code in it.

    Raises:
        InputError: it is no model for this data, or not to be trusted.
        RunError: the file changed since; or the imported model is not the file's.
    """
    few = rows(samples, slice(PROVEN_SAMPLES))
    with tempfile.TemporaryDirectory(prefix="modelmill-") as private:
        scanned = look_through(path, Path(private), allow_custom_code=allow_custom_code, digest=digest, todo=todo)
        asked = _keras_3(path, scanned, few) if scanned.keras == 3 else None
        agreed: tuple[str, ...] = ()
        with _child(path, DEADLINE_S) as first:
            if asked is not None:
                agreed = (str(_asked(first, path, _agree, scanned, asked)),)
            notes, answers, model = _asked(first, path, _store, scanned, spec, samples, folder, stage)
        with _child(path, DEADLINE_S) as fresh:
            proven = _asked(fresh, path, proof.prove, scanned, folder, few, changed=bool(notes), reference=asked)
            written = _asked(fresh, path, _write_out, path, folder, few, stage)
    custom = tuple(one.what for one in scanned.custom)
    modules = tuple(sorted({one.module for one in scanned.custom if one.module}))
    said = tuple(shown(note, 400) for note in (*notes, *agreed, str(proven)))
    if written is not None:
        note, model = written
        said = (*said, shown(note, 400))
    return Imported(said, custom, modules, answers, model, proven)


def bring_in_alone(path: Path, folder: Path, *, allow_custom_code: bool = False) -> None:
    """Write a user's model into a folder as it is in the file, to be looked at: no data says what it is for.

    Args:
        path: a model file.
        folder: where it is written (`formats/keras_file.py`); its spec says of outputs only how many values they have.
        allow_custom_code: whether code of the file's author may run.

    Raises:
        InputError: it cannot be loaded, or is not to be trusted.
    """
    with tempfile.TemporaryDirectory(prefix="modelmill-") as private:
        scanned = look_through(path, Path(private), allow_custom_code=allow_custom_code)
        with _child(path, DEADLINE_S) as child:
            _asked(child, path, _store_alone, scanned, folder)


def _store_alone(scanned: scan.Scanned, folder: Path) -> None:
    from pipeline.compress import flattening
    from pipeline.formats import keras_file
    from pipeline.predictor import Head, Input, Spec

    whole = load.whole(scanned)
    if not getattr(whole, "inputs", None):
        raise InputError(
            f"the model in {scanned.path} has no graph of layers",
            expected="a functional or sequential model with an input shape", found=f"a {type(whole).__name__}",
            todo="build it once with an Input of the data's shape, and save that",
        )  # fmt: skip
    model, _ = flattening.flatten(whole)
    ends = [[tuple(int(size or 1) for size in end.shape[1:]) for end in some] for some in (model.inputs, model.outputs)]
    names = [end if len(some) > 1 else "" for some in (model.output_names,) for end in some]
    inputs = tuple(Input(name, shape, (0.0, 1.0)) for name, shape in zip(model.input_names, ends[0], strict=True))
    heads = tuple(Head("regression", shape, name=name) for name, shape in zip(names, ends[1], strict=True))
    keras_file.write(model, Spec(inputs, heads), folder)


def look_through(
    path: Path, folder: Path, *, allow_custom_code: bool, digest: str | None = None, todo: str = scan.YOUR_CODE
) -> scan.Scanned:
    """Call `scan.scan` in a child: reading what was built to do harm may crash it, or take for ever.

    Raises:
        InputError: as there; or it did not answer.
    """
    try:
        with _printable(), reader(path) as child:
            return child.call(scan.scan, path, folder, allow_custom_code=allow_custom_code, digest=digest, todo=todo)
    except CrashError as crash:
        raise _unreadable(path, crash) from crash


def _keras_3(path: Path, scanned: scan.Scanned, samples: Samples) -> reference.Reference:
    """Return what Keras 3 answers, which never shares a process with tf_keras."""
    with _child(path, DEADLINE_S) as child:
        return _asked(child, path, reference.answers, scanned, samples)


def _agree(scanned: scan.Scanned, wanted: reference.Reference) -> agreement.Agreement:
    """Compare the translated model with Keras 3, before anything is made of it; runs in the child."""
    return agreement.require_equal(scanned.path, load.whole(scanned), wanted)


def _store(
    scanned: scan.Scanned, spec: Spec, samples: Stored, folder: Path, stage: str
) -> tuple[tuple[str, ...], Mapping[str, np.ndarray], Model]:
    """Load a file and write it as an artifact; runs in the child."""
    from pipeline.data.batches import predict
    from pipeline.formats import endings, keras_file
    from pipeline.measuring import anatomy

    model, notes = load.logits(scanned, spec)
    found = predict(model, samples, batch_size=256)
    answers = {head.name: found if len(spec.heads) == 1 else found[place] for place, head in enumerate(spec.heads)}
    for head, end in zip(spec.heads, model.outputs, strict=True):
        if head.classes:
            load.require_logits(scanned.path, answers[head.name], head, linear=endings.linear(end))
    keras_file.write(model, spec, folder)
    return notes, answers, anatomy.describe(model, stage)


def _write_out(path: Path, folder: Path, samples: Samples, stage: str) -> tuple[str, Model] | None:
    """Write out the models inside an artifact's proven model, so that later stages reach their layers; runs in a child.

    Returns:
        A note and the new entry in the report; None where there are no models inside that can be written out.

    Raises:
        RunError: what is stored has not the same weights and answers, bit by bit.
    """
    from pipeline.compress import flattening
    from pipeline.formats import ends, keras_file
    from pipeline.measuring import anatomy

    model, spec = keras_file.read(folder)
    flat, names = flattening.flatten(model)
    if not names:
        return None
    keras_file.write(flat, spec, folder)
    stored, _ = keras_file.read(folder)
    weights, wanted = (sorted(array.tobytes() for array in one.get_weights()) for one in (stored, model))
    found, proven = (ends.call(one, spec, spec.named(samples)) for one in (stored, model))
    off = [float(abs(one.numpy() - other.numpy()).max()) for one, other in zip(found, proven, strict=True)]
    if weights != wanted or any(difference != 0 for difference in off):
        raise RunError(
            f"the models inside the model from {path} could not be written out layer by layer",
            expected="the same weights and answers", found=f"{len(weights)} weights for {len(wanted)}, answers off by "
            f"{max(off):.3g}", todo="report this model; without models inside of it, it goes through as it is",
        )  # fmt: skip
    inside = ", ".join(f"{name} ({len(layers)} layers)" for name, layers in names.items())
    note = f"models inside the model are written out layer by layer, with the same weights and answers: {inside}"
    return note, anatomy.describe(stored, stage)


@contextmanager
def _printable() -> Iterator[None]:
    """Hold an error, which may have anything of the file in it, to one printable line of a bounded length each."""
    try:
        yield
    except ModelmillError as error:
        fields = (error.what, error.expected, error.found, error.todo)
        error.what, error.expected, error.found, error.todo = (shown(text, 1000) for text in fields)
        raise


def reader(path: Path, log: Path | None = None) -> Child:
    """Return a child that may look at a file for as long as that can take.

    Args:
        path: the user's file or folder.
        log: as in `Child`.
    """
    return _child(path, SCAN_S + SCAN_S_PER_MB * _megabytes(path), log)


def _child(path: Path, deadline_s: float, log: Path | None = None) -> Child:
    # of a model's size there are the file, the model, its copy without a softmax, and what is written of it
    return Child(deadline_s=deadline_s, memory_mb=4096 + 8 * _megabytes(path), log=log)


def _megabytes(path: Path) -> int:
    return path.stat().st_size >> 20 if path.is_file() else 0


def _asked(child: Child, path: Path, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a child; its death becomes an error that names the file."""
    try:
        with _printable():
            return child.call(function, *args, **kwargs)
    except CrashError as crash:
        if crash.transient:
            raise RunError(
                f"the model file {path} could not be imported", expected="a model that is loaded within the limits",
                found=f"the process that read it {crash.reason}", todo="a smaller model, or a machine with more memory",
            ) from crash  # fmt: skip
        raise _unreadable(path, crash) from crash


def _unreadable(path: Path, crash: CrashError) -> InputError:
    return InputError(
        f"the model file {path} cannot be read", expected="a file that its readers survive",
        found=f"the process that read it {crash.reason}", todo=f"it is damaged, or built to do harm; {SAVE_IT}",
    )  # fmt: skip
