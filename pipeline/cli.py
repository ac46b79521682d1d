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

from pipeline import cv, helpers
from pipeline.batching import command as batching
from pipeline.bench import command as bench
from pipeline.bundle import command as bundle
from pipeline.compute import cluster
from pipeline.compute.cluster import WAIT_S
from pipeline.doctor import command as doctor
from pipeline.endings import about_a_file, told
from pipeline.errors import InputError, ModelmillError, StoppedError
from pipeline.image import command as image
from pipeline.matrix import command as matrix
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
from pipeline.push import command as push
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
    until: str | Callable[[Recipe], str] | None = None, as_json: bool = False, quiet: bool = False,
    profile: bool = False, workers: str | None = None, worker: int | None = None, wait: float = WAIT_S,
) -> None:  # fmt: skip
    """Run a recipe, show the result and leave with the verdict's exit code; `until` may look at the recipe first."""
    if as_json and quiet:
        raise InputError("--json and --quiet exclude each other", todo="leave one of them out")
    with told(as_json):
        for option, name in (("--from", first), ("--until", until)):
            if isinstance(name, str) and name not in NAMES:
                raise InputError(f"{option} {name}: no such stage", expected=f"one of {', '.join(NAMES)}", found=name)
        joined = cluster.find({"HOSTNAME": platform.node(), **os.environ}, workers, worker)
        with uncollected():
            recipe = wanted()
        last = until(recipe) if callable(until) else until

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
                    recipe, folder, Store(store), reporter.emit, first=first, until=last, profile=profile, joint=joint
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
    """Run a whole recipe: train, distill, shrink, prune, cluster, quantize, export, measure, edge, judge,
    report.

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


def _verb_on_a_file(name: str, until: str | Callable[[Recipe], str], text: str) -> None:
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
            found = _recipe(recipe, set_, trust, until if isinstance(until, str) else None)
            last: str | Callable[[Recipe], str] | None = until
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


def _judged(recipe: Recipe) -> str:
    """Return the last stage that limits are for: a small device has some of its own."""
    return "edge" if recipe.edge else "measure"


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
    "validate",
    _judged,
    "Measure every exported artifact in its runtime, and what the device of a section edge asks of its file, and judge "
    "all of it against the recipe's limits.",
)
_verb(
    "edge",
    "edge",
    "Try the .tflite that is for a small device: in TensorFlow Lite Micro, for its NPU, and timed on a real one.\n\n"
    "The device is edge.profile (cortex-m55-ethos-u55-128, esp32-s3, android-arm64, raspberry-pi-4, custom): "
    "[bold]modelmill edge digits --set edge.profile=esp32-s3[/]. Its flash, RAM and time are limits, which "
    "edge.flash_kb, edge.arena_kb and edge.time_ms change. edge.command times the file on a device of yours: "
    "--set 'edge.command=\\[./time-on-phone.sh, \"{model}\"]'.",
)
_verb("report", None, "Write report.json and report.html; what they need is reused or made first.")


app.command("cv", help=cv.HELP, epilog=cv.EXIT_CODES)(cv.cv)
app.command("matrix", help=matrix.HELP, epilog=matrix.EXIT_CODES)(matrix.matrix)
app.command("tune", help=tune.HELP, epilog=tune.EXIT_CODES)(tune.tune)
app.command("bench", help=bench.HELP, epilog=bench.EXIT_CODES)(bench.bench)
app.command("batching", help=batching.HELP, epilog=batching.EXIT_CODES)(batching.batching)
app.command("doctor", help=doctor.HELP, epilog=doctor.EXIT_CODES)(doctor.doctor)
app.command("image", help=image.HELP, epilog=image.EXIT_CODES)(image.image)
app.command("bundle", help=bundle.HELP, epilog=bundle.EXIT_CODES)(bundle.bundle)
app.command("push", help=push.HELP, epilog=push.EXIT_CODES)(push.push)


helpers.add_to(app)


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
