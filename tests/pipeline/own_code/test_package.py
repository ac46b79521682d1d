"""Code of the user's is imported under a name of its own, and from an artifact's copy of it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

import models
from pipeline.errors import InputError, RunError
from pipeline.own_code import package
from pipeline.own_code.source import look
from tests.pipeline.own_code.files import net


def test_modules_called_as_ours_do_not_meet_ours(tmp_path: Path) -> None:
    own = look(net(tmp_path, "from . import models, pipeline\ndef build(): ...", models="x = 1", pipeline="x = 2"))
    module = package.load(own)
    assert (module.models.x, module.pipeline.x) == (1, 2)
    assert sys.modules["models"] is models
    assert not list(tmp_path.rglob("__pycache__"))


def test_changed_file_is_another_module(tmp_path: Path) -> None:
    first = package.load(look(net(tmp_path, "x = 1\ndef build(): ...")))
    second = package.load(look(net(tmp_path, "x = 2\ndef build(): ...")))
    assert (first.x, second.x) == (1, 2)


def test_copy_is_imported_where_the_users_file_is_gone(tmp_path: Path) -> None:
    own = look(net(tmp_path / "own", "from .beside import x\ndef build(): ...", beside="x = 'kept'"))
    package.load(own)
    package.keep([own.module, "numpy"], tmp_path / "artifact")
    for name in [name for name in sys.modules if name.startswith(own.package)]:
        sys.modules.pop(name)
    (tmp_path / "own/net.py").unlink()
    package.take(tmp_path / "artifact")
    assert importlib.import_module(own.module).x == "kept"
    assert not list(tmp_path.rglob("__pycache__"))


def test_copy_that_was_changed_is_not_imported(tmp_path: Path) -> None:
    own = look(net(tmp_path / "own", "x = 'changed later'\ndef build(): ..."))
    package.load(own)
    package.keep([own.module], tmp_path / "artifact")
    for name in [name for name in sys.modules if name.startswith(own.package)]:
        sys.modules.pop(name)
    next((tmp_path / "artifact").rglob("net.py")).write_text("raise SystemExit\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"another content in net\.py"):
        package.take(tmp_path / "artifact")


def test_file_that_raises_is_told_with_its_line(tmp_path: Path) -> None:
    own = look(net(tmp_path, "def build(): ...\n\nraise SystemExit('enough')"))
    with pytest.raises(InputError, match=r"cannot be imported\n  found: SystemExit: enough \(.*net\.py, line 3\)"):
        package.load(own)


def test_import_that_no_statement_shows_is_refused(tmp_path: Path) -> None:
    text = "import importlib\nimportlib.import_module('.beside', __package__)\ndef build(): ..."
    own = look(net(tmp_path, text, beside="hidden = True"))
    with pytest.raises(InputError, match=r"cannot be followed(.|\n)*beside\.py"):
        package.load(own)
