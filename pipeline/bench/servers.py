"""From targets to what can be asked: images are started for as long as the block lasts, all else is there already."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pipeline.bench import inside
from pipeline.bench.document import Target as Facts
from pipeline.bench.inside import Subject
from pipeline.bench.rounds import Entry
from pipeline.bench.settings import Settings
from pipeline.bench.targets import REQUEST_S, RUNTIMES, Image, Target
from pipeline.errors import ModelmillError
from pipeline.events import Emit
from pipeline.isolate import Child, CrashError, FailedError
from pipeline.measuring import served
from pipeline.measuring.source import File, Source
from serving.client import monitoring
from serving.client.endpoint import ENCODINGS, Endpoint
from serving.config import ServingConfig
from serving.target import image
from serving.target.interface import LaunchError, Server

CONNECTION = "one connection per worker, kept"
_POLL_S = 0.2


@contextmanager
def running(
    targets: Sequence[Target], settings: Settings, child: Child, work: Path, emit: Emit
) -> Iterator[list[Entry]]:
    """Yield an entry for each target, and two for an image: over gRPC and over REST.

    One that cannot be started has its failure, and the others are measured all the same.

    Args:
        child: asks servers whether they are ready.
        work: folder for the logs of images.
    """
    entries: list[Entry] = []
    with ExitStack() as images:
        for target in targets:
            if not isinstance(target.what, Image):
                entries.append(_entry(target, target.name, target.what, settings))
                continue
            folder = work / f"image-{len(entries) + 1}"
            folder.mkdir(parents=True, exist_ok=True)
            try:
                entries += _started(target, target.what, settings, child, folder, images, emit)
            except (ModelmillError, CrashError, FailedError) as failure:
                entries.append(Entry(target, Facts(name=target.name, runtime="served"), failure=failure))
        yield entries
        if child.pid is not None and any(isinstance(target.what, Image) for target in targets):
            with suppress(CrashError, FailedError):  # all is measured
                child.call(inside.disconnect)  # clients would go on looking for a server that has ended


def _entry(target: Target, name: str, source: Source, settings: Settings, server: Server | None = None) -> Entry:
    shapes = tuple(sorted((settings.shapes or {}).items()))
    metrics = None if isinstance(source, File) else _metrics(source, settings, server)
    subject = Subject(name, source, settings.threads, settings.seed, metrics, settings.data, shapes)
    if isinstance(source, File):
        return Entry(target, Facts(name=name, runtime=RUNTIMES[source.form], threads=settings.threads), subject)
    protocol = source.protocol
    identity = None if server is None else server.identity
    facts = Facts(
        name=name, runtime="served", protocol=protocol, encoding=ENCODINGS[protocol], connection=CONNECTION,
        server=None
        if identity is None
        else {"implementation": identity.implementation, "version": identity.version, "image": identity.image},
    )  # fmt: skip
    return Entry(target, facts, subject)


def _metrics(source: Endpoint, settings: Settings, server: Server | None) -> str | None:
    """Return the address of the Prometheus page, where it can be known."""
    if server is not None:
        return server.addresses["rest"] + monitoring.PATH
    if settings.metrics is not None:
        return settings.metrics
    return source.address + monitoring.PATH if source.protocol == "rest" else None


def _started(
    target: Target, wanted: Image, settings: Settings, child: Child, work: Path, images: ExitStack, emit: Emit
) -> list[Entry]:
    config = ServingConfig(target="docker", image=wanted.image)
    server = images.enter_context(image.started(config, work, emit))
    model = wanted.model or image.model_name(config)
    asked = {
        protocol: Endpoint(address, model, wanted.version, wanted.label, REQUEST_S)
        for protocol, address in server.addresses.items()
    }
    _wait(next(iter(asked.values())), server, child, config.ready_deadline_s)
    return [_entry(target, f"{target.name} ({protocol})", one, settings, server) for protocol, one in asked.items()]


def _wait(asked: Endpoint, server: Server, child: Child, deadline_s: float) -> None:
    """Wait until some version is loaded.

    Raises:
        LaunchError: the server ended, the model cannot be loaded, or the deadline passed.
    """
    until = time.monotonic() + deadline_s
    while True:
        if death := server.death():
            raise LaunchError(
                f"the container ended before the model {asked.model} was loaded: {death.reason}",
                transient=death.transient, found=death.log, todo="see the server's own words above",
            )  # fmt: skip
        states = child.call(served.states_so_far, asked)
        if any(state.name == "AVAILABLE" for state in states.values()):
            return
        late = time.monotonic() >= until
        if late or (states and all(state.name == "END" for state in states.values())):
            known = ", ".join(f"version {number} {one.name} {one.error}" for number, one in states.items())
            raise LaunchError(
                f"the image has no model {asked.model} that is loaded", transient=late,
                expected="a version AVAILABLE", found=(known or "no version of it") + f"; its log:\n{server.log()}",
                todo="name the model: docker:IMAGE/v1/models/MODEL",
            )  # fmt: skip
        time.sleep(_POLL_S)
