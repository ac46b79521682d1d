"""Arrays that a function of the user's own returns: `data.builder: path/to/file.py:function`.

It is called once for a content of its file (and of `data.path`), and what it returns is kept as arrays on the disk. It
returns a mapping:

    x, y               arrays in the layout of an .npz (`layout`): numbers or strings; also x_train, x_NAME and so on
    x_test, y_test     of a test split of its own, if it has one
    classes            names of the classes
    groups             integers, one a sample, those of x_test behind the others: which samples belong together
    columns            names of the columns of x [n, columns], which then have ranges of their own
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.sources import layout, place
from pipeline.errors import InputError
from pipeline.own_code.config import Builder

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data.config import DataConfig
    from pipeline.data.prepared import Prepare
    from pipeline.data.sources.source import Source

DECODES = True
_KEY = "data.builder"
_FACTS = ("classes", "groups", "columns")
_EXPECTED = "a mapping: {'x': ..., 'y': ...}, also x_test, y_test, classes, groups, columns"


def load(config: DataConfig, prepare: Prepare) -> Source:
    """Return what the function returns; see `layout.source`.

    Raises:
        InputError: the function raises, or returns no such mapping.
    """
    from pipeline.data.sources import stored

    return stored.read(prepare(lambda folder: stored.keep(folder, _called(config))))


def files(config: DataConfig) -> tuple[Path, ...]:
    """Return the function's file, those that it imports from beside it, and what `data.path` names.

    Raises:
        InputError: one is not there, or is no Python.
    """
    folder, names = _code(config)
    return *(folder / name for name in names), *_given(config)


def _places(config: DataConfig, files: tuple[Path, ...]) -> list[str]:
    """Return where files lie in the folder of the code, or in `data.path`: there a folder may be a label."""
    _, names = _code(config)
    given = files[len(names) :]
    below = (place.below(config, given) if given else None) or [""] * len(given)
    return [*(f"code/{name}" for name in names), *(f"data/{name}" for name in below)]


PLACES = _places


def input_shapes(config: DataConfig) -> dict[str, tuple[int, ...]] | None:
    """Return None: nothing is known before the function is called, but that there is one.

    Raises:
        InputError: there is none.
    """
    from pipeline.own_code import source as own_source

    own_source.look(_builder(config), _KEY)
    return None


def _code(config: DataConfig) -> tuple[Path, tuple[str, ...]]:
    """Return the folder of the function's file, and the files that it needs there."""
    from pipeline.own_code import source as own_source

    found = own_source.look(_builder(config), _KEY)
    return found.folder, tuple(found.files)


def _builder(config: DataConfig) -> Builder:
    return Builder(builder=str(config.builder), options=config.builder_options)


def _given(config: DataConfig) -> list[Path]:
    if config.path is None:
        return []
    path = Path(config.path)
    if not path.exists():
        raise InputError(
            f"there is no {path}", expected="what data.path names: a file or a folder for the function of data.builder",
            found="nothing there", todo="correct data.path",
        )  # fmt: skip
    return sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]


def _called(config: DataConfig) -> Source:
    import dataclasses

    from pipeline.own_code import package
    from pipeline.own_code import source as own_source

    builder = _builder(config)
    found = own_source.look(builder, _KEY)
    module = package.load(found)
    function, name = getattr(module, builder.function, None), builder.builder
    options = builder.options | ({} if config.path is None else {"path": config.path})
    with package.told(found, f"{name} fails"):
        made: Any = function(**options)  # type: ignore[misc]
    where = f"arrays of {name}"
    arrays, facts = _parts(made, name)
    classes = config.classes or facts.get("classes")
    named = config.model_copy(update={"classes": None if classes is None else tuple(map(str, classes))})
    kept = layout.headers(
        list(arrays), lambda one: (arrays[one].shape, arrays[one].dtype), named, where=where, todo=f"correct {name}"
    )
    source = layout.source({one: arrays[one] for one in kept}, named, where)
    notes = [
        f"{found.file} imports {', '.join(found.outside)} from elsewhere: a change of it is not noticed"
    ] * bool(found.outside)  # fmt: skip
    return dataclasses.replace(
        source, groups=_groups(facts.get("groups"), source, name), columns=_columns(facts.get("columns"), source, name),
        notes=tuple(notes),
    )  # fmt: skip


def _parts(made: Any, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays by their names in the layout, and the facts beside them."""
    import difflib
    import re

    import numpy as np

    if not isinstance(made, Mapping):
        raise _refused(name, "None: it lacks a return" if made is None else f"a {type(made).__name__}")
    arrays, facts = {}, {}
    for key, value in made.items():
        array = re.sub(r"^([xy])(?!_(train|test)(_|$))(_|$)", r"\1_train\4", str(key))
        if key in _FACTS:
            facts[str(key)] = value
        elif not layout.ARRAY.fullmatch(array):
            near = difflib.get_close_matches(str(key), ("x", "y", "x_test", "y_test", *_FACTS), n=1)
            raise _refused(name, f"the key {key!r}", f"did you mean {near[0]}?" if near else "")
        else:
            try:
                found = np.asanyarray(value)
            except ValueError as error:  # lists of different lengths
                raise _refused(name, f"{key}: {error}") from None
            texts = found.dtype == object and all(isinstance(one, str) for one in found.ravel())
            arrays[array] = found.astype(str) if texts else found
    return arrays, facts


def _refused(name: str, found: str, todo: str = "") -> InputError:
    return InputError(f"{name} returns no arrays", expected=_EXPECTED, found=found, todo=todo or f"correct {name}")


def _groups(groups: Any, source: Source, name: str) -> np.ndarray | None:
    import numpy as np

    if groups is None:
        return None
    found, samples = np.asarray(groups), len(next(iter(source.x.values())))
    if found.shape != (samples,) or found.dtype.kind not in "iu":
        raise _refused(name, f"groups: {found.dtype} {list(found.shape)}, for {samples} samples")
    return found


def _columns(columns: Any, source: Source, name: str) -> dict[str, tuple[str, ...]]:
    if columns is None:
        return {}
    names = tuple(map(str, columns))
    (end, x), *others = source.x.items()
    if others or x.ndim != 2 or len(names) != x.shape[1] or len(set(names)) < len(names):
        raise _refused(name, f"{len(names)} columns, {len(set(names))} different names, for x {list(x.shape)}")
    return {end: names}
