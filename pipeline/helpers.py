"""The commands beside the stages' verbs: what there is, what a run found, a server, and what may be removed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import InputError
from pipeline.options import EXIT_CODES, AsJson, Assignments, RecipeName, StoreFolder, Trust
from pipeline.recipes import DEFAULT
from pipeline.start import uncollected


def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("recipe.yaml"),
    recipe: Annotated[str, typer.Option("--recipe", help="The recipe to start from.")] = DEFAULT,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a commented recipe with every key, its default and its meaning."""
    from pipeline import recipe as recipes
    from pipeline.recipe_text import commented

    text = commented(recipes.load(recipe, [f"name={path.stem}"]), recipe)
    if path.exists() and not force:
        raise InputError(f"{path} is there already", todo="choose another name, or --force to overwrite it")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot write {path}", found=error.strerror or str(error), todo="choose another name"
        ) from None
    typer.echo(f"wrote {path}; edit it, then: modelmill run {path}")


def recipes(as_json: AsJson = False) -> None:
    """List the built-in recipes and what each shows."""
    from pipeline import listings

    listings.show_recipes(as_json)


def architectures(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Explain the keys of this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the architectures a recipe can name, with input, output, parameters and MACs."""
    from pipeline import listings

    listings.show_architectures(name, as_json)


def devices(
    recipe: RecipeName = None, set_: Assignments = None, trust: Trust = False, as_json: AsJson = False
) -> None:  # fmt: skip
    """List what there is to train on, and what a recipe would take of it, and why; nothing is trained.

    accelerator, strategy, devices and mixed_precision are the recipe's keys: --set accelerator=gpu asks whether a run
    on a GPU would start, and exits with 3 where none is.
    """
    from pipeline import recipe as recipes
    from pipeline.compute import devices as seen
    from pipeline.compute import listing
    from pipeline.console import Streams

    with uncollected():
        wanted = recipes.load(recipe, set_ or (), trusted=trust)
    with Streams().chatter_to(Path(os.devnull)):  # TensorFlow says in many lines that there is no GPU
        found = seen.look()
    listing.show(wanted.compute, found, wanted.name, as_json)


def schema() -> None:
    """Print the JSON schema of a recipe, for editors."""
    from pipeline.recipe import Recipe

    typer.echo(json.dumps(Recipe.model_json_schema(), indent=2))


def show(
    run: Annotated[Path, typer.Argument(help="The run's folder, or its name below runs/.")] = Path("runs") / DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Show a run's report again: stages, artifacts, gates and verdict."""
    from rich.console import Console

    from pipeline import finished
    from pipeline.report import tables
    from pipeline.run_folder import REPORT

    folder, shown = finished.read(run)
    if as_json:
        typer.echo((folder / REPORT).read_text(encoding="utf-8"))
    else:
        tables.show(shown, Console(highlight=False))


def serve(context: typer.Context) -> None:
    """Serve SavedModels with TensorFlow Serving's API; `modelmill serve --help` lists the flags."""
    from serving.server.__main__ import run

    run(context.args, "modelmill serve")


def gc(
    store: StoreFolder = Path("runs/.store"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove from the store what no existing run refers to."""
    from pipeline.artifact import Store
    from pipeline.garbage import collect
    from pipeline.report.words import kilobytes

    removed = collect(Store(store), dry_run=dry_run)
    total = sum(size for _, size in removed)
    if as_json:
        typer.echo(json.dumps({"removed": [name for name, _ in removed], "bytes": total, "dry_run": dry_run}))
        return
    for name, size in removed:
        typer.echo(f"{'would remove' if dry_run else 'removed'} {name} ({kilobytes(size)} kB)")
    typer.echo(f"{len(removed)} entries, {kilobytes(total)} kB")


def add_to(app: typer.Typer) -> None:
    """Add the commands, in the order in which --help lists them."""
    app.command()(init)
    app.command()(recipes)
    app.command()(architectures)
    app.command(epilog=EXIT_CODES)(devices)
    app.command()(schema)
    app.command()(show)
    # its flags are tensorflow_model_server's, --help among them
    app.command(
        add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        options_metavar="[FLAGS OF tensorflow_model_server]",
    )(serve)  # fmt: skip
    app.command()(gc)
