"""Several runs at once over one store: nothing is made twice, and nobody waits longer than needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path

import pytest

from pipeline import recipe as recipes
from pipeline import run as runs
from pipeline.errors import DivergedError
from pipeline.events import Event, StageFinished, StageReused, StageStarted
from pipeline.run_folder import RunFolder
from pipeline.stage import Job, Result
from tests.end_to_end.command import ONLY_TRAIN
from tests.pipeline.line import Line


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    return Line(tmp_path, monkeypatch)


def together(
    line: Line, count: int, emit: Callable[[Event], None] = lambda _: None
) -> list[tuple[list[Event], list[str]]]:
    """Run the line in several threads, each with a folder of its own, over one store; returns events and statuses."""
    recipe = recipes.load("digits", [*ONLY_TRAIN, "judge=null", "measure=null"])
    ready = threading.Barrier(count)

    def go(number: int) -> tuple[list[Event], list[str]]:
        folder, events = RunFolder(line.folder.path.with_name(f"line-{number}")), list[Event]()

        def tell(event: Event) -> None:
            events.append(event)
            emit(event)

        with folder.held():
            ready.wait(10)
            report = runs.run(recipe, folder, line.store, tell)
        return events, [stage.status for stage in report.stages]

    with futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(go, range(count)))


@pytest.mark.parametrize("attempt", range(5))
def test_runs_at_once_over_one_store_make_nothing_twice_and_wait_for_each_other(line: Line, attempt: int) -> None:  # noqa: ARG001
    def slow(_job: Job) -> Result:
        time.sleep(0.2)
        return Result({"accuracy": 0.5})

    line.during = slow
    done = together(line, 4)
    assert sorted(line.calls) == ["export", "train"]
    assert sorted(statuses[0] for _, statuses in done) == ["reused"] * 3 + ["run"]
    assert sorted(statuses[1] for _, statuses in done) == ["reused"] * 3 + ["run"]
    waited = [sum("waits: another run is making" in str(event) for event in events) for events, _ in done]
    assert sum(waited) >= 3
    assert max(waited) <= 2  # once for each stage


def test_one_of_those_who_waited_makes_it_when_the_first_has_failed(line: Line) -> None:
    def fails_once(_job: Job) -> Result:
        time.sleep(0.2)
        if len(line.calls) == 1:
            raise DivergedError("the loss is nan")
        return Result({"accuracy": 0.5})

    line.during = fails_once
    with pytest.raises(DivergedError):
        together(line, 3)
    assert sorted(line.calls) == ["export", "train", "train"]


@pytest.mark.parametrize("attempt", range(5))
def test_who_waited_goes_on_while_the_maker_is_still_at_work(line: Line, attempt: int) -> None:  # noqa: ARG001
    """They need what has been made, not what is still being made after it."""
    trained = threading.Semaphore(0)

    def emit(event: Event) -> None:
        if isinstance(event, (StageFinished, StageReused)) and event.stage == "train":
            trained.release()
        if isinstance(event, StageStarted) and event.stage == "export":
            assert trained.acquire(timeout=10)
            assert trained.acquire(timeout=10)

    done = together(line, 2, emit)
    assert sorted(statuses[0] for _, statuses in done) == ["reused", "run"]
    assert sorted(statuses[1] for _, statuses in done) == ["reused", "run"]
