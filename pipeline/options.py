"""Options that several commands have, and what they all say of exit codes. Imports nothing of weight."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.recipes import DEFAULT, OWN_MODEL
from pipeline.stages import NAMES

EXIT_CODES = (
    "Exit codes: 0 all gates pass; 1 it ran and a gate failed; 2 the input is wrong; 3 the environment lacks something "
    "that was asked for; 4 the run failed; 130 interrupted, and the next call goes on from there."
)

RecipeName = Annotated[
    str | None,
    typer.Argument(
        metavar="[RECIPE]",
        help=f"A YAML file, or a built-in recipe (`modelmill recipes` lists them). Default: {DEFAULT}; with --set "
        f"model.path=FILE {OWN_MODEL}.",
    ),
]
ModelPath = Annotated[
    Path | None,
    typer.Option("--model", metavar="FILE", help="A .keras or .h5 file, or a SavedModel folder, instead of a recipe."),
]
CustomCode = Annotated[
    bool,
    typer.Option(
        "--allow-custom-code",
        help="Load Lambda layers and classes of the file's author: [bold]their code runs here with your rights[/].",
    ),
]
DataName = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="DATA", help="What it is for: digits or another bundled set, an .npz, a folder of images."
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="A.B=VALUE", help="Change a key of the recipe, e.g. --set train.epochs=5. Repeatable."
    ),
]
Out = Annotated[Path | None, typer.Option("--out", help="The run's folder. Default: runs/RECIPE.")]
StoreFolder = Annotated[
    Path, typer.Option("--store", envvar="MODELMILL_STORE", help="Where results are kept and reused from.")
]
First = Annotated[
    str | None,
    typer.Option("--from", metavar="STAGE", help=f"Ignore stored results from this stage on: {', '.join(NAMES)}."),
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="STAGE", help=f"Stop after this stage: {', '.join(NAMES)}.")
]
WorkerAddresses = Annotated[
    str | None,
    typer.Option(
        "--workers", metavar="HOST:PORT,...",
        help="Train together with other processes, on this machine or others: the addresses of all, the same on each. "
        "TF_CONFIG, a step of Slurm and an Indexed Job of Kubernetes say it too. Ports are open on all interfaces, "
        "without encryption and for everybody who reaches them: [bold]private networks only[/].",
    ),
]  # fmt: skip
WorkerIndex = Annotated[
    int | None,
    typer.Option(
        "--worker", metavar="INDEX",
        help="Which of --workers this process is, from 0. Worker 0 also exports, measures and reports; worker K keeps "
        "its part in OUT-worker-K and STORE/worker-K.",
    ),
]  # fmt: skip
Wait = Annotated[
    float, typer.Option("--wait", min=0.1, metavar="SECONDS", help="How long the workers wait until all are there.")
]
Profile = Annotated[
    bool,
    typer.Option("--profile", help="Write a TensorBoard profile of some training steps, DIR/profile/STAGE."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable events on stdout, one JSON object a line.")]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Let the recipe's file name programs and images to run, and hosts to send data to.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only; the exit code tells the verdict.")]
