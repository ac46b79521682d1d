"""Makes an image of a run: builds it, measures what was built, judges it, and gives a name to what passes."""

from __future__ import annotations

import importlib.metadata
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline import data, exported, machine
from pipeline.events import Emit, Event, Note, Progress
from pipeline.gates import gate
from pipeline.image import batching, context, document, measuring, warm
from pipeline.image.context import Context
from pipeline.image.document import Image
from pipeline.image.measuring import NAME, Question, Started
from pipeline.isolate import Child
from pipeline.measuring.measure_config import Config as MeasureConfig
from pipeline.push import version
from pipeline.recipe import Recipe
from pipeline.report.document import Artifact, Gate, Report
from pipeline.report.shipped import Base
from pipeline.stages import judge, measure, report
from pipeline.stages.judge import Limits
from serving import warmup
from serving.config import ServingConfig
from serving.target import docker_build, docker_container, docker_engine, docker_image
from serving.target.docker_build import Built
from serving.target.docker_container import Contents

FOLDER, LOG = "image", "image.log"


@dataclass(frozen=True)
class Order:
    """What an image is made of.

    Attributes:
        folder: the run's; its context becomes FOLDER in there, and the engine's words LOG.
        artifact: a SavedModel or a .tflite in the folder.
        name: the model is served under.
        tag: of the image; None: the name and what is in it, in hexadecimal digits.
        base: the image that it is built on.
        batching: file with batching parameters, None: the recipe's.
    """

    folder: Path
    report: Report
    recipe: Recipe
    artifact: Artifact
    name: str
    tag: str | None
    base: str
    batching: Path | None

    def path(self, artifact: Artifact) -> Path:
        """Return the file of an artifact, or the folder of a SavedModel above its version."""
        return self.folder / str(artifact.path)


@dataclass(frozen=True)
class Made:
    """An image that was built, and how it is started."""

    context: Context
    built: Built
    image: Started


@dataclass(frozen=True)
class _Builder:
    """What images of an order are built with; the reference's is built as the artifact's is."""

    order: Order
    serving: ServingConfig
    labels: dict[str, str]
    api: Any
    child: Child
    work: Path
    emit: Emit

    @contextmanager
    def made(self, item: Artifact, folder: Path) -> Iterator[Made]:
        """Build an artifact's image from a context in a folder; it is gone when the block has ended, unless tagged."""
        order = self.order
        private = self.work / item.id
        files = version.files(exported.checked(order.folder, item), order.report, self.child, private / "made")
        model = version.folder(files, private / "version")
        written = context.write(folder, order.name, model, self.serving, order.batching, self.labels)
        if order.batching is not None:
            self._limit_warmup(written, batching.most(order.batching))
        arguments = {"BASE": order.base, "NAME": order.name}
        log = order.folder / LOG
        with docker_build.built(self.api, written.folder, arguments, log, self.emit) as built:
            yield Made(written, built, _started(built, self.serving, self.emit))

    def _limit_warmup(self, written: Context, most: int) -> None:
        if left := self.child.call(warmup.limit, written.model, most):
            sizes = ", ".join(map(str, left))
            text = f"warm-up requests of {sizes} samples are left out: with max_batch_size {most} they cannot be loaded"
            self.emit(Note(NAME, text))


def make(order: Order, emit: Emit) -> Image:
    """Build, measure and judge an image; one that fails is removed. Writes image.json.

    Raises:
        MissingError: there is no engine that can be used, or the base image is not to be had.
        RunError: the engine cannot build or start it.
        InputError: the base's name is none, or the data of the run cannot be used.
    """
    notes: list[str] = []

    def told(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)
        if isinstance(event, Note | Progress):
            event = replace(event, stage=NAME)  # whoever says it does not know for whom it works
        emit(event)

    (order.folder / document.FILE).unlink(missing_ok=True)  # what is said of an earlier one is not said of this one
    if order.report.image is not None:
        report.write(order.report.model_copy(update={"image": None}), order.folder)
    reference = next(item for item in order.report.artifacts if item.id == order.report.reference)
    labels = context.labels(order.report, order.artifact, order.name, document.content(order.path(order.artifact)))
    with ExitStack() as held:
        # without an engine nothing else is worth telling
        lookup_s = (order.recipe.serving or ServingConfig()).lookup_deadline_s
        api = held.enter_context(closing(docker_engine.connect(lookup_s)))
        config, serving = _settings(order, told)
        base = _base(api, serving, told)
        limits = _limits(order, told)
        docker_build.sweep(api)
        child = held.enter_context(measure.ahead(measure=config))
        work = Path(held.enter_context(TemporaryDirectory(prefix="modelmill-image-")))
        builder = _Builder(order, serving, labels, api, child, work, told)
        made = held.enter_context(builder.made(order.artifact, order.folder / FOLDER))
        beside = None
        if limits.min_speedup is not None and reference.id != order.artifact.id:
            beside = held.enter_context(builder.made(reference, work / FOLDER)).image
        keras = order.folder / "stages" / order.artifact.stage
        splits = data.load(order.recipe.data, _store(keras), strings=True)
        this, other = order.path(order.artifact), order.path(reference)
        asked = Question(order.artifact, this, reference, other, keras, splits, config, serving, work)
        item, firsts = measuring.measured(asked, made.image, beside, child, told)
        gates = _gates(limits, item, reference)
        item = warm.unjudged(item)
        gates.append(warm.gate(item, firsts))
        verdict = judge.verdict([item], gates)
        files = made.context.files()
        wanted = order.tag or f"{repository(order.name)}:{document.digest(files)[:12]}"
        tag = wanted if verdict == "pass" else None
        if tag and (before := docker_build.named(api, tag)) not in (None, made.built.id):
            told(Note(NAME, f"{tag} was another image until now: {before}"))
        found = Image.model_validate(
            {
                "schema": 1, "modelmill": importlib.metadata.version("modelmill"), "verdict": verdict, "tag": tag,
                "wanted": wanted, "run": str(order.folder), "recipe": order.recipe.name, "name": order.name,
                "version": context.VERSION, "id": made.built.id, "base": base, "bytes": made.built.bytes,
                "added": made.built.bytes - base.bytes, "labels": labels, "flags": made.context.flags, "files": files,
                "artifact": item, "reference": reference.id, "first_requests": firsts, "gates": gates, "notes": notes,
                "command": command(wanted, serving.device), "machine": machine.describe(measure.LIBRARIES),
            }
        )  # fmt: skip
        if tag:  # what is not written down does not keep the name
            held.enter_context(docker_build.tagged(api, made.built.id, tag))
        _write(found, order)
    return found


