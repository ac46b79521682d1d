"""The commands that make a run again, look at it and serve what came of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import PurePath

from pipeline.report.document import Report

_DEFAULT_STORE = "runs/.store"


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
    path = str(PurePath(report.folder) / str(file.path))
    absolute = shlex.quote(path) if PurePath(path).is_absolute() else f'"$PWD"/{shlex.quote(path)}'
    docker = (
        f"docker run --rm -p 127.0.0.1:8500:8500 -p 127.0.0.1:8501:8501 \\\n  -v {absolute}:/models/{name}:ro \\\n"
        f"  -e MODEL_NAME={name} tensorflow/serving"
    )
    ours = (
        f"python -m serving.server --port=8500 --rest_api_port=8501 \\\n  --model_name={name} \\\n"
        f"  --model_base_path={absolute}"
    )
    return [
        Command(f"Serve {file.id} with TF Serving, over gRPC and REST", docker),
        Command("Serve it without Docker, with modelmill's own server", ours),
    ]
