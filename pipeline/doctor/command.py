"""The command `modelmill doctor`; what it foresees is in `forecast.py`. Imports nothing of weight."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.endings import told
from pipeline.errors import InputError, MissingError
from pipeline.options import Assignments, CustomCode, DataName, StoreFolder, Trust

if TYPE_CHECKING:
    from pipeline.recipe import Recipe
    from pipeline.report.forecast import Forecast, Problem

EXIT_CODES = (
    "Exit codes: 0 all that is asked for can work; 1 something cannot, and a run would be refused or lack a file; 2 "
    "the input is wrong."
)

HELP = (
    "Tell, before any training, what each layer will do in each stage and format, and why.\n\n"
    "Of a recipe: which layers shrink, prune, cluster and quantize work on, and why the others stay whole, dense or "
    "float; parameters, MACs and activation memory behind each stage; which files can be made and about how large "
    "they are; what will get smaller and no faster. All that cannot work is listed at once, such as a layer in "
    "prune.layers that is not there, a target of shrink out of reach, or a format that no converter takes the model "
    "to. What only the trained model can tell has a question mark: layers that sensitivity may leave out (exclude: "
    "auto), and channels that shrink chooses.\n\n"
    "Of a model file: the same for every stage, [bold]modelmill doctor model.keras[/]; with --data DATA it is also "
    "held to the data and brought in as a run would. --set changes the stages: --set prune.layers.conv_1=0.5, or "
    "--set shrink=null.\n\n"
    "The stages' own functions are asked, so that a run does the same. Nothing is trained or stored. A run asks this "
    "first by itself, and its report says so if something else came of it."
)  # fmt: skip

Target = Annotated[
    str | None,
    typer.Argument(
        metavar="[RECIPE|MODEL]",
        help="A YAML file or a built-in recipe, as `run` takes it; or a .keras or .h5 file, or a SavedModel folder.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="The whole forecast as JSON on stdout.")]
_FILES = (".keras", ".h5", ".hdf5")
# takes the place of data where none is named, and is never read
_NO_DATA = "digits"


def doctor(
    target: Target = None, data: DataName = None, custom_code: CustomCode = False, set_: Assignments = None,
    store: StoreFolder = Path("runs/.store"), trust: Trust = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    with told(as_json):
        path = Path(target) if target is not None and _is_model(Path(target)) else None
        if path is None and (data is not None or custom_code):
            raise InputError(
                "--data and --allow-custom-code are for a model file",
                expected="modelmill doctor model.keras --data DATA",
                found=f"the recipe {target}" if target else "no model file",
                todo="leave them out; a recipe says data and model.allow_custom_code itself",
            )  # fmt: skip
        alone = path is not None and data is None
        recipe = _of_file(path, data, set_ or (), custom_code) if path else _of_recipe(target, set_ or (), trust)
        foreseen = _foreseen(recipe, store, alone=alone)
    code = 1 if foreseen.problems or foreseen.refused() else 0
    if as_json:
        said = {"problems": [one.model_dump() for one in foreseen.problems], "refused": foreseen.refused()}
        typer.echo(json.dumps({"exit_code": code, **said, **foreseen.model_dump(mode="json")}, indent=2))
    else:
        from rich.console import Console

        from pipeline.doctor import table

        with suppress(SystemExit):  # `| head`
            table.show(foreseen, Console(highlight=False))
    raise typer.Exit(code)


def _is_model(path: Path) -> bool:
    """Return whether a name is that of a model; of one that cannot be examined too, for what to do about it."""
    if path.suffix in _FILES:
        return True
    from pipeline.formats.model_file import kind
    from pipeline.formats.plain import folder

    if path.is_dir():
        return folder.is_saved_model(path) or bool(kind.versions(path))
    return path.is_file() and kind.another(path)


def _of_recipe(source: str | None, assignments: Sequence[str], trusted: bool) -> Recipe:
    from pipeline import recipe as recipes

    return recipes.load(source, assignments, trusted=trusted)


def _of_file(path: Path, data: str | None, assignments: Sequence[str], custom_code: bool) -> Recipe:
    """Return the recipe that does everything with a model file."""
    from pipeline import recipe as recipes
    from pipeline.formats.plain import folder

    folder.identify(path)
    if path.is_dir() and data is None:
        raise InputError(
            f"{path} is a SavedModel, which does not say what it is for", expected="--data beside it",
            found="no data", todo="name the data: --data DATA; or give the .keras or .h5 file",
        )  # fmt: skip
    allowed = ["model.allow_custom_code=true"] if custom_code else []
    plain = path.is_dir() and folder.kind(path) == "plain"
    return recipes.for_step("export" if plain else "doctor", path, data or _NO_DATA, [*allowed, *assignments])


def _foreseen(recipe: Recipe, store: Path, *, alone: bool) -> Forecast:
    import tempfile

    from pipeline import foresight
    from pipeline.console import Streams
    from pipeline.formats.import_config import Config as ModelFile

    with tempfile.TemporaryDirectory(prefix="modelmill-") as private, Streams().chatter_to(Path(private) / "log.txt"):
        made: dict[str, Any] = {}
        if isinstance(recipe.model, ModelFile):
            made["import"] = _imported(recipe, recipe.model, Path(private), store, alone=alone)
        found = foresight.foresee(recipe, made, store)
    return found.model_copy(
        update={
            "lines": [line.model_copy(update={"problems": [*line.problems, *_missing(recipe)]}) for line in found.lines]
        }
    )


def _missing(recipe: Recipe) -> list[Problem]:
    """Return what the recipe asks for by name and this machine lacks, which a run would tell at once."""
    from pipeline.edge import needs
    from pipeline.report.forecast import Problem

    try:
        if recipe.edge is not None:
            needs.require(recipe.edge)
    except MissingError as error:
        return [Problem(stage="edge", message=str(error))]
    return []


def _imported(recipe: Recipe, model: Any, private: Path, store: Path, *, alone: bool) -> Path:
    """Bring a model file in as the stage import does, or without data as it is; return the folder that it is in."""
    from pipeline.formats.model_file import importing
    from pipeline.stage import Job
    from pipeline.stages import import_model

    folder, work = private / "import", private / "work"
    folder.mkdir()
    work.mkdir()
    if alone:
        importing.bring_in_alone(Path(model.path), folder, allow_custom_code=model.allow_custom_code)
        return folder
    found = import_model.surroundings(lambda _: None, model=model).found
    import_model.run(Job(folder, work, {}, lambda _: None, found, store=store), data=recipe.data, model=model)
    return folder
