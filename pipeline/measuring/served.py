"""Served artifacts, seen from the stage: one server for all of them, started when it is needed and after it died."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from pipeline.errors import MissingError, RejectedError, RunError, ServerError, UnavailableError
from pipeline.isolate import Child
from pipeline.measuring.runtimes import Source
from serving.client import endpoint
from serving.client.endpoint import Endpoint
from serving.config import ServingConfig
from serving.layout import Deployment
from serving.target.interface import Death, LaunchError, Server, Target

T = TypeVar("T")
_POLL_S = 0.1
_DEATH_S = 2.0  # a connection breaks before the system knows that the server has ended


class DiedError(RunError):
    """The server ended while it was asked.

    Attributes:
        transient: it was ended from outside.
    """

    def __init__(self, death: Death) -> None:
        super().__init__(f"the server died: {death.reason}", found=death.log, todo="run the same command again")
        self.transient = death.transient


class Supply:
    """One server for the SavedModels of a run; a context manager that ends it.

    Args:
        target: what starts it.
        models: artifact id -> folder with saved_model.pb, for a target that takes models.
        config: the recipe's section.
        threads: for what the section leaves open.
        child: the measuring process; it holds the clients.
        work: folder for the server's files; it is removed at the end.
    """

    def __init__(
        self, target: Target, models: Mapping[str, Path], config: ServingConfig, threads: int, child: Child, work: Path
    ) -> None:
        self._target, self._models, self._config, self._threads = target, dict(models), config, threads
        self._child, self._work = child, work
        self._stack = contextlib.ExitStack()
        self._server: Server | None = None
        self._refused: dict[str, str] = {}
        self._starts = 0
        self._ours = config.remote is None
        self._versions = {name: number for number, name in enumerate(models, start=1)}

    def __enter__(self) -> Supply:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        for log in sorted(self._work.glob("*/server.log")):  # standard error is the run's log
            print(
                f"--- {log.parent.name} ---",
                log.read_text(encoding="utf-8", errors="replace"),
                sep="\n",
                file=sys.stderr,
            )
        shutil.rmtree(self._work, ignore_errors=True)

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
        """
        server = self._alive()
        for name in ids:
            if name in self._refused:
                raise RunError(f"the server cannot load it: {self._refused[name]}")
        try:
            return self._child.call(function, {name: self._endpoint(server, name, protocol) for name in ids})
        except ServerError as error:
            if isinstance(error, UnavailableError) and (death := self.death(wait=True)):
                raise DiedError(death) from error
            raise

    def death(self, *, wait: bool = False) -> Death | None:
        """Return how the server ended, None while it runs.

        Args:
            wait: look again for a moment, because a connection breaks first.
        """
        until = time.monotonic() + (_DEATH_S if wait and self._ours else 0)
        while self._server is not None:
            death = self._server.death()
            if death is not None or time.monotonic() >= until:
                return death
            time.sleep(_POLL_S)
        return None

    def described(self) -> dict[str, Any]:
        """Return the facts about the server for report.json."""
        assert self._server is not None
        threads = (self._config.intra_op_threads or self._threads) if self._ours else None
        server = dataclasses.asdict(self._server.identity)
        return {"runtime": "served", "threads": threads, "target": self._target.name, "server": server}

    def _endpoint(self, server: Server, name: str, protocol: str) -> Endpoint:
        remote = self._config.remote
        return Endpoint(
            server.addresses[protocol], self._config.model_name,
            version=remote.version if remote else self._versions[name],
            label=remote.label if remote else None,
            deadline_s=self._config.request_deadline_s,
        )  # fmt: skip

    def _alive(self) -> Server:
        """Return the running server; start it where there is none."""
        if self._server is None or self._server.death() is not None:
            try:
                self._start(list(self._models))
            except LaunchError as error:
                if error.transient or len(self._models) == 1:
                    raise
                self._sort_out()
        assert self._server is not None
        return self._server

    def _sort_out(self) -> None:
        """Start with those models that a server can load; each is tried alone."""
        for name in self._models:
            try:
                self._start([name])
            except LaunchError as error:
                self._refused[name] = str(error)
        able = [name for name in self._models if name not in self._refused]
        if able:
            self._start(able)

    def _start(self, names: Sequence[str]) -> None:
        """Start a server and wait until each model is loaded, or cannot be; one deadline for it all."""
        self._stack.close()
        self._server = None
        self._starts += 1
        work = self._work / f"server-{self._starts}"
        work.mkdir(parents=True)
        deadline = time.monotonic() + self._config.ready_deadline_s
        deployment = Deployment(
            self._config.model_name, {self._versions[name]: self._models[name] for name in names},
            self._config.intra_op_threads or self._threads, self._config.inter_op_threads or self._threads,
            self._config.batching, self._config.flags,
        )  # fmt: skip
        try:
            server = self._stack.enter_context(self._target.start(deployment, work))
            states = self._ready(server, names, deadline) if self._ours else self._there(server)
        except BaseException:
            self._stack.close()
            raise
        for name in names:
            state = states.get(self._versions[name])
            if self._ours and state is not None and state.name != "AVAILABLE":
                self._refused[name] = state.error or f"its state is {state.name}"
        self._server = server

    def _ready(self, server: Server, names: Sequence[str], deadline: float) -> dict[int, endpoint.State]:
        """Return the state of each version once all are AVAILABLE or END.

        Raises:
            LaunchError: the server ended, or the deadline passed.
        """
        asked = self._endpoint(server, names[0], self.protocols[0])
        wanted = {self._versions[name] for name in names}
        states: dict[int, endpoint.State] = {}
        while True:
            if death := server.death():
                raise LaunchError(
                    f"the {self._target.name} server ended before the model was loaded: {death.reason}",
                    transient=death.transient, found=death.log,
                    todo="look at the server's own words above; the model or a flag may not suit it",
                )  # fmt: skip
            with contextlib.suppress(UnavailableError):
                states = self._child.call(endpoint.status, asked)
                if all(version in states and states[version].name in ("AVAILABLE", "END") for version in wanted):
                    return states
            if time.monotonic() >= deadline:
                known = ", ".join(f"version {version} {state.name}" for version, state in states.items())
                raise LaunchError(
                    f"the {self._target.name} server was not ready in time", transient=True,
                    expected=f"the model AVAILABLE after {self._config.ready_deadline_s:g} s",
                    found=(known or "no answer") + (f"; its last words:\n{server.log()}" if server.log() else ""),
                    todo="a higher serving.ready_deadline_s, or a machine with less other work",
                )  # fmt: skip
            time.sleep(_POLL_S)

    def _there(self, server: Server) -> dict[int, endpoint.State]:
        """Return the states of a remote model.

        Raises:
            MissingError: the server or the model is not there.
        """
        asked = self._endpoint(server, next(iter(self._models)), self.protocols[0])
        try:
            states = self._child.call(endpoint.status, asked)
        except (UnavailableError, RejectedError) as error:
            raise MissingError(
                f"there is no model {asked.model} at {asked.address}", expected="a server that has it AVAILABLE",
                found=error.found or error.what, todo="check serving.remote.addresses and serving.model_name",
            ) from None  # fmt: skip
        loaded = [version for version, state in states.items() if state.name == "AVAILABLE"]
        if not loaded or (asked.version is not None and asked.version not in loaded):
            raise MissingError(
                f"the model {asked.model} at {asked.address} is not loaded",
                expected="any version" if asked.version is None else f"version {asked.version}",
                found=", ".join(f"version {version} {state.name}" for version, state in states.items()),
                todo="load it there, or ask another: --set serving.remote.version=N",
            )  # fmt: skip
        return states


@dataclasses.dataclass(frozen=True)
class Served:
    """The models of a supply over one protocol; see `places.Place`."""

    supply: Supply
    key: str

    @property
    def name(self) -> str:
        """Such as "served over grpc"."""
        return f"served over {self.key}"

    def call(self, ids: Sequence[str], function: Callable[[Mapping[str, Source]], T]) -> T:
        """Run the function with the endpoints; see `places.Place.call`."""
        return self.supply.call(ids, self.key, function)

    def described(self) -> dict[str, Any]:
        """Return the server, the protocol and the encoding of tensors."""
        return self.supply.described() | {"protocol": self.key, "encoding": endpoint.ENCODINGS[self.key]}
