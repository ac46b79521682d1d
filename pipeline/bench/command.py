"""The command `modelmill bench`. Imports nothing of weight."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.bench import settings as options
from pipeline.endings import told
from pipeline.errors import InputError, StoppedError
from pipeline.options import AsJson, Quiet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.bench.document import Bench
    from pipeline.bench.settings import Settings
    from pipeline.bench.targets import Target
    from pipeline.console import Mode

EXIT_CODES = (
    "Exit codes: 0 all targets were measured, INVALID blocks included; 2 the input is wrong; 3 the environment lacks "
    "something that was asked for; 4 a target failed; 130 interrupted. The others are measured and shown all the same. "
    "Nothing is judged here, so there is no 1."
)

HELP = (
    "Measure how fast models answer: files, served models and images, of any origin, side by side.\n\n"
    "A TARGET is [bold]FILE.tflite[/], [bold]FILE.onnx[/], the folder of a SavedModel, "
    "[bold]grpc://HOST:PORT\\[/MODEL\\[/versions/N|/labels/L]][/], [bold]http://HOST:PORT\\[/v1/models/MODEL...][/], "
    "[bold]docker:IMAGE\\[/v1/models/MODEL...][/] (an image with the model in it is started on loopback, asked over "
    "gRPC and REST, and removed), or [bold]RUN[/] or [bold]RUN:ARTIFACT[/] of modelmill. MODEL is 'model' unless you "
    "say else, or what the image names.\n\n"
    "The scenarios are MLPerf's, by MLPerf LoadGen: [bold]single-stream[/] (one query at a time, its latency), "
    "[bold]multi-stream[/] (the same with a batch), [bold]offline[/] (all samples at once, samples per second), "
    "[bold]server[/] (samples arrive at random, Poisson; the highest rate whose p99 stays within --bound, or one "
    "--rate). The targets take turns in blocks, so that what else the machine does hits all of them; figures have 95 % "
    "intervals, and ratios are to the first target. Blocks that are too short or too slow for their percentile are "
    "INVALID, with what would make them valid.\n\n"
    "Without --data the samples are random values of the shapes that the model itself names. All runs in a process of "
    "its own: a model that crashes its runtime or a server that hangs is that target's reason. The result is a table, "
    "[bold]OUT/bench.html[/], and [bold]OUT/bench.json[/] for scripts.\n\n"
    "[bold]modelmill bench model.tflite model.onnx saved_model/[/]\n\n"
    "[bold]modelmill bench grpc://localhost:8500/digits http://localhost:8501/v1/models/digits --scenario server "
    "--bound 10 --concurrency 1,16[/]"
)  # fmt: skip

Targets = Annotated[list[str], typer.Argument(metavar="TARGET...", help="What is measured, in the order of turns.")]
Scenarios = Annotated[
    str, typer.Option("--scenario", metavar="NAMES", help=f"Of {', '.join(options.SCENARIOS)}; commas between.")
]
DataName = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="DATA",
        help="Samples: digits or another bundled set, a folder of images, an .npz of a data set or with an array for "
        "each input. Default: random values.",
    ),
]  # fmt: skip
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape", metavar="NAME=SIZES",
        help="Whole shape of an input that leaves sizes open: --shape input=1,224,224,3. Repeatable.",
    ),
]  # fmt: skip
Batch = Annotated[
    int, typer.Option("--batch", min=2, max=65_536, help="Samples per query of multi-stream and offline.")
]
Concurrency = Annotated[
    str, typer.Option("--concurrency", metavar="N,...", help="Requests in flight in server and offline, 1 to 64.")
]
Threads = Annotated[int, typer.Option("--threads", min=1, max=256, help="Threads of a runtime in this process.")]
Blocks = Annotated[int, typer.Option("--blocks", min=5, max=1000, help="Blocks of each target in each scenario.")]
Duration = Annotated[
    float, typer.Option("--duration", metavar="SECONDS", min=0.01, max=3600, help="Least duration of a block.")
]
Bound = Annotated[
    float | None,
    typer.Option("--bound", metavar="MS", min=0.001, help="Server: search the highest rate with p99 within this."),
]
Rate = Annotated[
    float | None, typer.Option("--rate", metavar="R", min=0.001, help="Server: samples per second, no search.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of random values and of arrivals.")]
Against = Annotated[
    str | None, typer.Option("--against", metavar="TARGET", help="What ratios are to. Default: the first target.")
]
Metrics = Annotated[
    str | None,
    typer.Option(
        "--metrics", metavar="URL",
        help="Prometheus page of the server behind grpc:// and http:// targets, for its own time. Default: of http:// "
        "and docker: the usual path, of grpc:// none.",
    ),
]  # fmt: skip
OutFolder = Annotated[Path, typer.Option("--out", help="Where bench.html and bench.json go.")]


def bench(
    targets: Targets, scenario: Scenarios = options.DEFAULT, data: DataName = None, shape: Shapes = None,
    batch: Batch = 32, concurrency: Concurrency = "1", threads: Threads = 1, blocks: Blocks = 5,
    duration: Duration = 0.5, bound: Bound = None, rate: Rate = None, seed: Seed = 0, against: Against = None,
    metrics: Metrics = None, out: OutFolder = Path("runs/bench"), as_json: AsJson = False, quiet: Quiet = False,
) -> None:  # fmt: skip
    """Measure targets; see HELP."""
    if as_json and quiet:
        raise InputError("--json and --quiet exclude each other", todo="leave one of them out")
    with told(as_json):
        wanted = options.Settings(
            options.scenarios(scenario), batch, options.concurrency(concurrency), threads, blocks, duration, seed,
            bound, rate, data, options.shapes(shape or ()), metrics,
        )  # fmt: skip
        options.check(wanted)
        from pipeline.bench import targets as naming

        found = naming.find(targets)
        reference = _reference(against, found)
        mode: Mode = "json" if as_json else "quiet" if quiet else "auto"
        result, code = _measured(found, wanted, reference, out, mode)
    _say(result, code, out, mode)
    raise typer.Exit(code)


def _reference(against: str | None, targets: Sequence[Target]) -> Target:
    """Return the target that ratios are to."""
    if against is None:
        return targets[0]
    for one in targets:
        if against in (one.name, one.text):
            return one
    raise InputError(
        f"--against {against}: no such target", expected=f"one of {', '.join(one.name for one in targets)}",
        found=against, todo="name it as it is among the targets",
    )  # fmt: skip


def _measured(targets: Sequence[Target], wanted: Settings, against: Target, out: Path, mode: Mode) -> tuple[Bench, int]:
    from pipeline.bench import page, results, rounds, servers
    from pipeline.console import Reporter, Streams
    from pipeline.events import Note
    from pipeline.isolate import Child
    from pipeline.run_folder import RECIPE, RunFolder

    if (out / RECIPE).exists():
        raise InputError(
            f"{out} is a run's folder", expected="a new or empty folder, or that of an earlier bench",
            found="the folder of `modelmill run`", todo="choose another --out",
        )  # fmt: skip
    folder, streams = RunFolder(out), Streams()
    with folder.held():
        with streams.chatter_to(folder.log):
            reporter = Reporter(streams, mode)
            if page.there(out):
                reporter.emit(Note(rounds.STAGE, f"replaces the earlier result in {out}; another --out keeps it"))
            page.clear(out)
            child = Child(deadline_s=_deadline_s(wanted), memory_mb=None, threads=wanted.threads)
            with reporter.shown(), child, servers.running(targets, wanted, child, out, reporter.emit) as entries:
                try:
                    rounds.Rounds(child, entries, wanted, reporter.emit).run()
                except (KeyboardInterrupt, StoppedError):
                    raise _stopped(results.document(entries, wanted, against, stopped=True), out) from None
                found = results.document(entries, wanted, against)
        page.write(found, out)
    return found, rounds.exit_code(entries)


def _stopped(found: Bench, out: Path) -> StoppedError:
    """Write what there is of a bench that the user ended, and return the error that says so."""
    from pipeline.bench import page
    from pipeline.bench.document import JSON, PAGE

    if not any(target.results for target in found.targets):
        return StoppedError("stopped before there was a result", todo="run the same command again")
    page.write(found, out)
    return StoppedError(
        f"stopped: {out / PAGE} and {JSON} have what was measured by then",
        todo="run the same command again: it begins at the first block",
    )


def _deadline_s(wanted: Settings) -> float:
    """Return how long one call may take: a block, which a search makes again where it had too few queries."""
    longest_ms = max(wanted.longest_ms, 20 * (wanted.bound_ms or 0))
    return 120 + 4 * longest_ms / 1000


def _say(found: Bench, code: int, out: Path, mode: Mode) -> None:
    from pipeline.bench.document import JSON, PAGE

    if mode == "json":
        result = found.model_dump(mode="json", by_alias=True)
        finished = {"event": "finished", "exit_code": code, "report": str(out / JSON), "result": result}
        typer.echo(json.dumps(finished))
    elif mode == "auto":
        from rich.console import Console

        from pipeline.bench import table

        with suppress(SystemExit):  # `| head`
            console = Console(highlight=False)
            table.show(found, console)
            console.print(f"report: {out / PAGE}\n        {out / JSON}", soft_wrap=True)
        return  # the lines below the table say the rest
    if mode == "quiet":
        for target in found.targets:
            if target.error:
                typer.echo(f"error: {target.name}: {target.error}", err=True)
    for line in found.invalid():
        typer.echo(f"warning: {line}", err=True)
