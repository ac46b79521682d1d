"""The commands that make a run again, look at it and serve what came of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import PurePath

from pipeline.report.document import Artifact, Report
from serving.config import IMAGES

_DEFAULT_STORE = "runs/.store"
_DOCKER = "docker run --rm -p 127.0.0.1:8500:8500 -p 127.0.0.1:8501:8501 \\\n"


@dataclass(frozen=True)
class Command:
    """`what` it does, in a sentence without its full stop."""

    what: str
    line: str


def commands(report: Report) -> list[Command]:
    """Return the commands, as seen from the folder in which the run was started; none where its folder is not known."""
    if report.folder is None:
        return []
    folder = shlex.quote(report.folder)
    recipe = shlex.quote(str(PurePath(report.folder) / "recipe.yaml"))
    trust = " --trust" if report.needs_trust else ""
    where = f"--out {folder}"
    if report.store not in (None, _DEFAULT_STORE):
        where += f" --store {shlex.quote(str(report.store))}"
    made = [stage.name for stage in report.stages if stage.status != "skipped"]
    again = f"modelmill run {recipe}{trust} {where}"
    found = [Command("Make it again, and reuse what has not changed", again)]
    if made:
        found.append(Command("Make everything anew", f"{again} --from {made[0]}"))
    if "measure" in made:
        line = f"modelmill validate {recipe}{trust} {where} --from measure"
        found.append(Command("Measure and judge again, and train nothing", line))
    found.append(Command("Show the result in a terminal", f"modelmill show {folder}"))
    return found + _serving(report)


def _serving(report: Report) -> list[Command]:
    file = next((item for item in report.artifacts if item.id == report.to_serve and item.path), None)
    if file is None or report.folder is None:
        return []
    name = report.recipe
    absolute = _absolute(report.folder, file)
    docker = f"{_DOCKER}  -v {absolute}:/models/{name}:ro \\\n  -e MODEL_NAME={name} {IMAGES['cpu']}"
    ours = (
        f"python -m serving.server --port=8500 --rest_api_port=8501 \\\n  --model_name={name} \\\n"
        f"  --model_base_path={absolute}"
    )
    return [
        Command(f"Serve {file.id} with TF Serving, over gRPC and REST", docker),
        Command("Serve it without Docker, with modelmill's own server", ours),
        *_lite(report, report.folder),
    ]


def _lite(report: Report, folder: str) -> list[Command]:
    """Return how the fastest .tflite that was measured behind a server is served: its file is mounted as a version."""
    served = [row.artifact for row in report.fastest.rows] if report.fastest else []
    files = {item.id: item for item in report.artifacts if item.format == "tflite" and item.path}
    file = next((files[name] for name in served if name in files), None)
    if file is None:
        return []
    line = (
        f"{_DOCKER}  -v {_absolute(folder, file)}:/models/{report.recipe}/1/model.tflite:ro \\\n"
        f"  -e MODEL_NAME={report.recipe} {IMAGES['cpu']} --prefer_tflite_model=true"
    )
    return [Command(f"Serve {file.id} as it is, from LiteRT's kernels", line)]


def _absolute(folder: str, file: Artifact) -> str:
    """Return a file's path in a shell in the folder where the run was started, as a volume needs it."""
    path = str(PurePath(folder) / str(file.path))
    return shlex.quote(path) if PurePath(path).is_absolute() else f'"$PWD"/{shlex.quote(path)}'
