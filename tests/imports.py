"""The import graph of our packages, read from the source, imports inside functions included."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("pipeline", "models", "serving")


def modules() -> dict[str, Path]:
    """Return module name -> file of our packages."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str, *, at_import: bool = False, typing: bool = False) -> frozenset[str]:
    """Return the names that a module imports: ours and foreign, as `a.b.c`.

    Args:
        at_import: only what is imported when the module is.
        typing: also what is imported under TYPE_CHECKING.
    """
    known = modules()
    tree = ast.parse(known[module].read_text(encoding="utf-8"))
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test) and not typing:
                continue
            if at_import and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                for alias in child.names:
                    inner = f"{child.module}.{alias.name}"
                    found.add(inner if inner in known else child.module)
            visit(child)

    visit(tree)
    return frozenset(found)


def reached(module: str, *, at_import: bool = False, stop: frozenset[str] = frozenset()) -> set[str]:
    """Return our modules that a module imports, directly or through others, itself included.

    Args:
        stop: modules that are left out, with what only they import.
    """
    known = modules()
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name in seen or name in stop or name not in known:
            continue
        seen.add(name)
        todo.extend(imports(name, at_import=at_import))
        todo.append(name.rpartition(".")[0])  # importing a.b runs a/__init__.py
    return seen
