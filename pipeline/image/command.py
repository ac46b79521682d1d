"""The command `modelmill image`; what it does is in `making.py`. Imports nothing of weight."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.endings import told
from pipeline.errors import InputError, RunError
from pipeline.options import AsJson, Quiet, Trust
from serving.images import IMAGES

if TYPE_CHECKING:
    from pipeline.console import Mode
    from pipeline.exported import Exported
    from pipeline.image.document import Image
    from pipeline.image.making import Order

EXIT_CODES = (
    "Exit codes: 0 the image passed and has its tag; 1 it failed a gate or does not serve, and is gone; 2 the input is "
    "wrong; 3 there is no Docker engine, or the base image is not to be had; 4 it could not be built or measured; "
    "130 interrupted."
)

HELP = (
    "Put a run's model and TensorFlow Serving into one image, measure that image, and tag it if it passes.\n\n"
    "The image needs no mounts: model, model config, batching parameters, monitoring (Prometheus) and the requests "
    "that warm it up are in it. It is started as its users will start it, and asked as [bold]validate[/] asks a "
    "server: the whole test split over gRPC and REST, against the Keras model and against the labels, latencies, "
    "malformed requests; and it must start warm: a fresh container's first request within twice the p99 of the later "
    "ones. The limits are the recipe's for that artifact. What misses one is removed, and the reason told.\n\n"
    "Written into the run's folder: [bold]image.json[/], and the image into the report; [bold]image.log[/] with the "
    "words of the engine and the server; [bold]image/[/], from which docker build makes the same image by hand.\n\n"
    "[bold]modelmill image digits[/]\n\n"
    "[bold]modelmill image runs/digits --artifact prune.saved_model.float32 --name digits --tag shop/digits:7[/]"
)

_READ_S = 120.0  # to read a .tflite; TensorFlow's import is most of it

RunName = Annotated[
    Path,
    typer.Argument(
        metavar="RUN[:ARTIFACT]", help="The run's folder, or its name below runs/, and which SavedModel or .tflite. "
        "Default: the one to serve, as the report says.",
    ),
]  # fmt: skip
ArtifactId = Annotated[
    str | None,
    typer.Option("--artifact", metavar="ID", help="The same as RUN:ID."),
]
ServedName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="What clients call the model. Default: the recipe's name.")
]
Tag = Annotated[
    str | None,
    typer.Option(
        "--tag", metavar="TAG", help="The image's name. Default: NAME:CONTENT, other content being another tag."
    ),
]
BaseImage = Annotated[
    str | None,
    typer.Option(
        "--base", metavar="IMAGE",
        help=f"The image to build on, with TensorFlow Serving's conventions. Default: {IMAGES['cpu']}, on a GPU "
        f"(serving.device) {IMAGES['gpu']}.",
    ),
]  # fmt: skip
BatchingFile = Annotated[
    Path | None,
    typer.Option("--batching", metavar="FILE", help="Batching parameters to serve with. Default: the recipe's."),
]


def image(
    run: RunName, artifact: ArtifactId = None, name: ServedName = None, tag: Tag = None,
    base: BaseImage = None, batching: BatchingFile = None, trust: Trust = False, as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Build, measure and tag an image of a run; see HELP."""
    if as_json and quiet:
        raise InputError("--json and --quiet exclude each other", todo="leave one of them out")
    with told(as_json):
        order = _order(run, artifact, name, tag, base, batching, trusted=trust)
        found = _made(order, "json" if as_json else "quiet" if quiet else "auto")
    code = {"pass": 0, "fail": 1}.get(found.verdict, 4)
    path = order.folder / "image.json"
    if as_json:
        finished = {"event": "finished", "verdict": found.verdict, "exit_code": code, "tag": found.tag}
        typer.echo(json.dumps(finished | {"image": str(path)}))
    elif not quiet:
        from rich.console import Console

        from pipeline.image import table

        with suppress(SystemExit):  # `| head`
            table.show(found, path, Console(highlight=False))
    raise typer.Exit(code)


def _order(
    run: Path, artifact: str | None, name: str | None, tag: str | None, base: str | None, batching: Path | None, *,
    trusted: bool,
) -> Order:  # fmt: skip
    """Return what is asked for; every argument is checked before Docker or TensorFlow is looked for.

    Raises:
        MissingError: there is no engine.
    """
    from serving.config import ServingConfig
    from serving.target import docker_build, docker_engine

    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise InputError(
            f"--name {name!r} is no name for a served model", expected="letters, digits, . _ -, the first no mark",
            todo="choose another --name",
        )  # fmt: skip
    for option, value, digest in (("--tag", tag, False), ("--base", base, True)):
        if value is not None and not docker_build.is_name(value, digest=digest):
            form = f"[REGISTRY/]NAME[:TAG]{'[@sha256:64 HEXADECIMAL DIGITS]' if digest else ''}, NAME in lower case"
            raise InputError(
                f"{option} {value!r} is no name of an image", expected=form, todo=f"choose another {option}"
            )  # fmt: skip
    from pipeline import exported, finished
    from pipeline import recipe as recipes
    from pipeline.run_folder import RECIPE

    place, wanted = exported.named(run, artifact)
    folder, report = finished.read(place)
    found = exported.find(folder, report, wanted)
    item = found.item
    _require_servable(found)
    if batching is not None:
        from pipeline.image.batching import most

        most(batching)
    recipe = recipes.load(str(folder / RECIPE), trusted=trusted)
    served = _served_name(name or recipe.name)
    serving = recipe.serving or ServingConfig()
    docker_engine.connect(serving.lookup_deadline_s).close()  # before the import of all that measures, some seconds
    from pipeline.image.making import Order

    device = serving.device
    return Order(folder, report, recipe, item, served, tag, base or IMAGES[device], batching)


def _served_name(name: str) -> str:
    """Return the name that clients call the model by; the model's folder in the image has it, too.

    Raises:
        InputError: another file there is called that.
    """
    from pipeline.image.context import OURS

    if name in OURS:
        raise InputError(
            f"a model cannot be served as {name}", expected=f"another name than {', '.join(OURS)}",
            found="the name of a file that lies beside the model in the image", todo="choose another --name",
        )  # fmt: skip
    return name


def _require_servable(found: Exported) -> None:
    """Refuse what cannot be served or measured.

    Raises:
        InputError: a server cannot take it, or the stage that made it is gone.
    """
    from pipeline.isolate import Child
    from pipeline.push import version

    item, stage = found.item, found.run / "stages" / found.item.stage
    if not stage.exists():
        raise InputError(
            f"{stage} is gone: there is nothing to compare {item.id} with", expected="the run as it was made",
            found="nothing there", todo="run the recipe again: what is stored is reused",
        )  # fmt: skip
    if item.format == "tflite":
        with Child(deadline_s=_READ_S, memory_mb=None, log=Path(os.devnull)) as child:
            version.require_servable(found, child)


def _made(order: Order, mode: Mode) -> Image:
    from pipeline import finished
    from pipeline.console import Reporter, Streams
    from pipeline.image import making
    from pipeline.isolate import CrashError, FailedError

    streams = Streams()
    with finished.kept(order.folder, alone=True), streams.chatter_to(order.folder / making.LOG):
        reporter = Reporter(streams, mode)
        with reporter.shown():
            try:
                return making.make(order, reporter.emit)
            except (CrashError, FailedError) as error:
                log = order.folder / making.LOG
                raise RunError("the measuring process failed", found=str(error), todo=f"see {log}") from error
