"""All files of a bundle."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import machine
from pipeline.bundle import card, ends, examples, golden, licence, microcontroller
from pipeline.bundle.microcontroller import Micro
from pipeline.errors import InputError, RunError
from pipeline.files import link_or_copy
from pipeline.isolate import Child, CrashError, FailedError

if TYPE_CHECKING:
    import numpy as np

    from pipeline.bundle.golden import Answers
    from pipeline.bundle.subject import Subject
    from pipeline.data import Splits

_RUNTIMES = {"tflite": ("LiteRT", "ai-edge-litert"), "onnx": ("ONNX Runtime", "onnxruntime")}
_PLAIN = {"tflite": "LiteRT's reference kernels", "onnx": "ONNX Runtime with nothing fused"}


@dataclass(frozen=True)
class Contents:
    """A bundle.

    Attributes:
        files: name -> content.
        notes: what a reader should know of what is not in it.
    """

    files: Mapping[str, bytes]
    notes: tuple[str, ...]


def made(subject: Subject, splits: Splits, child: Child, private: Path) -> Contents:
    """Return the files, the same for the same run, data, runtimes and processor.

    Args:
        splits: of the run, texts as strings.
        child: asks the model, where nothing but what is bundled lies beside it.
        private: an empty folder.

    Raises:
        InputError: the file does not run, or not without files that nobody listed.
        RunError: it answers what is no number, or its process was ended.
    """
    found, spec = subject.found, splits.spec
    item = found.item
    chosen = golden.choose(splits.test, spec, item.batch or 1)
    samples = [spec.named(spec.tokens(one.given)) for one in chosen]
    for name, path in {subject.model: found.path, **found.beside()}.items():
        link_or_copy(str(path), str(private / name))
    model = private / subject.model
    answers = _answers(subject, model, samples, child)
    examples.require_known(answers, item.id)
    answers, lacking = _compared(item.format, model, answers, child)
    micro = _micro(subject, model, samples, answers, child)
    if micro is not None and not micro.why:
        answers = answers.beside(micro.apart)
    beside = {name: (private / name).read_bytes() for name in found.beside()}
    listed = [name for name in beside if name not in item.labels]
    signature = ends.signature(
        answers, spec, model=subject.model, key="serving_default" if item.format == "tflite" else "",
        source=subject.source, beside=listed, labels=item.labels,
    )  # fmt: skip
    name, package = _RUNTIMES[item.format]
    made_with = f"{name}, {package} {machine.versions([package])[package]}, {machine.cpu()} ({platform.machine()})"
    files = {
        subject.model: model.read_bytes(),
        ends.SIGNATURE: ends.encoded(signature),
        **ends.golden(answers, chosen, spec, made_with),
        **examples.files(item.format, subject.model, answers, micro, _classes(signature, private)),
        "LICENSE.md": licence.text(subject, listed).encode(),
    }
    compared = [*lacking, *disagreements(answers)]
    files["MODEL_CARD.md"] = card.text(subject, signature, [*files, *beside], made_with, micro, compared).encode()
    return Contents(beside | files, (*notes(item.format, answers, micro), *compared))


def _classes(signature: Mapping[str, Any], folder: Path) -> dict[str, tuple[str, ...]]:
    """Return output -> the names of its classes, of those that answer one class."""
    return {
        end["name"]: tuple((folder / end["labels"]).read_text("utf-8").removesuffix("\n").split("\n"))
        for end in signature["outputs"]
        if end.get("task") == "classification" and "labels" in end
    }


def disagreements(answers: Answers) -> Iterator[str]:
    """Yield where other kernels are too far from the golden outputs to tell a right answer by."""
    for name, most in answers.disagree.items():
        yield (
            f"other kernels differ by {most:g} in {name}, too much beside what the samples differ by: its tolerance "
            "leaves that out, and a device may fail the check"
        )


def notes(form: str, answers: Answers, micro: Micro | None) -> Iterator[str]:
    """Yield what a reader should know of what is not in a bundle."""
    if form == "tflite" and answers.stateful:
        yield "no C or C++ example for LiteRT is in it: its C API refuses a file that keeps a state from call to call"
    if micro is not None and micro.why:
        yield f"nothing for a microcontroller is in it: {micro.why}"


def _micro(
    subject: Subject, model: Path, samples: Sequence[Mapping[str, np.ndarray]], answers: Answers, child: Child
) -> Micro | None:
    """Return what there is for a microcontroller; None: the file is none for it."""
    item = subject.found.item
    if item.format != "tflite" or item.precision != "int8":
        return None
    (labels,) = item.labels if len(item.labels) == 1 else ("",)
    names = (model.parent / labels).read_text("utf-8").splitlines() if labels else []
    try:
        return child.call(microcontroller.made, model, samples, answers.pairs, names)
    except (FailedError, CrashError) as error:
        if isinstance(error, CrashError) and error.transient:
            raise RunError(
                f"{subject.found.item.id} does not come to an end in TFLM", found=f"its process {error}",
                todo="run the same command again",
            ) from None  # fmt: skip
        return Micro(why=f"TensorFlow Lite for Microcontrollers does not take it: {error}")


def _compared(form: str, model: Path, answers: Answers, child: Child) -> tuple[Answers, list[str]]:
    """Return the answers with how far the runtime's plain kernels are from them, or why nobody knows."""
    try:
        return answers.beside(child.call(golden.elsewhere, model, form, answers)), []
    except (FailedError, CrashError, RunError) as error:
        why = " ".join(str(error).split())
        return answers, [f"{_PLAIN[form]} did not answer ({why}): the tolerance knows nothing of other kernels"]


def _answers(subject: Subject, model: Path, samples: Sequence[Mapping[str, np.ndarray]], child: Child) -> Answers:
    found = subject.found
    try:
        return child.call(golden.answer, model, found.item.format, samples)
    except (FailedError, CrashError) as error:
        what = f"{found.item.id} does not answer samples of the test split"
        if isinstance(error, CrashError) and error.transient:
            raise RunError(what, found=f"its process {error}", todo="run the same command again") from None
        raise InputError(
            what, expected=f"a file that {_RUNTIMES[found.item.format][0]} runs", found=str(error),
            todo="choose another artifact",
        ) from None  # fmt: skip
