"""The file of a builder and all that it imports from beside it: read and never run, so that it can be told at once
what a result depends on, and what will not work."""

from __future__ import annotations

import ast
import difflib
import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.files import canonical
from pipeline.own_code.config import Builder
from pipeline.stage import Surroundings

PRIVATE = "modelmill_own_"
_EXPECTED = "a file of Python: path/to/file.py:function"


@dataclass(frozen=True)
class Source:
    """Code of the user's.

    Attributes:
        folder: where it lies; its files import each other relatively, as the modules of a package do.
        stem: of the file that was named.
        files: path below `folder` -> sha256, of that file and of those it imports from beside it.
        outside: modules that it imports and that are neither installed, nor beside it, nor Python's or ours.
        keras_3: where it imports Keras 3, as "file:line".
    """

    folder: Path
    stem: str
    files: dict[str, str]
    outside: tuple[str, ...] = ()
    keras_3: tuple[str, ...] = ()

    @property
    def package(self) -> str:
        """The name of the package that it is imported as; it follows from the content and the file's name."""
        return PRIVATE + hashlib.sha256(canonical([self.stem, self.files]).encode()).hexdigest()[:16]

    @property
    def module(self) -> str:
        """The name of the module that the file is imported as."""
        return f"{self.package}.{self.stem}"

    @property
    def file(self) -> Path:
        """The file that was named."""
        return self.folder / f"{self.stem}.py"


def look(config: Builder, key: str = "model.builder") -> Source:
    """Return what a builder's code consists of, and refuse what cannot work; nothing of it runs.

    Args:
        key: of the recipe that names it.

    Raises:
        InputError: no such file, no such name in it, a file that is no Python, or an import that finds something else.
    """
    path = config.path
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing there"
        raise InputError(
            f"there is no file {path}", expected=_EXPECTED, found=found,
            todo=f"correct {key}; a path that does not begin with / begins where the command is called",
        )  # fmt: skip
    if not path.stem.isidentifier():
        raise InputError(
            f"{path} cannot be imported", expected="a file name of letters, digits and _", found=path.name,
            todo="rename the file",
        )  # fmt: skip
    folder = path.parent.resolve()
    looked = _Looked(folder)
    tree = looked.add(folder / path.name)
    names = set(_names(tree.body))
    for asks, name in (
        (key, config.function), *(("model.loss", one) for one in (config.loss,) if one),
        *(("model.metrics", one) for one in config.metrics),
    ):  # fmt: skip
        if name not in names and "*" not in names:
            nearest = difflib.get_close_matches(name, names, n=1)
            raise InputError(
                f"{path} has no {name}", expected=f"the name that {asks} asks for",
                found=", ".join(sorted(one for one in names if not one.startswith("_"))) or "no names",
                todo=f"did you mean {nearest[0]}?" if nearest else f"define {name} there, or correct {asks}",
            )  # fmt: skip
    return Source(
        folder, path.stem, dict(sorted(looked.files.items())), tuple(sorted(looked.outside)), tuple(looked.keras_3)
    )


def surroundings(config: Any) -> Surroundings:
    """Return the code of a builder as what decides a result; nothing for a model of another kind."""
    if not isinstance(config, Builder):
        return Surroundings()
    found = look(config)
    digests = {f"the builder's {name}": digest for name, digest in found.files.items()}
    return Surroundings({"the builder's file": found.file.name, **digests}, found=found.package)


@dataclass
class _Looked:
    """What was found so far, file by file."""

    folder: Path
    files: dict[str, str] = field(default_factory=dict)
    outside: set[str] = field(default_factory=set)
    keras_3: list[str] = field(default_factory=list)

    def add(self, file: Path) -> ast.Module:
        """Read a file and all that it imports from beside it."""
        content = file.read_bytes()
        name = file.relative_to(self.folder).as_posix()
        self.files[name] = hashlib.sha256(content).hexdigest()
        try:
            tree = ast.parse(content)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            raise InputError(
                f"{file} is not Python" if line is None else f"{file}, line {line}, is not Python", expected=_EXPECTED,
                found=getattr(error, "msg", str(error)), todo="correct the file",
            ) from error  # fmt: skip
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                self._beside(file, node)
            elif isinstance(node, ast.ImportFrom):
                self._absolute(file, node.lineno, node.module or "")
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    self._absolute(file, node.lineno, alias.name)
        return tree

    def _beside(self, file: Path, node: ast.ImportFrom) -> None:
        base = file.parent
        for _ in range(node.level - 1):
            base = base.parent
        if not base.is_relative_to(self.folder):
            raise InputError(
                f"{file}, line {node.lineno}, imports from above the builder's folder",
                expected=f"relative imports of what is in {self.folder}", found="." * node.level + (node.module or ""),
                todo="put the builder's file above what it imports",
            )  # fmt: skip
        at = base.joinpath(*(node.module or "").split("."))
        for target in (at, *(at / alias.name for alias in node.names)):
            for one in reversed([target, *target.parents]):
                if one != self.folder and one.is_relative_to(self.folder):
                    self._take(one)

    def _take(self, module: Path) -> None:
        """Add the file of a module, given as a path without an ending, where there is one."""
        for file in (module / "__init__.py", module.with_name(f"{module.name}.py")):
            if file.is_file() and file.relative_to(self.folder).as_posix() not in self.files:
                self.add(file)

    def _absolute(self, file: Path, line: int, name: str) -> None:
        top = name.partition(".")[0]
        if top == "keras":
            self.keras_3.append(f"{file}:{line}")
        if top in sys.stdlib_module_names:
            return
        spec = PathFinder.find_spec(top)
        origin = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        beside = [
            one
            for one in (file.parent / f"{top}.py", file.parent / top / "__init__.py")
            if one.is_file() and one != origin
        ]
        if beside:
            raise InputError(
                f"{file}, line {line}, imports {top}, which is another {top} than the one beside it",
                expected="what lies beside the file, imported relatively", found=f"import of {name}",
                todo=f"from .{name} import ..., or from . import {top}",
            )  # fmt: skip
        if origin is not None and origin.suffix == ".py" and not _installed(origin):
            self.outside.add(top)


def _installed(file: Path) -> bool:
    """Return whether a file is Python's, of an installed package, or ours."""
    roots = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")]
    here = Path(__file__).resolve().parents[2]
    ours = [here / name for name in ("pipeline", "models", "serving")]
    return any(file.is_relative_to(root) for root in (*roots, *ours))


def _names(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names that a module's statements bind; "*" where an import binds what nobody can tell."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, (ast.If, ast.Try, ast.With, ast.For, ast.While)):
            yield from _names([one for one in ast.iter_child_nodes(node) if isinstance(one, ast.stmt)])
            for handler in getattr(node, "handlers", ()):
                yield from _names(handler.body)
        else:
            yield from (
                one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
            )
