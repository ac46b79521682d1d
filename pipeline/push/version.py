"""The files that become a version: a SavedModel's as they are, a .tflite's as servers want them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline import exported
from pipeline.errors import InputError, ModelmillError, RunError
from pipeline.exported import Exported
from pipeline.files import link_or_copy
from pipeline.isolate import Child, CrashError, FailedError
from pipeline.report.document import Report
from serving import warmup
from serving.layout import EXTRA, FIRST_VERSION, LITE


def require_servable(found: Exported, child: Child) -> None:
    """Refuse a .tflite that a server cannot take, or would answer wrongly from.

    Raises:
        InputError: it is one, or cannot be read.
        RunError: the reading was ended: it took too long, or somebody killed it.
    """
    if found.item.format != "tflite":
        return
    try:
        why = child.call(_unservable, found.path)
    except (FailedError, CrashError) as error:
        raise _broken(found, error) from None
    if why:
        raise InputError(f"{found.item.id} cannot be served", found=why, todo="choose another artifact")


def files(found: Exported, report: Report, child: Child, private: Path) -> dict[str, Path]:
    """Return name in the version's folder -> the file that it is, as it was hashed.

    Of a .tflite these are model.tflite, warm-up records like those of the run's SavedModel, and in assets.extra what is
    beside it: names of classes, columns, vocabularies.

    Args:
        child: reads the model; what is broken in there ends it alone.
        private: an empty folder, for what has to be made.

    Raises:
        InputError: the run's SavedModel is damaged, or the .tflite is broken.
        RunError: see `require_servable`.
    """
    if found.item.format == "saved_model":
        return found.below(str(FIRST_VERSION))
    made = {LITE: found.path} | {f"{EXTRA}/{name}": file for name, file in found.beside().items()}
    like = _records(found, report)
    if like is not None:
        try:
            written = child.call(_warm, found.path, like, private)
        except (FailedError, CrashError) as error:
            raise _broken(found, error) from None
        if written is not None:
            made[warmup.FILE.as_posix()] = written
    return made


def folder(files: Mapping[str, Path], target: Path) -> Path:
    """Make a folder of a version's files, which are linked where links can be; return it."""
    for name, source in files.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(str(source), str(place))
    return target


def _broken(found: Exported, error: FailedError | CrashError) -> ModelmillError:
    what = f"{found.item.id} cannot be made ready for a server"
    if isinstance(error, CrashError) and error.transient:
        return RunError(what, found=f"its process {error}", todo="run the same command again")
    return InputError(
        what,
        expected="a file that LiteRT runs, as the run exported it", found=str(error),
        todo="run the recipe again, or choose another artifact",
    )  # fmt: skip


def _records(found: Exported, report: Report) -> Path | None:
    """Return the version folder of the run's SavedModel where it has warm-up records."""
    served = next((one for one in report.artifacts if one.id == report.to_serve and one.path), None)
    if served is None:
        return None
    name = warmup.FILE.as_posix()
    if name not in (below := exported.checked(found.run, served).below(str(FIRST_VERSION))):
        return None
    return below[name].parents[len(warmup.FILE.parts) - 1]


# From here on: what runs in the child.


def _unservable(path: Path) -> str:
    from pipeline.formats import tflite

    return tflite.unservable(path)


def _warm(model: Path, source: Path, private: Path) -> Path | None:
    """Write records for a .tflite with the samples of a SavedModel's; return the file, None where that has none.

    What the file takes otherwise, texts as token ids, is zeros.
    """
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    from serving.client.tensors import decode

    records = warmup.read(source)
    if not records:
        return None
    request = max(records, key=warmup.batch).predict_log.request
    interpreter = Interpreter(str(model))
    inputs = interpreter.get_signature_runner("serving_default").get_input_details()
    samples: dict[str, np.ndarray] = {}
    for name, wanted in inputs.items():
        given = request.inputs[name]
        if given.string_val or wanted["dtype"] != np.float32:
            samples[name] = np.zeros((1, *wanted["shape"][1:]), wanted["dtype"])
        else:
            samples[name] = decode(given)
    return warmup.write(private, samples, tuple(warmup.batch(record) for record in records))
