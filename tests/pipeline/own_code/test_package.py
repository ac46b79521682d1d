"""Code of the user's is imported under a name of its own, and from an artifact's copy of it."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path

import pytest

import models
from pipeline.errors import InputError, RunError
from pipeline.own_code import objective, package
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


def test_file_that_is_written_to_after_it_was_loaded_is_kept_as_it_ran(tmp_path: Path) -> None:
    text = "def build():\n    from .beside import x\n    return x"
    own = look(net(tmp_path / "own", text, beside="x = 'first'"))
    module = package.load(own)
    net(tmp_path / "own", "def build():\n    return 'edited'", beside="x = 'second, and longer'")
    assert module.build() == "first"  # though imported only now
    assert inspect.getsource(module.build).rstrip() == text
    package.keep([own.module], tmp_path / "artifact")
    copied = tmp_path / "artifact" / package.COPIES / own.package
    assert (copied / "net.py").read_text("utf-8") == text
    assert (copied / "beside.py").read_text("utf-8") == "x = 'first'"
    for name in [name for name in sys.modules if name.startswith(own.package)]:
        sys.modules.pop(name)
    package.take(tmp_path / "artifact")
    assert importlib.import_module(own.module).build() == "first"


def test_loss_of_a_file_that_is_written_to_after_the_model_was_built_is_refused(tmp_path: Path) -> None:
    config = net(tmp_path, "def build(): ...\ndef own(labels, logits): ...").model_copy(update={"loss": "own"})
    package.load(look(config))
    assert objective.of(config) == objective.Objective(look(config).module, "own", ())
    net(tmp_path, "def build(): ...\ndef own(labels, logits): return 1")
    with pytest.raises(RunError, match=r"changed while the run was going on(.|\n)*when the model was built"):
        objective.of(config)


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


def test_import_that_no_statement_shows_is_refused_when_a_function_makes_it(tmp_path: Path) -> None:
    text = "import importlib\ndef build():\n    importlib.import_module('.beside', __package__)"
    module = package.load(look(net(tmp_path, text, beside="hidden = True")))
    with pytest.raises(InputError, match=r"cannot be followed(.|\n)*beside\.py"):
        module.build()
