"""The targets' turns: alternating blocks in every scenario, and what becomes of a target that fails."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from pipeline.bench import inside
from pipeline.bench.document import Target
from pipeline.bench.inside import Introduction, Subject
from pipeline.bench.server_time import Asked
from pipeline.bench.settings import Settings
from pipeline.bench.targets import Target as Named
from pipeline.errors import ModelmillError, StoppedError
from pipeline.events import Emit, Note, Progress
from pipeline.isolate import Child, CrashError, FailedError
from pipeline.measuring import latency
from pipeline.measuring.block import Plan as Block
from pipeline.measuring.latency import Latency
from pipeline.measuring.load import search as searching
from pipeline.measuring.load.plan import Load, Plan, Scenario
from pipeline.measuring.load.search import Highest
from pipeline.measuring.turns import Turn
from serving.client import endpoint
from serving.client.endpoint import Endpoint

T = TypeVar("T")
STAGE = "bench"
Failure = ModelmillError | CrashError | FailedError


@dataclass
class Streamed:
    """All blocks of SingleStream or MultiStream of one target."""

    latency: Latency
    asked: tuple[Asked, ...]


@dataclass
class Loaded:
    """All blocks of Server or Offline of one target, or one search a round."""

    scenario: Scenario
    concurrency: int
    blocks: list[Load] = field(default_factory=list)
    searches: list[Highest] = field(default_factory=list)

    def shown(self) -> list[Load]:
        """Return the blocks that stand for a target: all, or of each search the one at its highest rate."""
        return self.blocks or [search.best or search.trials[-1] for search in self.searches]

    @property
    def valid(self) -> bool:
        """Whether all of `shown` are, and every search found what it was for."""
        return all(one.valid for one in self.shown()) and not any(one.problem for one in self.searches)


@dataclass
class Entry:
    """A target, or an image over one protocol, with all that is found of it.

    Attributes:
        target: what it is of.
        facts: where it runs, for the document.
        subject: what is asked; None: it could not be started.
        failure: why it is measured no further.
        became: the version that a server went on to meanwhile; None: it stayed.
    """

    target: Named
    facts: Target
    subject: Subject | None = None
    introduction: Introduction | None = None
    streams: list[Streamed] = field(default_factory=list)
    loads: list[Loaded] = field(default_factory=list)
    failure: Failure | None = None
    became: int | None = None
    steps: int = 0  # calls that are done

    @property
    def name(self) -> str:
        return self.facts.name


class Rounds:
    """Runs everything; the results are with each `Entry`.

    Args:
        child: the measuring process.
        entries: all targets, in the order of their turns.
        settings: what is measured.
        emit: is told of progress, and of targets that fail.
    """

    def __init__(self, child: Child, entries: Sequence[Entry], settings: Settings, emit: Emit) -> None:
        self._child, self._entries, self._settings, self._emit = child, entries, settings, emit
        self._each = _steps(settings)

    def run(self) -> None:
        """Introduce the targets, then let them take turns."""
        for one, subject in self._there():
            one.introduction = self._call(one, "loads", partial(self._introduce, subject))
        for name in self._settings.scenarios:
            match name:
                case "single-stream":
                    self._streams(1)
                case "multi-stream":
                    self._streams(self._settings.batch)
                case "offline":
                    for concurrency in self._settings.concurrency:
                        self._loads("Offline", concurrency)
                case "server":
                    for concurrency in self._settings.concurrency:
                        if self._settings.searches:
                            self._searches(concurrency)
                        else:
                            self._loads("Server", concurrency)

        for one, subject in self._there():
            before = one.introduction.version if one.introduction else None
            if before is not None:
                with suppress(ModelmillError, CrashError, FailedError):  # all is measured
                    after = self._child.call(inside.version, subject)
                    one.became = after if after != before else None

    def _introduce(self, subject: Subject) -> Introduction:
        # a process of its own takes seconds to start: what nobody listens at is told without one
        if isinstance(subject.source, Endpoint) and (error := endpoint.refused(subject.source)):
            raise error
        return self._child.call(inside.introduce, subject)

    def _there(self) -> Iterator[tuple[Entry, Subject]]:
        """Yield those that have not failed until their turn."""
        for one in self._entries:
            if one.failure is None and one.subject is not None:
                yield one, one.subject

    def _streams(self, batch: int) -> None:
        config = self._settings.latency()
        title = "SingleStream" if batch == 1 else f"MultiStream, batch {batch}"
        plans: dict[str, Block] = {}
        for one, subject in self._there():
            call = partial(self._child.call, inside.plan, subject, config, batch)
            if (plan := self._call(one, title, call, counts=False)) is not None:
                plans[one.name] = plan
        seen: dict[str, list[Turn]] = {name: [] for name in plans}
        for _ in range(config.blocks):
            for one, subject in self._there():
                block = partial(self._child.call, inside.turn, subject, plans[one.name], config.block_warmup_queries)
                if (turn := self._call(one, title, block)) is not None:
                    seen[one.name].append(turn)
        _, fallback = latency.generator()
        for one, _ in self._there():
            found = latency.summary(seen[one.name], plans[one.name], config, fallback)
            one.streams.append(Streamed(found, tuple(Asked.in_turn(turn, batch) for turn in seen[one.name])))

    def _loads(self, scenario: Scenario, concurrency: int) -> None:
        for one, _ in self._there():
            one.loads.append(Loaded(scenario, concurrency))
        for number in range(self._settings.blocks):
            for one, subject in self._there():
                plan = _plan(self._settings, scenario, concurrency, number)
                title = f"{scenario}, concurrency {concurrency}"
                block = self._call(one, title, partial(self._child.call, inside.load, subject, plan))
                if block is not None:
                    one.loads[-1].blocks.append(block)
        self._close_workers()

    def _searches(self, concurrency: int) -> None:
        for one, _ in self._there():
            one.loads.append(Loaded("Server", concurrency))
        for number in range(self._settings.rounds):
            for one, subject in self._there():
                plan = _plan(self._settings, "Server", concurrency, number)
                title = f"highest rate, concurrency {concurrency}, search {number + 1}/{self._settings.rounds}"
                found = self._call(one, title, partial(self._search, one, subject, plan, title))
                if found is not None:
                    one.loads[-1].searches.append(found)
        self._close_workers()

    def _search(self, one: Entry, subject: Subject, plan: Plan, title: str) -> Highest:
        """Search the highest rate within the plan's bound, each trial a call, of which the user is told."""
        plan, said = searching.long_enough(plan), ""

        def trial(rate: float) -> Load:
            nonlocal said
            self._tell(one, f"{title}: {said}tries {rate:.4g}/s")
            load = self._child.call(inside.trial, subject, dataclasses.replace(plan, rate_per_s=rate))
            reached = f"p{100 * plan.percentile:g} {load.percentile_ms(plan.percentile):.4g} ms"
            said = f"{rate:.4g}/s {'met' if load.valid else 'missed'} it, {reached}; "
            return load

        start = self._child.call(inside.a_start, subject, plan.concurrency)
        return searching.search(trial, start, client=isinstance(subject.source, Endpoint))

    def _close_workers(self) -> None:
        if self._child.pid is not None:
            # a process that dies of it is started again by the next block
            with suppress(CrashError, FailedError):
                self._child.call(inside.close_workers)

    def _call(self, one: Entry, title: str, function: Callable[[], T], *, counts: bool = True) -> T | None:
        """Return what the measuring process found, None where the target failed."""
        self._tell(one, title)
        try:
            return function()
        except (ModelmillError, CrashError, FailedError) as failure:
            if isinstance(failure, StoppedError):
                raise
            one.failure = failure
            # the rest is told once, with the result
            what = failure.what if isinstance(failure, ModelmillError) else said(failure).partition(":")[0]
            self._emit(Note(STAGE, f"{one.name}: {what}: it is measured no further", "warning"))
            return None
        finally:
            one.steps += counts

    def _tell(self, one: Entry, title: str) -> None:
        done = sum(entry.steps for entry in self._entries)
        left = sum(self._each - entry.steps for entry in self._entries if entry.failure is None)
        self._emit(Progress(STAGE, "block", done, done + left, item=f"{one.name}: {title}"))


