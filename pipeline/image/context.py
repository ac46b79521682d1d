"""What goes into an image: the folder that the engine is sent, and the labels."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.files import hashes
from pipeline.image.document import CONTENT_LABEL
from pipeline.report.document import Artifact, Report
from serving import layout
from serving.config import ServingConfig
from serving.layout import PORTS, ROOT, Deployment
from serving.target import docker_build

VERSION = layout.FIRST_VERSION
FLAGS = "flags"
# beside the folder that has the model's name
OURS = (FLAGS, layout.MODELS, layout.MONITORING, layout.BATCHING)
_PORTS = (f"--port={PORTS['grpc']}", f"--rest_api_port={PORTS['rest']}")


@dataclass(frozen=True)
class Context:
    """A folder that an image can be built of.

    Attributes:
        model: the version's folder in it.
        flags: the server's.
    """

    folder: Path
    model: Path
    flags: tuple[str, ...]

    def files(self) -> dict[str, str]:
        """Return path -> sha256 of all that is below `models`; these become /models."""
        models = self.folder / "models"
        return hashes(models, models)


def write(
    folder: Path, name: str, model: Path, serving: ServingConfig, batching: Path | None, labels: Mapping[str, str]
) -> Context:
    """Write a context anew; the model's files are hard links where links can be.

    Args:
        folder: the one that is written; an earlier one in its place is removed.
        name: the model is served under.
        model: the version's folder, with saved_model.pb or model.tflite.
        serving: says the threads, where it names any, the batching, and further flags.
        batching: a file that takes the place of the section's batching.
        labels: of the image.
    """
    if folder.exists():
        shutil.rmtree(folder)
    models = folder / "models"
    models.mkdir(parents=True)
    # what the recipe leaves open is the server's own choice, which are all cores of wherever it runs
    threads = serving.intra_op_threads or 0, serving.inter_op_threads or 0
    deployment = Deployment(
        name, {VERSION: model}, *threads, batching or serving.batching, serving.flags, monitoring=True
    )  # fmt: skip
    flags = (*_PORTS, *layout.write(deployment, models, ROOT))
    (models / FLAGS).write_text("".join(f"{flag}\n" for flag in flags), encoding="utf-8")
    # in one instruction: each is a layer of its own to the engine
    told = " ".join(f'{label}="{_quoted(value)}"' for label, value in labels.items())
    text = docker_build.dockerfile().read_text(encoding="utf-8")
    (folder / "Dockerfile").write_text(f"{text}\nLABEL {told}\n", encoding="utf-8")
    return Context(folder, models / name / str(VERSION), flags)


def labels(report: Report, artifact: Artifact, name: str, content: str) -> dict[str, str]:
    """Return what an image says of itself, in OCI's words where there are any.

    Args:
        content: sha256 of the artifact; see `document.content`.
    """
    version = importlib.metadata.version("modelmill")
    return {
        "org.opencontainers.image.title": name,
        "org.opencontainers.image.description": f"{artifact.id} of the modelmill run {report.recipe}",
        "org.opencontainers.image.version": str(VERSION),
        "modelmill.version": version,
        "modelmill.run": report.folder or report.recipe,
        CONTENT_LABEL: content,
        "modelmill.quality": quality(artifact),
        docker_build.LAST_LABEL: artifact.id,
    }


def _quoted(value: str) -> str:
    return re.sub(r'(["\\\\$])', r"\\\1", " ".join(value.split()))


def quality(artifact: Artifact) -> str:
    """Return in words what the run has measured of it, such as "accuracy 0.9944 (95 % 0.98 to 0.9993)"."""
    run = next(iter(artifact.runs), None)
    if run is None or run.parity is None:
        return "not measured in the run"
    found = [(name, run.metrics[name]) for name in run.judged if name in run.metrics]
    samples = f"{run.parity.samples} test samples"
    words = [f"{name} {one.value:.4g} (95 % {one.low:.4g} to {one.high:.4g})" for name, one in found]
    return ", ".join([*words, samples])
