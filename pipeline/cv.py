"""The command `modelmill cv`; what it does is in `cross_validation.py`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.endings import told
from pipeline.errors import InputError, ModelmillError
from pipeline.options import AsJson, Assignments, Quiet, RecipeName, StoreFolder, Trust

if TYPE_CHECKING:
    from pipeline.artifact import Store
    from pipeline.console import Mode, Streams
    from pipeline.recipe import Recipe
    from pipeline.report.document import Report
    from pipeline.report.folds import Folds
    from pipeline.run_folder import RunFolder

EXIT_CODES = (
    "Exit codes: 0 all folds were made; 2 the input is wrong; 3 the environment lacks something that was asked for; "
    "4 a fold failed; 130 interrupted. The next call goes on from there. Nothing is judged here, so there is no 1."
)

HELP = (
    "Cross-validate a recipe: train and compress it once for each of K folds, tested on the fold that was left out.\n\n"
    "One split may be lucky. K folds show how much a figure depends on which samples were trained on: every sample is "
    "tested on once, and each time the other folds are divided into train, validation and calibration in the recipe's "
    "proportions. Shown are the mean, the standard deviation and each fold's value of every metric, for the Keras "
    "model of each stage, and its difference to the first stage's on the same samples. Nothing is exported, served or "
    "timed, and a stage that loses more than its bound goes on with a warning.\n\n"
    "A test split that the data itself has is in no fold: it stays untouched for the final model.\n\n"
    "Every fold is a run of its own, [bold]OUT/fold-1[/] and so on, through the same store: what is there is reused, "
    "and after Ctrl-C or a failure the same command goes on. The result is [bold]OUT/cv.html[/], and "
    "[bold]OUT/cv.json[/] for scripts.\n\n"
    "[bold]modelmill cv digits --folds 10[/]\n\n"
    "[bold]modelmill cv my.yaml --by group --set train.epochs=5[/]"
)

FoldCount = Annotated[int, typer.Option("--folds", metavar="K", help="How many folds: each is the test split once.")]
Division = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="HOW",
        help="What the folds keep: stratified, random, group or content. Default: the recipe's data.split.by.",
    ),
]
OutFolder = Annotated[
    Path | None, typer.Option("--out", help="Where the result and the folds' runs go. Default: runs/RECIPE-cv.")
]


def cv(
    recipe: RecipeName = None, folds: FoldCount = 5, by: Division = None, set_: Assignments = None,
    out: OutFolder = None, store: StoreFolder = Path("runs/.store"), trust: Trust = False, as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Cross-validate a recipe; see HELP."""
    if as_json and quiet:
        raise InputError("--json and --quiet exclude each other", todo="leave one of them out")
    with told(as_json):
        from pipeline import cross_validation
        from pipeline import recipe as recipes
        from pipeline.artifact import Store
        from pipeline.run_folder import RunFolder

        whole = recipes.load(recipe, set_ or (), trusted=trust)
        divided = cross_validation.fold_recipes(whole, folds, by)
        target = out or Path("runs") / f"{whole.name}-cv"
        _require_no_run(target)
        mode: Mode = "json" if as_json else "quiet" if quiet else "auto"
        with RunFolder(target).held():
            found = _made(whole, divided, target, Store(store), mode)
    page, plain = _results(target)
    if as_json:
        typer.echo(json.dumps({"event": "finished", "exit_code": 0, "report": str(plain)}))
    elif not quiet:
        with suppress(SystemExit):  # `| head`, as in `run`
            _show(found, page, plain)


def _results(target: Path) -> tuple[Path, Path]:
    from pipeline.report.folds import JSON, PAGE

    return target / PAGE, target / JSON


def _require_no_run(target: Path) -> None:
    from pipeline.run_folder import RECIPE

    if (target / RECIPE).exists():
        raise InputError(
            f"{target} is a run's folder", expected="a new or empty folder, or that of an earlier cross-validation",
            found="the folder of `modelmill run`", todo="choose another --out",
        )  # fmt: skip


def _made(whole: Recipe, divided: Sequence[Recipe], target: Path, store: Store, mode: Mode) -> Folds:
    """Make the folds one after another, and write what they say together."""
    from pipeline import cross_validation, data
    from pipeline.console import Streams
    from pipeline.report import folds as document
    from pipeline.run_folder import RunFolder

    for path in _results(target):
        path.unlink(missing_ok=True)
    count, streams = len(divided), Streams()
    apart = data.own_test(whole.data, store.root)
    folders = [target / f"fold-{place}" for place in range(1, count + 1)]
    reports = []
    for place, (one, folder) in enumerate(zip(divided, folders, strict=True), 1):
        _announce(place, count, folder, mode)
        try:
            reports.append(_run(one, RunFolder(folder), store, streams, mode))
        except ModelmillError as error:
            error.what = f"fold {place} of {count}: {error.what}"
            raise
    found = cross_validation.together(whole, divided, reports, folders, apart)
    document.write(found, target)
    return found


def _run(recipe: Recipe, folder: RunFolder, store: Store, streams: Streams, mode: Mode) -> Report:
    from pipeline import run as runs
    from pipeline.console import Reporter

    with folder.held(), streams.chatter_to(folder.log):
        reporter = Reporter(streams, mode)
        with reporter.shown():
            return runs.run(recipe, folder, store, reporter.emit)


def _announce(place: int, count: int, folder: Path, mode: Mode) -> None:
    if mode == "json":
        typer.echo(json.dumps({"event": "fold", "fold": place, "of": count, "folder": str(folder)}))
    elif mode == "auto":
        typer.secho(f"fold {place} of {count}: {folder}", bold=True, err=True)


def _show(found: Folds, page: Path, plain: Path) -> None:
    from rich.console import Console

    from pipeline.report import folds_table

    console = Console(highlight=False)
    folds_table.show(found, console)
    console.print(f"report: {page}\n        {plain}", soft_wrap=True)
