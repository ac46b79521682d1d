"""The command `modelmill matrix`; what its rows are is in `rows.py`. Imports nothing of weight."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.endings import told
from pipeline.errors import BusyError, DiskError, InputError, RunError
from pipeline.options import AsJson, Assignments, Quiet, StoreFolder, Trust

if TYPE_CHECKING:
    from pipeline.artifact import Store
    from pipeline.console import Mode, Streams
    from pipeline.matrix.cells import Made
    from pipeline.matrix.rows import Row
    from pipeline.recipe import Recipe
    from pipeline.report.matrix import Matrix

RECIPE = "matrix"

EXIT_CODES = (
    "Exit codes: 0 the matrix is there, and doctor had said before what cannot be made; 1 it is there, and something "
    "came otherwise than doctor had said; 2 the input is wrong; 3 the environment lacks something that was asked for; "
    "4 it could not be made, or files failed of the moment (a time-out, a killed process): the same command tries "
    "again; 130 interrupted. The next call goes on from there. A file that cannot be made ends nothing: its reason "
    "stands in its cell."
)

HELP = (
    "Make every architecture in every format and precision, run each file, and say of the others why not.\n\n"
    "Each architecture is trained briefly in a small size, pruned, quantized (QAT) and exported; then every file "
    "answers the whole test split in its runtime: TensorFlow, LiteRT, ONNX Runtime. A cell of the matrix has the "
    "accuracy (or what else the data are judged by), what of it was lost, the agreement with the Keras model and the "
    "size, or the reason why there is no such file. int8 files are there twice: trained for, and quantized after "
    "training. Converters and runtimes run in processes of their own, so that one that dies costs its cell. What "
    "doctor says of each file before the row is run stands beside what happened.\n\n"
    "Which recurrent or attention layers work as int8, int4 or 16x8, and what that costs, is told by the row; whether "
    "it is so for your model, by [bold]modelmill doctor[/] on it.\n\n"
    "The built-in recipe [bold]matrix[/] takes scikit-learn's digits: as images, row by row as sequences, and as texts "
    "of a word for each half row. Of a recipe of your own its data are taken, and its sections train, prune, quantize, "
    "export and measure; of export.mixed, which names layers, each row has its own. Architectures that its data do not "
    "fit say so. One to start from: [bold]modelmill init my.yaml --recipe matrix[/].\n\n"
    "Every row is a run of its own, [bold]OUT/ROW[/], with its report; what is there is reused, and after Ctrl-C or a "
    "failure the same command goes on. The result is [bold]OUT/matrix.html[/], [bold]matrix.md[/], and "
    "[bold]matrix.json[/] for scripts. All rows take half an hour to an hour on two cores.\n\n"
    "[bold]modelmill matrix --architecture rnn[/]\n\n"
    "[bold]modelmill matrix --architecture cnn --architecture resnet --set train.epochs=40 --out runs/longer[/]"
)

RecipeName = Annotated[
    str | None, typer.Argument(metavar="[RECIPE]", help="What each run is made of, but for its model. Default: matrix.")
]
Names = Annotated[
    list[str] | None,
    typer.Option(
        "--architecture", metavar="NAME",
        help="Only this architecture, or this row of the matrix (rnn_gru). Repeatable. Default: all.",
    ),
]  # fmt: skip
STORE = Path("runs/.store")
OutFolder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Where the matrix and the rows' runs go. Default: runs/RECIPE, with --architecture runs/RECIPE-NAME.",
    ),
]  # fmt: skip


def matrix(
    recipe: RecipeName = None, architecture: Names = None, set_: Assignments = None, out: OutFolder = None,
    store: StoreFolder = STORE, trust: Trust = False, as_json: AsJson = False, quiet: Quiet = False,
) -> None:  # fmt: skip
    """Make the matrix; see HELP."""
    if as_json and quiet:
        raise InputError("--json and --quiet exclude each other", todo="leave one of them out")
    with told(as_json):
        from pipeline import recipe as recipes
        from pipeline.artifact import Store
        from pipeline.matrix import rows
        from pipeline.run_folder import RunFolder

        whole = recipes.load(recipe or RECIPE, set_ or (), trusted=trust)
        rows.require_exported(whole)
        wanted = rows.chosen(architecture or ())
        target = out or Path("runs") / "-".join([whole.name, *(architecture or ())])
        _require_no_run(target)
        mode: Mode = "json" if as_json else "quiet" if quiet else "auto"
        with RunFolder(target).held():
            command = _command(recipe, architecture, set_, out, store, trust=trust)
            found = _made(whole, wanted, target, Store(store), mode, command)
    code = 4 if found.passing() else 1 if found.unforeseen() else 0
    page, plain = _results(target)
    if as_json:
        typer.echo(json.dumps({"event": "finished", "exit_code": code, "report": str(plain)}))
    elif not quiet:
        with suppress(SystemExit):  # `| head`, as in `run`
            _show(found, page, plain)
    raise typer.Exit(code)


def _command(
    recipe: str | None, architecture: Sequence[str] | None, assignments: Sequence[str] | None, out: Path | None,
    store: Path, *, trust: bool,
) -> str:  # fmt: skip
    """Return the command that makes the same again."""
    words = ["modelmill", "matrix", *([recipe] if recipe else [])]
    for option, values in (("--architecture", architecture), ("--set", assignments)):
        for value in values or ():
            words += [option, value]
    words += ["--out", str(out)] if out else []
    words += ["--store", str(store)] if store != STORE else []
    words += ["--trust"] if trust else []
    return shlex.join(words)


def _results(target: Path) -> tuple[Path, Path]:
    from pipeline.report.matrix import JSON, PAGE

    return target / PAGE, target / JSON


def _require_no_run(target: Path) -> None:
    from pipeline.run_folder import RECIPE as OF_A_RUN

    if (target / OF_A_RUN).exists():
        raise InputError(
            f"{target} is a run's folder", expected="a new or empty folder, or that of an earlier matrix",
            found="the folder of `modelmill run`", todo="choose another --out",
        )  # fmt: skip


def _made(
    whole: Recipe, wanted: Sequence[Row], target: Path, store: Store, mode: Mode, command: str
) -> Matrix:  # fmt: skip
    """Make the rows one after another, and write what they say together."""
    from pipeline.console import Streams
    from pipeline.matrix import cells, rows, texts
    from pipeline.report import matrix as document
    from pipeline.run import STAGES

    for name in (document.PAGE, document.MARKDOWN, document.JSON):
        (target / name).unlink(missing_ok=True)
    texts.write(target / rows.TEXTS)
    planned = [(row, rows.planned(whole, row, target)) for row in wanted]
    refused = [one for _, one in planned if isinstance(one, InputError)]
    if len(refused) == len(planned):
        raise refused[0]
    streams, made = Streams(), []
    for place, (row, recipe) in enumerate(planned, 1):
        if isinstance(recipe, InputError):
            made.append(cells.Made(row, error=recipe))
            continue
        _announce(row.name, place, len(planned), target, mode)
        made.append(_run(row, recipe, target, store, streams, mode))
    libraries = list(dict.fromkeys(library for stage in STAGES for library in stage.LIBRARIES))
    found = cells.together(whole, command, made, libraries)
    document.write(found, target)
    return found


def _run(row: Row, recipe: Recipe, target: Path, store: Store, streams: Streams, mode: Mode) -> Made:
    """Make a run; an error that is the model's own is its result, and any other ends the command."""
    from pipeline import foresight
    from pipeline import run as runs
    from pipeline.console import Reporter
    from pipeline.matrix.cells import Made
    from pipeline.run_folder import RunFolder

    folder = RunFolder(target / row.name)
    with folder.held(), streams.chatter_to(folder.log):
        reporter = Reporter(streams, mode)
        with reporter.shown():
            try:
                # a run asks by itself, but only what it will make: in one that reuses all nothing is foreseen
                forecast = foresight.foresee(recipe, {}, store.root)
                report = runs.run(recipe, folder, store, reporter.emit)
                odd = foresight.differences(forecast, report.models, report.artifacts)
                return Made(row, recipe, report=report.model_copy(update={"forecast": forecast, "unforeseen": odd}))
            except (InputError, RunError) as error:
                if error.transient or isinstance(error, (BusyError, DiskError)):
                    raise
                return Made(row, recipe, error=error)


def _announce(name: str, place: int, count: int, target: Path, mode: Mode) -> None:
    if mode == "json":
        typer.echo(json.dumps({"event": "row", "row": name, "place": place, "of": count, "folder": str(target / name)}))
    elif mode == "auto":
        typer.secho(f"model {place} of {count}: {target / name}", bold=True, err=True)


def _show(found: Matrix, page: Path, plain: Path) -> None:
    from rich.console import Console

    from pipeline.report import matrix_table

    console = Console(highlight=False)
    matrix_table.show(found, console)
    if count := found.passing():
        console.print(f"{count} failed of the moment: the same command tries again", style="yellow")
    console.print(f"report: {page}\n        {plain}", soft_wrap=True)