def said(failure: Failure) -> str:
    """Return why a target could not be measured."""
    if isinstance(failure, CrashError):
        return f"the measuring process died of it: {failure}"
    return str(failure)


def exit_code(entries: Sequence[Entry]) -> int:
    """Return 0 where all were measured, else what the first failure means."""
    failures = [one.failure for one in entries if one.failure is not None]
    if not failures:
        return 0
    return failures[0].exit_code if isinstance(failures[0], ModelmillError) else 4


def _steps(settings: Settings) -> int:
    """Return how many calls a target has."""
    each = {"single-stream": 1, "multi-stream": 1, "offline": len(settings.concurrency)}
    blocks = sum(each.get(name, 0) for name in settings.scenarios) * settings.blocks
    if "server" in settings.scenarios:
        blocks += len(settings.concurrency) * (settings.rounds if settings.searches else settings.blocks)
    return 1 + blocks


def _plan(settings: Settings, scenario: Scenario, concurrency: int, number: int) -> Plan:
    from pipeline.measuring.block import queries_needed

    server = scenario == "Server"
    percentile = settings.percentile if server else settings.latency().batch_percentile
    return Plan(
        scenario=scenario, concurrency=concurrency, rate_per_s=settings.rate_per_s if server else None,
        bound_ms=settings.bound_ms if server else None, batch=1 if server else settings.batch, percentile=percentile,
        min_duration_ms=settings.duration_ms, max_duration_ms=settings.longest_ms,
        min_queries=queries_needed(percentile), seed=settings.seed + number,
    )  # fmt: skip
