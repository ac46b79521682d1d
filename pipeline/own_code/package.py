"""Code of the user's as modules: under a name that follows from its content, so that neither a `models` nor a
`pipeline.py` of theirs meets ours, and that two versions of a file are two modules.

An artifact with such code in it has a copy of it. Later stages import the copy: it is what the model was made with,
wherever the user's file is by then, and whatever became of it.

Each file is read once: the bytes that were held to its digest are those that are imported and those that are copied, so
that a file may be written to while its model trains.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import linecache
import sys
import traceback
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError, ModelmillError, RunError
from pipeline.files import write_json
from pipeline.formats.keras_config import shown
from pipeline.own_code.source import PRIVATE, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

# folder in an artifact: PACKAGE.json with what the copy consists of, and PACKAGE/ with the copy
COPIES = "own_code"


@dataclass(frozen=True)
class _Known:
    """Code that was introduced, with the content of its files by their paths below the source's folder."""

    source: Source
    contents: dict[str, bytes]


_known: dict[str, _Known] = {}


class _Loader(SourceFileLoader):
    """Gives the source that was read when it was introduced, and no other.

    It neither reads nor leaves bytecode: an artifact holds what its manifest says and nothing else.
    """

    def get_data(self, path: str) -> bytes:
        """See `importlib.abc.ResourceLoader.get_data`; a module that `source` has not is an InputError."""
        file = Path(path)
        if file.suffix == ".pyc":
            raise FileNotFoundError(path)
        known = _known[self.name.partition(".")[0]]
        content = known.contents.get(file.relative_to(known.source.folder).as_posix())
        if content is None and file.suffix == ".py":
            raise InputError(
                f"{known.source.file} imports code in a way that cannot be followed",
                expected="statements: from .x import y", found=path,
                todo="import it by a statement, so that a change of it is noticed",
            )  # fmt: skip
        return super().get_data(path) if content is None else content

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
        return importlib.import_module(source.module)


def introduce(source: Source) -> None:
    """Let the modules of the user's code be imported by their names, from now on and in this process.

    Raises:
        RunError: a file is not what `source` says.
    """
    if source.package in sys.modules:  # of the same content, though perhaps from another folder
        return
    there = [name for name in source.files if (source.folder / name).is_file()]
    contents = {name: (source.folder / name).read_bytes() for name in there}
    found = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    differing = [name for name, digest in source.files.items() if found.get(name) != digest]
    if differing:
        raise changed(source, f"another content in {', '.join(differing)}")
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    package = ModuleType(source.package, "Code of the user's.")
    package.__path__ = [str(source.folder)]
    package.__spec__ = ModuleSpec(source.package, None, is_package=True)
    sys.modules[source.package] = package
    _known[source.package] = _Known(source, contents)
    for name, content in contents.items():  # where inspect, and AutoGraph through it, look for a function's text
        path, lines = str(source.folder / name), importlib.util.decode_source(content).splitlines(keepends=True)
        linecache.cache[path] = (len(content), None, lines, path)  # without a time it is never read again


def changed(source: Source, found: str) -> RunError:
    """Return the error for code that was written to before it was read."""
    return RunError(
        f"{source.file} changed while the run was going on", expected="the code that the run began with", found=found,
        todo="run it again, when the files are written",
    )  # fmt: skip


def _folder(source: Source) -> Path:
    return _known[source.package].source.folder


def keep(modules: Iterable[str], folder: Path) -> None:
    """Copy the code that modules are in into an artifact's folder; modules that are not such code are passed over."""
    for name in sorted({module.partition(".")[0] for module in modules if module.startswith(PRIVATE)}):
        source = _known[name].source
        for file, content in _known[name].contents.items():
            copy = folder / COPIES / name / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
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
