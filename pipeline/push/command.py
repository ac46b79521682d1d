"""The command `modelmill push`."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from pipeline.endings import told
from pipeline.options import Quiet

_DEADLINE_S = 120.0  # to read a .tflite and a few requests; TensorFlow's import is most of it

EXIT_CODES = (
    "Exit codes: 0 it is there; 1 nothing was pushed, for it is not known to be good there; 2 the input is wrong, or "
    "the run's files are damaged; 3 the package that speaks s3:// or gs:// is not installed; 4 it cannot be written "
    "there; 130 interrupted, and nothing is there."
)

HELP = (
    "Put a run's model where a server finds it: as the next version below its base path.\n\n"
    "[bold]modelmill push digits --to /models/digits[/]\n\n"
    "[bold]modelmill push runs/digits --to s3://bucket/models/digits[/]\n\n"
    "What goes there is the SavedModel that the run's report names as the one to serve, with its warm-up requests, or "
    "the one behind a colon, or --artifact. The number is the greatest below DIR and one more, 1 where there is none. "
    "It is written beside under a name that servers pass over, and renamed: one that polls DIR goes over to it without "
    "a failed request, and of several pushes at the same time each gets a number of its own. A store of objects cannot "
    "rename; docs/serving.md says what it promises instead.\n\n"
    "A .tflite becomes model.tflite, which a server takes with --prefer_tflite_model; one that it would answer wrongly "
    "from is refused. Files are compared with the hashes that the run wrote down. Where the newest version has the "
    "same files, there is no new one.\n\n"
    "Not without --force: a run whose verdict is fail or error, a fake-quant SavedModel, and a .tflite where the "
    "newest version is a SavedModel, whose server may lack --prefer_tflite_model.\n\n"
    "s3:// needs modelmill\\[s3], gs:// modelmill\\[gs]."
)

Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN[:ARTIFACT]",
        help="A run's folder, or its name below runs/, and what of it. Default: the one to serve.",
    ),
]  # fmt: skip
To = Annotated[
    str, typer.Option("--to", metavar="DIR", help="The model's base path: a folder, s3://BUCKET/PATH or gs://...")
]
ArtifactId = Annotated[
    str | None, typer.Option("--artifact", metavar="ID", help="The same as RUN:ID, such as quantize.tflite.int8.")
]
Force = Annotated[bool, typer.Option("--force", help="Push what would be refused, or is there already.")]
AsJson = Annotated[bool, typer.Option("--json", help="What was pushed, or why nothing was, as JSON on stdout.")]


def push(
    run: Run, to: To, artifact: ArtifactId = None, force: Force = False, as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """Push a run's model; see HELP."""
    with told(as_json):
        from tempfile import TemporaryDirectory

        from pipeline import exported, finished
        from pipeline.console import Streams
        from pipeline.isolate import Child
        from pipeline.push import meant, passed, place, version

        place.require(to)
        name, wanted = exported.named(run, artifact)
        with ExitStack() as held:
            folder, report = held.enter_context(finished.opened(name))
            found = exported.find(folder, report, wanted)
            private = Path(held.enter_context(TemporaryDirectory(prefix="modelmill-")))
            newest = None
            if not force:
                passed.require(report)
                with Streams().chatter_to(private / "log.txt"):
                    newest = place.newest(to)
                meant.require(found.item, newest)
            if found.item.format == "tflite" and not as_json and not quiet:
                typer.echo(f"{found.item.id}: read by LiteRT, warm-up requests made; TensorFlow is started", err=True)
            child = held.enter_context(Child(deadline_s=_DEADLINE_S, memory_mb=None, log=private / "log.txt"))
            version.require_servable(found, child)
            made = version.files(found, report, child, private)
            with Streams().chatter_to(private / "log.txt"):
                same = newest is not None and place.holds(newest, made, to)
                at = newest.at if newest is not None and same else place.publish(made, to)
    number = int(at.rpartition("/")[2])
    if as_json:
        said = {"event": "unchanged" if same else "pushed", "artifact": found.item.id, "verdict": report.verdict}
        typer.echo(json.dumps({**said, "version": number, "path": at, "exit_code": 0}))
        return
    if not quiet:
        again = "; nothing was pushed, --force makes a new version of it" if same else ""
        typer.echo(f"{found.item.id} is version {number}{' already' if same else ''}: {at}{again}")
    if report.verdict in ("fail", "error"):
        what = f"{report.verdict} ({'; '.join(passed.why(report))})"
        typer.echo(f"warning: pushed by --force: the run's verdict is {what}", err=True)
    elif report.verdict != "pass" and not quiet:
        typer.echo(f"the run's verdict is {report.verdict}: this version is not known to be good", err=True)
    if found.item.format == "tflite" and not quiet:
        typer.echo("a server takes it with --prefer_tflite_model", err=True)