def _write(found: Image, order: Order) -> None:
    """Write image.json, and the report with the image in it: both or none."""
    try:
        document.write(found, order.folder)
        report.write(order.report.model_copy(update={"image": document.shipped(found)}), order.folder)
    except BaseException:
        (order.folder / document.FILE).unlink(missing_ok=True)
        with suppress(OSError):
            report.write(order.report.model_copy(update={"image": None}), order.folder)
        raise


def command(tag: str, device: str) -> str:
    """Return the line that starts an image and opens its ports on this machine alone."""
    gpus = "--gpus all " if device == "gpu" else ""
    return f"docker run --rm --init {gpus}-p 127.0.0.1:8500:8500 -p 127.0.0.1:8501:8501 {tag}"


def repository(name: str) -> str:
    """Return a served model's name as an image can have it: in lower case."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _settings(order: Order, emit: Emit) -> tuple[MeasureConfig, ServingConfig]:
    """Return how the image is measured and served: as the recipe says, but for what only an image has."""
    given = order.recipe.serving or ServingConfig()
    serving = given.on_free_ports().model_copy(
        update={"target": "docker", "image": order.base, "model_name": order.name, "protocols": measuring.PROTOCOLS,
                "remote": None}
    )  # fmt: skip
    config = order.recipe.measure or MeasureConfig()
    if order.batching is None:
        return config, serving
    batching.compare_flags(order.batching, serving.flags, emit)
    return batching.fitted(config, order.batching, emit), serving


def _limits(order: Order, emit: Emit) -> Limits:
    """Return the limits that the image has to hold.

    What the recipe limits for this artifact; where it has nothing for it, what it limits in the main result's answers:
    that holds for whatever is shipped, and size and speed are about that file.
    """
    config = order.recipe.judge
    if config is None:
        emit(Note(NAME, "the recipe has no limits: judged is that it starts warm and survives malformed requests",
                  "warning"))  # fmt: skip
        return Limits()
    own = judge.limits_of(config, order.recipe.plan(), order.artifact.id)
    if order.artifact.format != "saved_model" and (own.max_p99_ms or own.min_speedup):
        emit(Note(NAME, "max_p99_ms and min_speedup of a .tflite are for LiteRT: they are not asked of a server"))
        own = own.model_copy(update={"max_p99_ms": None, "min_speedup": None})
    if own != Limits():
        return own
    general = Limits(max_accuracy_drop=config.gates.max_accuracy_drop, min_parity=config.gates.min_parity)
    named = ", ".join(name for name, limit in general.model_dump().items() if limit is not None) or "none"
    emit(Note(NAME, f"the recipe has no limits for {order.artifact.id}: it has to hold those of the main result on "
              f"answers ({named}); judge.artifacts names others"))  # fmt: skip
    return general


def _gates(limits: Limits, item: Artifact, reference: Artifact) -> list[Gate]:
    return [gate(rule, limit, item, reference) for rule, limit in limits.model_dump().items() if limit is not None]


def _base(api: Any, serving: ServingConfig, emit: Emit) -> Base:
    found = docker_image.resolve(api, serving, time.monotonic() + serving.lookup_deadline_s, emit)
    return Base(name=serving.image_name, id=found, bytes=int(api.inspect_image(found)["Size"]))


def _started(built: Built, serving: ServingConfig, emit: Emit) -> Started:
    config = serving.model_copy(update={"image": built.id})

    @contextmanager
    def start(work: Path) -> Iterator[docker_container.DockerServer]:
        with docker_container.running(config, built.id, Contents(), work, emit) as server:
            yield server

    return Started(start)


def _store(entry: Path) -> Path | None:
    """Return the store that a stage is in: what the run's data had to be decoded to lies there too."""
    return entry.resolve().parent if entry.is_symlink() else None
