"""The command `modelmill`: one verb per stage and a few more.

The only place that turns errors into exit codes. Imports no TensorFlow: `--help` and a wrong recipe answer at once.
"""

from __future__ import annotations

import gc as collector
import json
import os
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from pipeline import cv
from pipeline.compute import cluster
from pipeline.compute.cluster import WAIT_S
from pipeline.doctor import command as doctor
from pipeline.endings import about_a_file, told
from pipeline.errors import InputError, ModelmillError, StoppedError
from pipeline.options import (
    EXIT_CODES,
    AsJson,
    Assignments,
    CustomCode,
    DataName,
    First,
    ModelPath,
    Out,
    Profile,
    Quiet,
    RecipeName,
    StoreFolder,
    Trust,
    Until,
    Wait,
    WorkerAddresses,
    WorkerIndex,
)
from pipeline.recipes import DEFAULT
from pipeline.stages import NAMES
from pipeline.start import uncollected
from pipeline.tune import command as tune

if TYPE_CHECKING:
    from pipeline.recipe import Recipe
    from pipeline.report.document import Report
    from pipeline.run_folder import RunFolder

# each command imports what it needs: --help needs none of it

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]}, rich_markup_mode="rich",
    help="Takes a Keras model to production smaller and faster, with proof.\n\n"
    "[bold]modelmill run[/] trains the default recipe, exports SavedModel, TFLite and ONNX, measures every file in its "
    "real runtime and judges it against the recipe's limits.",
    epilog=EXIT_CODES,
)  # fmt: skip


def _make(
    wanted: Callable[[], Recipe], out: Path | None, store: Path, *, first: str | None = None,
    until: str | None = None, as_json: bool = False, quiet: bool = False, profile: bool = False,
    workers: str | None = None, worker: int | None = None, wait: float = WAIT_S,
) -> None:  # fmt: skip
    """Run a recipe, show the result and leave with the verdict's exit code."""
    if as_json and quiet:
        raise InputError("--json and --quiet exclude each other", todo="leave one of them out")
    with told(as_json):
        for option, name in (("--from", first), ("--until", until)):
            if name is not None and name not in NAMES:
                raise InputError(f"{option} {name}: no such stage", expected=f"one of {', '.join(NAMES)}", found=name)
        joined = cluster.find({"HOSTNAME": platform.node(), **os.environ}, workers, worker)
        with uncollected():
            recipe = wanted()

        from pipeline import run as runs
        from pipeline.artifact import Store
        from pipeline.console import Mode, Reporter, Streams
        from pipeline.run_folder import RunFolder
        from pipeline.together import Joint
        from pipeline.together import wanted as chosen

        mode: Mode = "json" if as_json else "quiet" if quiet else "auto"
        streams = Streams()
        joint = chosen(recipe, Joint(joined, wait) if joined else None)
        out = out or Path("runs") / recipe.name
        if joint is not None:
            out, store = joint.folder(out), joint.store(store)
        folder = RunFolder(out)
        with folder.held(), streams.chatter_to(folder.log):
            reporter = Reporter(streams, mode)
            with reporter.shown():
                report = runs.run(
                    recipe, folder, Store(store), reporter.emit, first=first, until=until, profile=profile, joint=joint
                )  # fmt: skip

    code = {"fail": 1, "error": 4}.get(report.verdict, 0)
    if as_json:
        finished = {"event": "finished", "verdict": report.verdict, "exit_code": code, "report": str(folder.report)}
        typer.echo(json.dumps(finished))
    elif not quiet:
        # `| head`: rich sends the rest nowhere and exits with 1, but the verdict is what it is
        with suppress(SystemExit):
            _show(report, folder)
    raise typer.Exit(code)


def _show(report: Report, folder: RunFolder) -> None:
    from rich.console import Console

    from pipeline.report import tables
    from pipeline.run_folder import PAGE

    console = Console(highlight=False)
    tables.show(report, console)
    if folder.artifacts.is_dir():
        console.print(f"files:  {folder.artifacts}/", soft_wrap=True)
    console.print(f"report: {folder.path / PAGE}\n        {folder.report}", soft_wrap=True)


@app.command(epilog=EXIT_CODES)
def run(
    recipe: RecipeName = None, set_: Assignments = None, out: Out = None, store: StoreFolder = Path("runs/.store"),
    first: First = None, until: Until = None, workers: WorkerAddresses = None, worker: WorkerIndex = None,
    wait: Wait = WAIT_S, profile: Profile = False, trust: Trust = False, as_json: AsJson = False, quiet: Quiet = False,
) -> None:  # fmt: skip
    """Run a whole recipe: train, distill, shrink, prune, cluster, quantize, export, measure, judge, report.

    What an earlier run has made under the same settings, data, code and versions is reused, and said so.
    """
    _make(
        _recipe(recipe, set_, trust), out, store, first=first, until=until, as_json=as_json, quiet=quiet,
        profile=profile, workers=workers, worker=worker, wait=wait,
    )  # fmt: skip


