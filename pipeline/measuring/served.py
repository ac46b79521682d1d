"""Served artifacts, seen from the stage: one server for all of them, started when it is needed and after it died."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from pipeline.errors import MissingError, RejectedError, RunError, ServerError, UnavailableError
from pipeline.events import Emit, Note
from pipeline.isolate import Child
from pipeline.measuring import runtimes
from pipeline.measuring.source import Source
from serving.client import endpoint
from serving.client.endpoint import Endpoint, State
from serving.config import ServingConfig
from serving.layout import Deployment
from serving.target.interface import LOG, Death, LaunchError, Server, Target

T = TypeVar("T")
_POLL_S = 0.1
_DEATH_S = 2.0  # a connection breaks before the system knows that the server has ended
# TF Serving's words for a model that it was told to load and could not: the model is to blame, not the machine
_BLAMES_THE_MODEL = "did not become available"


class DiedError(RunError):
    """The server ended while it was asked.

    Attributes:
        transient: it was ended from outside.
    """

    def __init__(self, death: Death) -> None:
        todo = "run the same command again" if death.transient else "see its last words: it may not stand this model"
        super().__init__(f"the server died: {death.reason}", found=death.log, todo=todo)
        self.transient = death.transient


class Supply:
    """One server for the SavedModels of a run, and for .tflite files beside them; a context manager that ends it.

    Args:
        target: what starts it, or knows where it runs.
        models: artifact id -> folder with saved_model.pb, or a .tflite.
        config: the recipe's section.
        threads: for what the section leaves open; 0: that is the server's own choice.
        child: the measuring process; it holds the clients.
        work: folder for the server's files; it is removed at the end.
        emit: is told when a server has to be started again.
        versions: artifact id -> its number, where the target has the models already; None: they are ours to number.
        stored: whether what is measured may be used by another run. Then a server that ended without blaming the model
            is called an error of the moment, so that it is tried anew; else only one that was ended from outside is.
    """

    def __init__(
        self, target: Target, models: Mapping[str, Path], config: ServingConfig, threads: int, child: Child, work: Path,
        emit: Emit, versions: Mapping[str, int] | None = None, *, stored: bool = True,
    ) -> None:  # fmt: skip
        self._stored = stored
        self._target, self._models, self._config, self._threads = target, dict(models), config, threads
        self._child, self._work, self._emit = child, work, emit
        self._stack = contextlib.ExitStack()
        self._launched: Server | None = None  # with all models, not known to be ready
        self._server: Server | None = None
        self._refused: dict[str, str] = {}
        self._facts: dict[str, Any] = {}
        self._starts = 0
        # numbers that no other server has: one that took our port is never mistaken for ours
        first = secrets.randbelow(10**9) + 1 if target.ours else 1
        self._versions = dict(versions or {name: number for number, name in enumerate(models, start=first)})

    def __enter__(self) -> Supply:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """End the server; what comes after it is measured without one beside it."""
        self._end()
        for log in sorted(self._work.glob(f"*/{LOG}")):  # standard error is the run's log
            text = log.read_text(encoding="utf-8", errors="replace")
            print(f"--- {log.parent.name} ---", text, sep="\n", file=sys.stderr)
        shutil.rmtree(self._work, ignore_errors=True)

    def launch(self) -> None:
        """Start the server without waiting for it: it loads the models while the caller has other work."""
        with contextlib.suppress(LaunchError, MissingError):  # the first call starts it again, and tells what is wrong
            self._launched = self._begin(list(self._models))

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols over which the models are asked."""
        remote = self._config.remote
        return tuple(one for one in self._config.protocols if remote is None or one in remote.by_protocol())

    def call(self, ids: Sequence[str], protocol: str, function: Callable[[Mapping[str, Source]], T]) -> T:
        """Run `function({id: endpoint})` in the measuring process.

        Raises:
            DiedError: the server died of it, or meanwhile.
            RunError: a model that the server cannot load; and whatever the function raises.
            MissingError: a target, a port or a remote model that is not there.
        """
        found = self.provoke(ids, protocol, function)
        if death := self.death():  # then nobody knows who answered
            raise DiedError(death)
        return found

    def provoke(self, ids: Sequence[str], protocol: str, function: Callable[[Mapping[str, Source]], T]) -> T:
        """Run as `call` does a function whose result holds even where the server died of it."""
        sources = self.sources(ids, protocol)
        try:
            return self._child.call(function, sources)
        except RejectedError:
            raise
        except ServerError as error:
            if death := self.death(wait=True):
                raise DiedError(death) from error
            raise

    def sources(self, ids: Sequence[str], protocol: str) -> dict[str, Source]:
        """Return where the models are asked; their server runs, and was started where it did not.

        Raises: as `call`.
        """
        for name in ids:
            self._require(name)
        server = self._alive()
        for name in ids:
            self._require(name)
        return {name: self._endpoint(server, name, protocol) for name in ids}

    def death(self, *, wait: bool = False) -> Death | None:
        """Return how the server ended, None while it runs.

        Args:
            wait: look again for a moment, because a connection breaks first.
        """
        until = time.monotonic() + (_DEATH_S if wait and self._target.ours else 0)
        while self._server is not None:
            death = self._server.death()
            if death is not None or time.monotonic() >= until:
                return death
            time.sleep(_POLL_S)
        return None

    def described(self) -> dict[str, Any]:
        """Return the facts about the server that was last ready, for report.json."""
        return self._facts

    def _require(self, name: str) -> None:
        if name in self._refused:
            raise RunError(f"the server cannot load it: {self._refused[name]}")

    def _endpoint(self, server: Server, name: str, protocol: str, deadline_s: float | None = None) -> Endpoint:
        remote = self._config.remote
        return Endpoint(
            server.addresses[protocol], self._config.model_name,
            version=None if remote and remote.label else self._versions[name],
            label=remote.label if remote else None,
            deadline_s=min(self._config.request_deadline_s, deadline_s or self._config.request_deadline_s),
            form="tflite" if self._models[name].is_file() else "saved_model",
        )  # fmt: skip

    def _alive(self) -> Server:
        """Return the running server; start it where there is none."""
        death = self._server.death() if self._server is not None else None
        if death is not None:
            self._emit(Note("measure", f"the server died ({death.reason}): it is started again", "warning"))
        if self._server is None or death is not None:
            again = self._starts > 0
            try:
                self._start([name for name in self._models if name not in self._refused])
            except LaunchError as error:
                if error.transient or len(self._models) == 1:
                    raise
                self._sort_out()
            except MissingError as error:
                if not again:
                    raise
                # it was there: what is measured already is not thrown away for it
                raise LaunchError(
                    f"the {self._target.name} server cannot be started again: {error.what}", transient=True,
                    expected=error.expected, found=error.found, todo=error.todo,
                ) from error  # fmt: skip
        if self._server is None:
            raise RunError("the server can load none of the models")
        return self._server

    def _sort_out(self) -> None:
        """Start with those models that a server can load; each is tried alone."""
        for name in self._models:
            try:
                self._start([name])
            except LaunchError as error:
                if error.transient:
                    raise
                self._refused[name] = str(error)
        if able := [name for name in self._models if name not in self._refused]:
            self._start(able)

    def _end(self) -> None:
        """End the server, and first its clients: they would go on looking for it."""
        if self._server is not None and self._child.pid is not None:
            with contextlib.suppress(Exception):  # the measuring process may be what failed
                self._child.call(runtimes.hang_up)
        self._server = self._launched = None
        self._stack.close()

    def _begin(self, names: Sequence[str]) -> Server:
        """Start a server with some of the models; it is not known to be ready."""
        work = self._work / f"server-{len(list(self._work.glob('server-*'))) + 1}"
        work.mkdir(parents=True)
        deployment = Deployment(
            self._config.model_name, {self._versions[name]: self._models[name] for name in names}, *self._op_threads(),
            self._config.batching, self._config.flags,
        )  # fmt: skip
        return self._stack.enter_context(self._target.start(deployment, work))

    def _op_threads(self) -> tuple[int, int]:
        """Return how many threads the server has inside operations, and between them."""
        return self._config.intra_op_threads or self._threads, self._config.inter_op_threads or self._threads

    def _start(self, names: Sequence[str]) -> None:
        """Start a server and wait until each model is loaded, or cannot be; one deadline for it all."""
        launched, self._launched = self._launched, None
        if launched is None:
            self._end()
        self._starts += 1
        deadline = time.monotonic() + self._config.ready_deadline_s
        try:
            server = launched if launched is not None else self._begin(names)
            if self._target.ours:
                self._ready(server, names, deadline)
            else:
                self._there(server)
        except BaseException:
            self._stack.close()
            raise
        self._server = server
        self._facts = {
            "runtime": "served", "threads": (self._op_threads()[0] or None) if self._target.ours else None,
            "target": self._target.name,
            "server": dataclasses.asdict(server.identity) | self._asked(server),
        }  # fmt: skip

    def _asked(self, server: Server) -> dict[str, str | None]:
        """Return what is asked of somebody else's server, for the report."""
        remote = self._config.remote
        if remote is None:
            return {}
        version = None if remote.label else str(next(iter(self._versions.values())))
        return {
            "address": " ".join(server.addresses.values()), "model": self._config.model_name,
            "model_version": version, "label": remote.label,
        }  # fmt: skip

    def _ready(self, server: Server, names: Sequence[str], deadline: float) -> None:
        """Wait until each model is AVAILABLE, or END and thereby refused.

        Raises:
            LaunchError: the server ended, or the deadline passed.
        """
        wanted = {self._versions[name]: name for name in names}
        states: dict[int, State] = {}
        while True:
            if death := server.death():
                blamed = _BLAMES_THE_MODEL in death.log
                suspect = (
                    "the model or a flag may not suit it" if blamed else "a flag, or the server itself, is at fault"
                )
                raise LaunchError(
                    f"the {self._target.name} server ended before the model was loaded: {death.reason}",
                    transient=death.transient or (self._stored and not blamed), found=death.log,
                    todo=f"look at the server's own words above; {suspect}",
                )  # fmt: skip
            left = deadline - time.monotonic()
            if left <= 0:
                known = ", ".join(f"version {version} {state.name}" for version, state in states.items())
                log = server.log()
                raise LaunchError(
                    f"the {self._target.name} server was not ready in time", transient=True,
                    expected=f"the model AVAILABLE after {self._config.ready_deadline_s:g} s",
                    found=(known or "no answer") + (f"; its last words:\n{log}" if log else ""),
                    todo="a higher serving.ready_deadline_s, or a machine with less other work",
                )  # fmt: skip
            states = self._child.call(states_so_far, self._endpoint(server, names[0], self.protocols[0], left))
            if all(version in states and states[version].name in ("AVAILABLE", "END") for version in wanted):
                break
            time.sleep(_POLL_S)
        for version, name in wanted.items():
            if states[version].name == "END":
                self._refused[name] = states[version].error or "its state is END"

    def _there(self, server: Server) -> None:
        """Find out which version of a remote model is asked: one for all that is measured, over every protocol.

        Raises:
            MissingError: the server or the model is not there.
        """
        remote, (name,) = self._config.remote, self._models
        version = remote.version if remote else None
        for protocol in self.protocols:
            asked = self._endpoint(server, name, protocol)
            try:
                states = self._child.call(endpoint.status, asked)
            except (UnavailableError, RejectedError) as error:
                raise MissingError(
                    f"there is no model {asked.model} at {asked.address}", expected="a server that has it AVAILABLE",
                    found=error.found or error.what, todo="check serving.remote.addresses and serving.model_name",
                ) from None  # fmt: skip
            loaded = [number for number, state in states.items() if state.name == "AVAILABLE"]
            if not loaded or (version is not None and version not in loaded):
                raise MissingError(
                    f"the model {asked.model} at {asked.address} is not loaded",
                    expected="any version" if version is None else f"version {version}",
                    found=", ".join(f"version {number} {state.name}" for number, state in states.items()),
                    todo="load it there, or ask another: --set serving.remote.version=N",
                )  # fmt: skip
            version = max(loaded) if version is None else version
        if version is not None:
            self._versions[name] = version


def states_so_far(asked: Endpoint) -> dict[int, State]:
    """Return the states of a model's versions, none as long as the server does not answer or does not know it."""
    try:
        return endpoint.status(asked)
    except (UnavailableError, RejectedError):
        return {}


@dataclasses.dataclass(frozen=True)
class Served:
    """The models of a supply over one protocol; see `places.Place`."""

    supply: Supply
    key: str

    @property
    def name(self) -> str:
        """Such as "served over grpc"."""
        return f"served over {self.key}"

    @property
    def threads(self) -> int:
        """One: of the client."""
        return 1

    def call(self, ids: Sequence[str], function: Callable[[Mapping[str, Source]], T]) -> T:
        """Run the function with the endpoints; see `places.Place.call`."""
        return self.supply.call(ids, self.key, function)

    def provoke(self, name: str, function: Callable[[Mapping[str, Source]], T]) -> T:
        """Run a function that may end the server; see `Supply.provoke`."""
        return self.supply.provoke([name], self.key, function)

    def described(self) -> dict[str, Any]:
        """Return the server, the protocol and the encoding of tensors."""
        return self.supply.described() | {"protocol": self.key, "encoding": endpoint.ENCODINGS[self.key]}
