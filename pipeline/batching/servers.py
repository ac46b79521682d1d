"""A server for each candidate, started when its first block comes, and the blocks of load on it.

All of them run at the same time, so that candidates can take turns: an idle server costs memory and nothing else. Where
there is not room for all, those that were asked longest ago are ended, and started again in their turn.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, TypeVar

from pipeline import machine
from pipeline.batching import words
from pipeline.batching.candidates import NONE, Candidate, Scaling
from pipeline.bench.samples import random
from pipeline.errors import InputError, ModelmillError, RunError
from pipeline.events import Emit, Note
from pipeline.files import link_or_copy
from pipeline.isolate import Child, CrashError, FailedError
from pipeline.measuring import turns
from pipeline.measuring.load import run as loads
from pipeline.measuring.load.plan import Load, Plan
from pipeline.measuring.load.workers import MOST, Workers
from pipeline.measuring.runtimes import Source
from pipeline.measuring.served import Supply
from pipeline.predictor import Samples, count
from serving import warmup
from serving.client import endpoint
from serving.client.endpoint import Endpoint
from serving.config import Protocol, ServingConfig
from serving.target.interface import Target

T = TypeVar("T")
SAMPLES = 256
PERCENTILE = 0.99
_SIZES = (1, 8, 32)
_TIMES = 15
_MODEL = "model"
# of a server beside what its model takes: TensorFlow, its threads
_SERVER_MB = 700
_HANDLERS = {"grpc": "grpc_max_threads", "rest": "rest_api_num_threads"}
# of a block: one in a hundred may be late
_MIN_QUERIES = 100
_BOUNDS = 20
# times the shortest block, where requests come slowly
_LONGEST = 5
# of a call in the measuring process, beside its block
_DEADLINE_S = 120.0


class Servers:
    """A context manager that ends all servers.

    Args:
        target: what starts them.
        model: the folder with saved_model.pb.
        config: the section serving, without batching.
        protocol: what the load comes over.
        samples: what is sent, or None: random values of the signature's shapes.
        bound_ms: of the p99.
        block_s: how long a block is, at least; also 20 times the bound.
        work: an empty folder.
    """

    def __init__(
        self, target: Target, model: Path, config: ServingConfig, protocol: Protocol, samples: Samples | None,
        bound_ms: float, block_s: float, work: Path, emit: Emit,
    ) -> None:  # fmt: skip
        self._target, self._model, self._protocol, self._given = target, model, protocol, samples
        self._config = config.model_copy(update={"protocols": (protocol,)})
        self._bound_ms, self._work, self._emit = bound_ms, work, emit
        # at a rate a little above what can be answered, a backlog takes so long to pass the bound
        self._shortest_ms = round(max(block_s * 1000, _BOUNDS * bound_ms))
        self._stack = contextlib.ExitStack()
        self._supplies: dict[Candidate, Supply] = {}  # the one asked longest ago first
        self._fitting: dict[int, tuple[Path, tuple[int, ...]]] = {}  # max_batch_size -> `_limited`
        self._most = _room(model)
        self.concurrency = min(MOST, 4 * self.at_once)

    def __enter__(self) -> Servers:
        child = Child(deadline_s=_DEADLINE_S + 10 * self._shortest_ms / 1000, memory_mb=None, threads=1)
        with contextlib.ExitStack() as stack:
            self._child = stack.enter_context(child)
            child.call(_keep, self._given)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.ExitStack() as ending:
            ending.push(self._stack)
            for supply in self._supplies.values():
                ending.callback(supply.end)

    @property
    def at_once(self) -> int:
        """How many requests a server takes at the same time, by its flags."""
        name = f"--{_HANDLERS[self._protocol]}="
        given = [flag.removeprefix(name) for flag in self._config.flags if flag.startswith(name)]
        return int(given[-1]) if given and given[-1].isdigit() else 4 * machine.cores()

    @property
    def least_rate_per_s(self) -> float:
        """The lowest rate at which a block has as many requests as it should."""
        return _MIN_QUERIES / (_LONGEST * self._shortest_ms / 1000)

    @property
    def threads(self) -> int:
        """Threads inside an operation."""
        return self._config.intra_op_threads or machine.cores()

    def scaling(self) -> Scaling:
        """Return what requests of some sizes cost without batching, one at a time.

        Raises:
            InputError: the model takes no batches of any size.
        """
        return Scaling(self._call(NONE, _scale))

    def measure(self, candidate: Candidate, rate_per_s: float, turn: int) -> Load:
        """Run a block of MLPerf's Server scenario; see `search.Measure`."""
        plan = Plan(
            "Server", self.concurrency, rate_per_s, self._bound_ms, 1, PERCENTILE, self._shortest_ms,
            _LONGEST * self._shortest_ms, _MIN_QUERIES, turn,
        )  # fmt: skip
        return self._call(candidate, partial(_load, candidate=candidate, plan=plan))

    def left_out(self, candidate: Candidate) -> tuple[int, ...]:
        """Return the samples of those warm-up requests that a candidate's server had to go without, once it ran."""
        size = candidate.batching and candidate.batching.max_batch_size
        return self._fitting[size][1] if size in self._fitting else ()

    def described(self) -> dict[str, Any]:
        """Return the facts about the server without batching; see `Supply.described`."""
        return self._supplies[NONE].described()

    def _call(self, candidate: Candidate, function: Callable[[Mapping[str, Source]], T]) -> T:
        supply = self._supplies.pop(candidate, None) or self._started(candidate)
        self._supplies[candidate] = supply
        try:
            return supply.call([_MODEL], self._protocol, function)
        except (CrashError, FailedError) as error:
            raise RunError(f"the process that sends the requests failed: {error}", todo="run it again") from error

    def _started(self, candidate: Candidate) -> Supply:
        while len(self._supplies) >= self._most:
            oldest = next(one for one in self._supplies if one != NONE or len(self._supplies) == 1)
            supply = self._supplies.pop(oldest)
            with contextlib.suppress(CrashError, FailedError, ModelmillError):  # a client that fails to end has ended
                self._child.call(_hang_up, oldest)  # before its server: it would go on looking for it
            supply.end()
        config = self._config.model_copy(update={"batching": candidate.batching})
        work = self._work / f"candidate-{time.monotonic_ns()}"
        model = self._model_for(candidate)
        return Supply(self._target, {_MODEL: model}, config, self.threads, self._child, work, self._emit)

    def _model_for(self, candidate: Candidate) -> Path:
        """Return the model, or a copy without the warm-up requests that a server with the parameters cannot load."""
        size = candidate.batching and candidate.batching.max_batch_size
        if not size or not (self._model / warmup.FILE).is_file():
            return self._model
        if size not in self._fitting:
            folder = self._work / f"at-most-{size}"
            left = self._child.call(_limited, self._model, folder, size)
            self._fitting[size] = folder, left
            if left:
                self._emit(Note("batching", words.cold(left, size)))
        return self._fitting[size][0]

    def tell_room(self, candidates: int) -> None:
        """Say where servers have to be started again and again."""
        if self._most < candidates:
            text = f"memory for {self._most} servers at a time: the others are started again in their turn"
            self._emit(Note("batching", text, "warning"))