def _recipe(
    source: str | None, assignments: list[str] | None, trust: bool, until: str | None = None
) -> Callable[[], Recipe]:  # fmt: skip
    def load() -> Recipe:
        from pipeline import recipe as recipes

        found = recipes.load(source, assignments or (), trusted=trust)
        if until == "sensitivity" and found.sensitivity is None:
            from pipeline.single_step import EVERY_TECHNIQUE

            return recipes.load(source, [*(assignments or ()), EVERY_TECHNIQUE], trusted=trust)
        return found

    return load


def _step(
    verb: str, model: Path | None, data: str | None, assignments: list[str] | None, custom_code: bool
) -> Callable[[], Recipe]:
    def load() -> Recipe:
        from pipeline import recipe as recipes

        if model is None or data is None:
            raise InputError(
                "a single step on a file needs both the model and its data", expected="--model FILE --data DATA",
                found="--model alone" if model else "--data alone", todo="name the other; or name a recipe and neither",
            )  # fmt: skip
        from pipeline.formats.plain.folder import identify

        identify(model)  # before a folder is made for the run
        allowed = ["model.allow_custom_code=true"] if custom_code else []
        return recipes.for_step(verb, model, data, [*allowed, *(assignments or ())])

    return load


def _verb(name: str, until: str | None, text: str) -> None:
    def command(
        recipe: RecipeName = None, set_: Assignments = None, out: Out = None,
        store: StoreFolder = Path("runs/.store"), first: First = None, workers: WorkerAddresses = None,
        worker: WorkerIndex = None, wait: Wait = WAIT_S, profile: Profile = False, trust: Trust = False,
        as_json: AsJson = False, quiet: Quiet = False,
    ) -> None:  # fmt: skip
        _make(
            _recipe(recipe, set_, trust), out, store, first=first, until=until, as_json=as_json, quiet=quiet,
            profile=profile, workers=workers, worker=worker, wait=wait,
        )  # fmt: skip

    app.command(name, help=text, epilog=EXIT_CODES)(command)


def _verb_on_a_file(name: str, until: str, text: str) -> None:
    def command(
        recipe: RecipeName = None, model: ModelPath = None, data: DataName = None,
        custom_code: CustomCode = False, set_: Assignments = None, out: Out = None,
        store: StoreFolder = Path("runs/.store"), first: First = None, workers: WorkerAddresses = None,
        worker: WorkerIndex = None, wait: Wait = WAIT_S, profile: Profile = False, trust: Trust = False,
        as_json: AsJson = False, quiet: Quiet = False,
    ) -> None:  # fmt: skip
        if custom_code and model is None:
            raise InputError(
                "--allow-custom-code is for --model FILE", expected="--model FILE --data DATA --allow-custom-code",
                todo="in a recipe it is the key model.allow_custom_code",
            )  # fmt: skip
        if model is None and data is None:
            found, last = _recipe(recipe, set_, trust, until), until
        elif recipe is not None:
            raise InputError(
                f"{name} takes a recipe, or --model and --data", found=f"both, the recipe being {recipe}",
                todo="leave one of them out; a recipe names its model as model.path",
            )  # fmt: skip
        else:
            found, last = _step(name, model, data, set_, custom_code), None
        _make(
            found, out, store, first=first, until=last, as_json=as_json, quiet=quiet, profile=profile, workers=workers,
            worker=worker, wait=wait,
        )  # fmt: skip

    text += f"\n\nOn a model file, without a recipe: [bold]modelmill {name} --model FILE --data DATA --out DIR[/]"
    app.command(name, help=text, epilog=EXIT_CODES)(command)


_verb("train", "train", "Train the recipe's model; nothing else.")
_verb_on_a_file("distill", "distill", "Let a smaller student learn from the teacher; what it needs is reused or made.")
_verb_on_a_file(
    "sensitivity",
    "sensitivity",
    "Show what each layer loses by itself when it alone is shrunk, pruned, clustered or quantized.\n\n"
    "Nothing is trained for it. A table, the worst layer first; report.html has it as a heat map, and "
    "[bold]exclude: auto[/] in shrink, prune, cluster and quantize leaves the worst layers out by it. All four are "
    "tried where the recipe has no section sensitivity "
    "(--set 'sensitivity={techniques: \\[prune], prune: [0.6, 0.8]}').",
)
_verb_on_a_file(
    "shrink",
    "shrink",
    "Take whole channels out and let the rest learn on: an ordinary, smaller model; the same before it.\n\n"
    "What may stay is shrink.macs, shrink.parameters or shrink.latency (--set shrink.macs=null --set "
    "shrink.latency.share=0.6), a share between 0 and 1; on a model file macs is 0.5 unless you say else. "
    "shrink.importance is l2, l1, batch_norm, taylor or random; shrink.layers keeps some layers whole. With a model "
    "file the result is DIR/artifacts/shrink.keras.",
)
_verb_on_a_file("prune", "prune", "Set the smallest weights to zero while the rest learns on; the same before it.")
_verb_on_a_file(
    "cluster",
    "cluster",
    "Leave each kernel with a few distinct weights (k-means++), which learn on; zeros stay; the same before it.\n\n"
    "How many is cluster.clusters (16); cluster.per_channel gives each output channel its own, cluster.layers some "
    "layers another number or none. Files become smaller when they are compressed, and nothing becomes faster.",
)
_verb_on_a_file("quantize", "quantize", "Train for int8 (QAT), zeros and clusters kept; the same before it.")
_verb_on_a_file(
    "export", "export", "Export the models to SavedModel, TFLite and ONNX; what it needs is reused or made."
)
_verb_on_a_file(
    "validate", "measure", "Measure every exported artifact in its runtime and judge it against the recipe's limits."
)
_verb("report", None, "Write report.json and report.html; what they need is reused or made first.")


