"""Code of the user's as modules: under a name that follows from its content, so that neither a `models` nor a
`pipeline.py` of theirs meets ours, and that two versions of a file are two modules.

An artifact with such code in it has a copy of it. Later stages import the copy: it is what the model was made with,
wherever the user's file is by then, and whatever became of it.
"""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError, ModelmillError, RunError
from pipeline.files import sha256, write_json
from pipeline.formats.keras_config import shown
from pipeline.own_code.source import PRIVATE, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

# folder in an artifact: PACKAGE.json with what the copy consists of, and PACKAGE/ with the copy
COPIES = "own_code"

_known: dict[str, Source] = {}


class _Loader(SourceFileLoader):
    """Reads source, and leaves no bytecode beside it: an artifact holds what its manifest says and nothing else."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """See `importlib.abc.SourceLoader.set_data`."""


class _Finder(MetaPathFinder):
    """Finds the modules of our packages of the user's code, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder.find_spec`."""
        if not fullname.startswith(PRIVATE):
            return None
        finders = (FileFinder(folder, (_Loader, [".py"])) for folder in path or ())
        return next((spec for finder in finders if (spec := finder.find_spec(fullname, target)) is not None), None)


def load(source: Source) -> ModuleType:
    """Import the file that was named.

    Raises:
        InputError: it raises; or it imports something in a way that its source does not show.
        RunError: it is not what `source` says.
    """
    introduce(source)
    with told(source, f"{source.file} cannot be imported"):
        module = importlib.import_module(source.module)
    loaded = [one for name, one in list(sys.modules.items()) if name.startswith(f"{source.package}.")]
    files = [Path(one.__file__) for one in loaded if one.__file__]
    hidden = [str(file) for file in files if file.relative_to(_folder(source)).as_posix() not in source.files]
    if hidden:
        raise InputError(
            f"{source.file} imports code in a way that cannot be followed", expected="statements: from .x import y",
            found=", ".join(hidden), todo="import it by a statement, so that a change of it is noticed",
        )  # fmt: skip
    return module


def introduce(source: Source) -> None:
    """Let the modules of the user's code be imported by their names, from now on and in this process.

    Raises:
        RunError: a file is not what `source` says.
    """
    if source.package in sys.modules:  # of the same content, though perhaps from another folder
        return
    changed = [name for name, digest in source.files.items() if not _is(source.folder / name, digest)]
    if changed:
        raise RunError(
            f"{source.file} changed while the run was going on", expected="the code that the run began with",
            found=f"another content in {', '.join(changed)}", todo="run it again, when the files are written",
        )  # fmt: skip
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    package = ModuleType(source.package, "Code of the user's.")
    package.__path__ = [str(source.folder)]
    package.__spec__ = ModuleSpec(source.package, None, is_package=True)
    sys.modules[source.package] = package
    _known[source.package] = source


def _is(file: Path, digest: str) -> bool:
    return file.is_file() and sha256(file) == digest


def _folder(source: Source) -> Path:
    return _known[source.package].folder


def keep(modules: Iterable[str], folder: Path) -> None:
    """Copy the code that modules are in into an artifact's folder; modules that are not such code are passed over."""
    for name in sorted({module.partition(".")[0] for module in modules if module.startswith(PRIVATE)}):
        source = _known[name]
        for file in source.files:
            copy = folder / COPIES / name / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((source.folder / file).read_bytes())
        facts = {"stem": source.stem, "files": source.files, "outside": source.outside, "keras_3": source.keras_3}
        write_json(folder / COPIES / f"{name}.json", facts)


def take(folder: Path) -> None:
    """Introduce the code that an artifact has a copy of.

    Raises:
        RunError: the copy is not what it was.
    """
    for file in sorted((folder / COPIES).glob("*.json")):
        facts = json.loads(file.read_text(encoding="utf-8"))
        introduce(
            Source(
                file.with_suffix(""), facts["stem"], facts["files"], tuple(facts["outside"]), tuple(facts["keras_3"])
            )
        )


@contextmanager
def told(source: Source, what: str) -> Iterator[None]:
    """Turn what the user's code raises inside the block into one message, with the file and the line.

    Raises:
        InputError: it raised.
    """
    try:
        yield
    except (KeyboardInterrupt, MemoryError, ModelmillError):
        raise
    except BaseException as error:  # also SystemExit: the user's code does not end ours
        where = [
            f"{frame.filename}, line {frame.lineno}"
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename).is_relative_to(_folder(source))
        ]
        raise InputError(
            what, found=said(error) + (f" ({where[-1]})" if where else ""),
            todo=keras_2(source) or "correct the file; it runs as it is with `python`, but for its relative imports",
        ) from error  # fmt: skip


def said(error: BaseException) -> str:
    """Return what an exception says, as one line of a bounded length."""
    return shown(f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": "), 300)


def keras_2(source: Source) -> str:
    """Return what to do about an import of Keras 3; empty where there is none."""
    if not source.keras_3:
        return ""
    return f"import tf_keras as keras, in place of keras, which is Keras 3 ({', '.join(source.keras_3[:3])})"