def _room(model: Path) -> int:
    """Return how many servers the free memory has room for, 2 or more."""
    import psutil

    size_mb = sum(file.stat().st_size for file in model.rglob("*") if file.is_file()) / 2**20
    free_mb = psutil.virtual_memory().available / 2**20
    return max(2, int(0.8 * free_mb / (_SERVER_MB + 3 * size_mb)))


# from here on: what runs in the measuring process

_workers: dict[Candidate, tuple[Endpoint, Workers]] = {}
_given: list[Samples] = []  # what is sent; empty: random values


def _keep(samples: Samples | None) -> None:
    if samples is not None:
        _given.append(samples)


def _limited(model: Path, folder: Path, most: int) -> tuple[int, ...]:
    """Make a copy of a model, by links where links can be, with warm-up requests of `most` samples at most.

    Returns:
        The samples of those that were left out.
    """
    shutil.copytree(model, folder, copy_function=link_or_copy)
    return warmup.limit(folder, most)


def _load(sources: Mapping[str, Source], *, candidate: Candidate, plan: Plan) -> Load:
    source = _served(sources)
    if candidate in _workers and _workers[candidate][0] != source:
        _hang_up(candidate)  # its server was started anew, elsewhere
    if candidate not in _workers:
        open_one = partial(endpoint.connect, source, None)
        made = Workers("the served model", open_one, plan.concurrency, _samples(source), ends=())
        _workers[candidate] = source, made
    return loads.block(_workers[candidate][1], plan)


def _scale(sources: Mapping[str, Source]) -> tuple[tuple[int, float], ...]:
    source = _served(sources)
    batch = endpoint.described(source).batch
    if batch is not None:
        raise InputError(
            "requests of this model cannot be batched", expected="inputs with a dynamic batch dimension",
            found="inputs without one" if batch == 0 else f"exactly {batch} samples a request",
            todo="export it with a dynamic batch",
        )  # fmt: skip
    samples = _samples(source)
    predictor = endpoint.connect(source, None)
    try:
        batches = [turns.take(samples, [i % count(samples) for i in range(size)]) for size in _SIZES]
        seconds: Sequence[list[float]] = [[] for _ in _SIZES]
        for turn in range(_TIMES + 2):
            for one, taken in zip(batches, seconds, strict=True):
                begin = time.perf_counter()
                predictor.predict(one)
                if turn >= 2:  # the first requests of a size are slow in most runtimes
                    taken.append(time.perf_counter() - begin)
    finally:
        predictor.close()
    return tuple((size, median(taken)) for size, taken in zip(_SIZES, seconds, strict=True))


def _hang_up(candidate: Candidate) -> None:
    if candidate in _workers:
        _workers.pop(candidate)[1].close()


def _served(sources: Mapping[str, Source]) -> Endpoint:
    (source,) = sources.values()
    assert isinstance(source, Endpoint)
    return source


def _samples(source: Endpoint) -> Samples:
    if _given:
        return _given[0]
    try:
        return random(endpoint.described(source), {}, 0).samples
    except InputError as error:
        error.todo = "give the run that exported it: its test split is sent"
        raise