app.command("cv", help=cv.HELP, epilog=cv.EXIT_CODES)(cv.cv)
app.command("tune", help=tune.HELP, epilog=tune.EXIT_CODES)(tune.tune)
app.command("doctor", help=doctor.HELP, epilog=doctor.EXIT_CODES)(doctor.doctor)


@app.command()
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


@app.command("recipes")
def recipes_(as_json: AsJson = False) -> None:
    """List the built-in recipes and what each shows."""
    from pipeline import listings

    listings.show_recipes(as_json)


@app.command()
def architectures(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Explain the keys of this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the architectures a recipe can name, with input, output, parameters and MACs."""
    from pipeline import listings

    listings.show_architectures(name, as_json)


@app.command(epilog=EXIT_CODES)
def devices(
    recipe: RecipeName = None, set_: Assignments = None, trust: Trust = False, as_json: AsJson = False
) -> None:  # fmt: skip
    """List what there is to train on, and what a recipe would take of it, and why; nothing is trained.

    accelerator, strategy, devices and mixed_precision are the recipe's keys: --set accelerator=gpu asks whether a run
    on a GPU would start, and exits with 3 where none is.
    """
    from pipeline.compute import devices as seen
    from pipeline.compute import listing
    from pipeline.console import Streams

    with uncollected():
        wanted = _recipe(recipe, set_, trust)()
    with Streams().chatter_to(Path(os.devnull)):  # TensorFlow says in many lines that there is no GPU
        found = seen.look()
    listing.show(wanted.compute, found, wanted.name, as_json)


@app.command()
def schema() -> None:
    """Print the JSON schema of a recipe, for editors."""
    from pipeline.recipe import Recipe

    typer.echo(json.dumps(Recipe.model_json_schema(), indent=2))


@app.command()
def show(
    run: Annotated[Path, typer.Argument(help="The run's folder, or its name below runs/.")] = Path("runs") / DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Show a run's report again: stages, artifacts, gates and verdict."""
    from pydantic import ValidationError
    from rich.console import Console

    from pipeline.report import tables
    from pipeline.run_folder import REPORT
    from pipeline.stages import report

    candidates = [run, Path("runs") / run]
    path = next((folder / REPORT for folder in candidates if (folder / REPORT).is_file()), None)
    if path is None:
        raise InputError(
            f"{run} has no {REPORT}", expected="the folder of a run that has ended", found=_what(candidates),
            todo="`modelmill run` makes one",
        )  # fmt: skip
    try:
        shown = report.read(path.parent)
    except ValidationError as error:
        raise InputError(
            f"{path} is not a report of this version", found=f"{error.error_count()} problems",
            todo="`modelmill report` writes it again",
        ) from None  # fmt: skip
    if as_json:
        typer.echo(path.read_text(encoding="utf-8"))
    else:
        tables.show(shown, Console(highlight=False))


def _what(candidates: list[Path]) -> str:
    from pipeline.run_folder import LOG

    for path in candidates:
        if (path / LOG).is_file():
            return f"{path}, of a run that is going on or was killed: the command that started it goes on from there"
    path = candidates[0]
    return "a folder without one" if path.is_dir() else "a file" if path.exists() else "nothing there"


@app.command(
    add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    options_metavar="[FLAGS OF tensorflow_model_server]",
)  # fmt: skip
def serve(context: typer.Context) -> None:
    """Serve SavedModels with TensorFlow Serving's API; `modelmill serve --help` lists the flags."""
    from serving.server.__main__ import run

    run(context.args, "modelmill serve")


@app.command()
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


def _version(asked: bool) -> None:
    if asked:
        import importlib.metadata

        typer.echo(f"modelmill {importlib.metadata.version('modelmill')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command; every error of ours is one message on stderr and an exit code."""
    # the modules stay for good: collections that walk through them are a good part of the time that an answer takes
    collector.freeze()
    try:
        app()
    except ModelmillError as error:
        _leave(error)
    except OSError as error:
        _leave(about_a_file(error))


def _leave(error: ModelmillError) -> NoReturn:
    colour = typer.colors.RED if sys.stderr.isatty() else None
    # who stopped it knows that it is no error
    said = str(error) if isinstance(error, StoppedError) else f"error: {error}"
    typer.secho(said, fg=colour, err=True)
    raise SystemExit(error.exit_code)
