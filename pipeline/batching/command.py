"""The command `modelmill batching`; the search is in `search.py`. Imports nothing of weight."""

from __future__ import annotations

import json
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.endings import told
from pipeline.errors import InputError, ModelmillError
from pipeline.options import AsJson, Assignments, Quiet, Trust

if TYPE_CHECKING:
    from pipeline.batching.document import Search
    from pipeline.batching.subject import Subject
    from pipeline.console import Mode
    from pipeline.events import Emit

EXIT_CODES = (
    "Exit codes: 0 the file is written; 1 it is not, for no parameters meet the bound, or batching buys nothing; 2 the "
    "input is wrong; 3 the environment lacks something that was asked for; 4 a server failed; 130 interrupted."
)

HELP = (
    "Search for the batching parameters that serve a model best, and write them for the server.\n\n"
    "TensorFlow Serving can run requests that arrive together as one batch (--enable_batching). What that buys depends "
    "on what the model's batches cost, on the cores, on the load and on how late an answer may be, so it is measured: "
    "a server of its own for each candidate, requests that arrive as a Poisson process (the Server scenario of MLPerf "
    "LoadGen), in alternating short blocks. Candidates are the size of a batch, how long it waits for more requests, "
    "how many run at once, and padding to few sizes; as many batches may queue as would still be in time, and what is "
    "beyond is shed. The better half goes on (successive halving); no batching runs to the end.\n\n"
    "The best has the highest rate under the bound: a p99 of at most --bound, where requests that are shed count as "
    "late. With --rate it also has to meet the bound at that rate. No file is written where none does, or where the "
    "95 % interval of what batching buys over no batching is not above 1.\n\n"
    "[bold]modelmill batching runs/digits --rate 400 --bound 20[/]\n\n"
    "[bold]modelmill batching path/to/saved_model --bound 50 --set serving.target=docker[/]\n\n"
    "[bold]modelmill image RUN --batching batching_parameters.txt[/] ships it. What was measured is beside the file, "
    "as .json."
)

Subject_ = Annotated[
    str,
    typer.Argument(
        metavar="MODEL|RUN[:ARTIFACT]",
        help="A SavedModel folder, which is sent random values; or a finished run, whose last float SavedModel (or "
        "ARTIFACT) is sent its test split.",
    ),
]
Bound = Annotated[float, typer.Option("--bound", metavar="MS", min=0.1, help="The p99 must be at most this.")]
Rate = Annotated[
    float | None,
    typer.Option("--rate", metavar="R", min=0.1, help="Requests per second to be met. Default: as many as possible."),
]
Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write; FILE with .json is beside it.")]
Force = Annotated[bool, typer.Option("--force", help="Take the place of files that are there.")]
Over = Annotated[Literal["grpc", "rest"], typer.Option("--protocol", help="What the requests come over.")]
Most = Annotated[int, typer.Option("--candidates", min=1, max=36, help="Candidates at most, beside no batching.")]
Block = Annotated[float, typer.Option("--block", metavar="SECONDS", min=0.2, help="How long a block of load is.")]
Pairs = Annotated[int, typer.Option("--pairs", min=2, help="Pairs of searches that the interval is from.")]


def batching(
    model: Subject_, bound: Bound, rate: Rate = None, out: Out = Path("batching_parameters.txt"), force: Force = False,
    protocol: Over = "grpc", candidates: Most = 8, block: Block = 2.0, pairs: Pairs = 5, set_: Assignments = None,
    trust: Trust = False, as_json: AsJson = False, quiet: Quiet = False,
) -> None:  # fmt: skip
    """Search for batching parameters; see HELP."""
    if as_json and quiet:
        raise InputError("--json and --quiet exclude each other", todo="leave one of them out")
    mode: Mode = "json" if as_json else "quiet" if quiet else "auto"
    with told(as_json):
        from pipeline.batching.subject import find

        beside = out.with_suffix(".json")
        _require_room(out, beside, force=force)
        subject = find(model, set_ or (), trusted=trust)
        log = out.with_suffix(".log")
        found = _searched(subject, bound, rate, protocol, candidates, block, pairs, log, mode)
        _written(found, out, beside)
    code = 0 if found.verdict == "found" else 1
    if as_json:
        finished = {"event": "finished", "verdict": found.verdict, "exit_code": code, "report": str(beside)}
        typer.echo(json.dumps(finished | {"file": str(out) if code == 0 else None}))
    elif not quiet:
        with suppress(SystemExit):  # `| head`, as in `run`
            _show(found, out, beside)
    raise typer.Exit(code)


def _require_room(out: Path, beside: Path, *, force: bool) -> None:
    if out == beside:
        raise InputError(f"--out {out} is what the measurements are written to", todo="name a file without .json")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {out.parent}", todo="make it, or choose another --out")
    there = [str(path) for path in (out, beside) if path.exists()]
    if there and not force:
        raise InputError(f"{' and '.join(there)} is there already", todo="choose another --out, or --force")


def _searched(
    subject: Subject, bound: float, rate: float | None, protocol: Literal["grpc", "rest"], most: int, block: float,
    pairs: int, kept: Path, mode: Mode,
) -> Search:  # fmt: skip
    """Return what was found.

    Args:
        kept: where the log goes of a search that fails: it has the servers' last words.
    """
    import shutil
    import tempfile

    from pipeline.batching.trials import searched
    from pipeline.console import Reporter, Streams

    with ExitStack() as held:
        work = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="modelmill-batching-")))
        streams, log = Streams(), work / "log.txt"
        held.enter_context(streams.chatter_to(log))
        reporter = Reporter(streams, mode)
        held.enter_context(reporter.shown())
        emit: Emit = reporter.emit
        try:
            return searched(subject, bound, rate, protocol, most, block, pairs, work, emit)
        except ModelmillError as error:
            shutil.copyfile(log, kept)
            error.todo = f"{error.todo}; the log is {kept}".removeprefix("; ")
            raise


def _written(found: Search, out: Path, beside: Path) -> None:
    from pipeline.batching import parameters_file
    from pipeline.files import write_json

    # nothing of an earlier search stays that this one does not confirm
    out.unlink(missing_ok=True)
    write_json(beside, found.model_dump(mode="json", by_alias=True))
    if found.verdict == "found":
        parameters_file.write(found, out)


def _show(found: Search, out: Path, beside: Path) -> None:
    from rich.console import Console

    from pipeline.batching import table

    console = Console(highlight=False)
    table.show(found, console)
    if found.verdict == "found":
        console.print(f"wrote: {out}\n       {beside}", soft_wrap=True)
    else:
        console.print(f"{out} is not written; what was measured: {beside}", soft_wrap=True)
