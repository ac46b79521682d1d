"""The command `modelmill bundle`; what is in a bundle is made in `contents.py`. Imports nothing of weight."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.endings import told
from pipeline.options import Quiet, Trust

_DEADLINE_S = 300.0  # to load a runtime and ask it for three samples, with two sorts of kernels

EXIT_CODES = (
    "Exit codes: 0 the zip is there; 1 nothing was written, for the run did not pass, or failed with this file; 2 the "
    "input is wrong, the run's files are damaged, or its data has gone; 3 the data's source is not installed; 4 it "
    "cannot be written; 130 interrupted, and nothing is there."
)

HELP = (
    "Put a run's .tflite or .onnx into a zip that an app is built with: whoever gets it needs no modelmill.\n\n"
    "[bold]modelmill bundle digits[/]\n\n"
    "[bold]modelmill bundle runs/digits --artifact quantize.onnx.int8 --out digits.zip[/]\n\n"
    "In it: the model and the names of its classes; [bold]MODEL_CARD.md[/] (data, stages, accuracy with its interval, "
    "parity, latency, size, limits, verdict: what the report says and nothing else); [bold]signature.json[/] (names, "
    "types, shapes, quantization, what raw values are, words or columns); [bold]golden/[/]: three samples of the test "
    "split and what this very file answers them, as raw little-endian tensors; [bold]examples/[/] in Python, Kotlin, "
    "C++ and C that run the model and check it against these on the device; SHA256SUMS; and LICENSE.md, which says "
    "what is not known.\n\n"
    "Of an int8 .tflite, the C example also has the file as source for TensorFlow Lite for Microcontrollers and the "
    "arena that it needs there; that is measured, with modelmill\\[micro]. Without it, and where that runtime has no "
    "kernel for an operator, the bundle goes without, and says so.\n\n"
    "The samples are real: [bold]three of your data leave with the bundle[/]. The data is read again, so it has to be "
    "where the run had it, and as it was. Files are compared with the hashes that the run wrote down. The same run "
    "gives the same bytes. A SavedModel is for servers: [bold]push[/] and [bold]image[/] take it.\n\n"
    "Not without --force: a run whose verdict is fail or error, a file that failed in it, which the card then says on "
    "top, and a zip that is there already."
)

Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN[:ARTIFACT]",
        help="A run's folder, or its name below runs/, and what of it. Default: the recipe's main result, `final` in "
        "the report.",
    ),
]  # fmt: skip
ArtifactId = Annotated[
    str | None, typer.Option("--artifact", metavar="ID", help="The same as RUN:ID, such as quantize.tflite.int8.")
]
OutFile = Annotated[
    Path | None, typer.Option("--out", metavar="FILE.zip", help="The zip. Default: RECIPE-ARTIFACT.zip, here.")
]
Force = Annotated[bool, typer.Option("--force", help="Bundle what would be refused, or write over a file.")]
AsJson = Annotated[bool, typer.Option("--json", help="What was written, or why nothing was, as JSON on stdout.")]


def bundle(
    run: Run, artifact: ArtifactId = None, out: OutFile = None, force: Force = False, trust: Trust = False,
    as_json: AsJson = False, quiet: Quiet = False,
) -> None:  # fmt: skip
    """Bundle a run's model; see HELP."""
    with told(as_json):
        from contextlib import ExitStack
        from tempfile import TemporaryDirectory

        from pipeline import exported, finished
        from pipeline import recipe as recipes
        from pipeline.bundle import archive, contents, standing
        from pipeline.bundle import subject as subjects
        from pipeline.console import Streams
        from pipeline.isolate import Child
        from pipeline.run_folder import RECIPE

        name, wanted = exported.named(run, artifact)
        with ExitStack() as held:
            folder, report = held.enter_context(finished.opened(name))
            found = exported.find(folder, report, wanted or report.final, subjects.FORMATS)
            if not force:
                standing.require(report, found.item)
            recipe = recipes.load(str(folder / RECIPE), trusted=trust)
            subject = subjects.Subject(found, report, recipe.name, recipe.data.source)
            path = out or Path(f"{subject.name}.zip")
            archive.require_free(path, force=force)
            private = Path(held.enter_context(TemporaryDirectory(prefix="modelmill-")))
            alone, log = private / "alone", private / "log.txt"
            alone.mkdir()
            with Streams().chatter_to(log):
                splits = subjects.splits(found, recipe.data)
                child = held.enter_context(Child(deadline_s=_DEADLINE_S, memory_mb=None, log=log))
                made = contents.made(subject, splits, child, alone)
            archive.write(path, path.stem, made.files, force=force)
    warned = [f"{one.word}: {one.why}" for one in standing.warnings(report, found.item)]
    if as_json:
        said = {"event": "bundled", "artifact": found.item.id, "verdict": report.verdict, "path": str(path)}
        more = {"bytes": path.stat().st_size, "warnings": warned, "notes": made.notes}
        typer.echo(json.dumps({**said, **more, "exit_code": 0}))
        return
    if not quiet:
        typer.echo(f"{found.item.id}: {path}, {len(made.files) + 1} files; read {path.stem}/MODEL_CARD.md in it first")
        for note in made.notes:
            typer.echo(note, err=True)
    for line in warned:
        if force or not quiet:
            typer.echo(f"{line}{'' if line.endswith('.') else '.'} The card says so.", err=True)
